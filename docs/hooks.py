"""What MkDocs needs to make one site of files that lie all over the repository.

The README, other READMEs and the committed reports become pages where they are. Links are written relative to the file,
as the repository shows them. Here they become links of the site. A file that is no page becomes a link to the
repository where its address is known (REPOSITORY_URL), and plain text where it is not.
"""

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {  # outside docs/, by path in the repository: their path on the site
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
    "workflow/README.md": "workflow.md",
    "reports/reference/README.md": "reports/reference/index.md",
}
REPORTS = ("report.html", "samples.png", "quality.png")  # of every committed run, served as they are
LINK = re.compile(r"(```.*?```|`[^`\n]*`)|(!?)\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)", re.DOTALL)
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:|#")
GITHUB = "../../"  # from the README's place on GitHub to the repository's own pages, as its badges have it
log = logging.getLogger("mkdocs.hooks.links")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and reports that lie outside docs/."""
    served = dict(PAGES)
    for folder in sorted((ROOT / "reports/reference").glob("*/")):
        served |= {(path := f"reports/reference/{folder.name}/{name}"): path for name in REPORTS}
    for path, place in served.items():
        if (ROOT / path).is_file():
            files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def _in_repository(uri: str) -> str:
    """The path in the repository of a file of the site."""
    return {place: path for path, place in PAGES.items()}.get(uri, uri if uri.startswith("reports/") else f"docs/{uri}")


def _on_site(path: str, files: Files) -> str | None:
    """The path on the site of a file of the repository, or None. A committed run stands for its report."""
    if posixpath.dirname(path) == "reports/reference" and (ROOT / path).is_dir():
        path += "/report.html"
    uri = PAGES.get(path, path.removeprefix("docs/"))
    found = files.get_file_from_path(uri)
    return uri if found is not None and Path(found.abs_src_path or "") == ROOT / path else None


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links relative to files of the repository into links of the site."""
    here, place = posixpath.dirname(_in_repository(page.file.src_uri)), posixpath.dirname(page.file.src_uri)

    def address(target: str) -> str | None:
        if ELSEWHERE.match(target):
            return target
        if not here and target.startswith(GITHUB):
            return f"{config.repo_url}/{target.removeprefix(GITHUB)}" if config.repo_url else None
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(here, path))
        if path.startswith("..") or not (ROOT / path).exists():
            log.warning("%s links to %s, which does not exist", page.file.src_uri, target)
            return target
        uri = _on_site(path, files)
        if uri is not None:
            return posixpath.relpath(uri, place or ".") + (f"#{anchor}" if anchor else "")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{config.repo_url}/{kind}/main/{path}" if config.repo_url else None

    def image(match: re.Match) -> str:
        target = address(match[2])
        return "" if target is None else f"![{match[1]}]({target})"

    def link(match: re.Match) -> str:
        if match[1]:
            return match[0]
        text, target = IMAGE.sub(image, match[3]), address(match[4])
        if target is None:
            return "" if match[2] else text
        return f"{match[2]}[{text}]({target})"

    return LINK.sub(link, markdown)
