"""Links and commands in the README, the documentation and other pages for people: what they name exists."""

import re
import shlex
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from diffbench import cli, config

PAGES = sorted(
    path.relative_to(ROOT)
    for folder in ("", "docs", "docs/api", "benchmarks", "workflow", "reports/reference")
    for path in (ROOT / folder).glob("*.md")
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PATHS = re.compile(r"`((?:src|tests|workflow|docs|benchmarks|reports)/[\w./-]+)`")
GITHUB = "../../"  # of the README, to the repository's own pages
DVC = ("repro", "exp", "queue", "dag", "gc", "metrics", "plots", "remote", "push", "pull", "checkout", "status")
STAND_INS = {"<run>": "digits", "digits other/tables": "digits other"}


def text(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    prose = FENCE.sub("", text(page))
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def commands(page: Path) -> list[str]:
    """The lines of shell blocks and the code in the prose that start a program of ours."""
    prose = FENCE.sub("", text(page))
    lines = [line for kind, body in FENCE.findall(text(page)) if kind == "sh" for line in body.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", prose.replace("\n", " "))
    parts = [part.strip() for line in lines for part in re.split(r"&&|;", line.split(" #")[0])]
    return [part for part in parts if re.match(r"(python3? |snakemake |dvc |diffbench )", part) and "..." not in part]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page):
    for target in LINK.findall(FENCE.sub("", text(page))):
        if re.match(r"[a-z]+:", target):
            continue
        if page == Path("README.md") and target.startswith(GITHUB):
            assert (ROOT / ".github/workflows" / target.split("/")[4]).is_file(), target
            continue
        name, _, anchor = target.partition("#")
        other = (ROOT / page).parent.joinpath(name).resolve() if name else ROOT / page
        assert other.exists() and other.is_relative_to(ROOT), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(other.relative_to(ROOT)), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_file_that_is_named_exists(page):
    if page == Path("CHANGELOG.md"):
        pytest.skip("history names what is gone")
    shown = set(re.findall(r"`(workflow/extensions/\w+/\w+\.py)`:", text(page)))  # files that a reader makes
    for name in PATHS.findall(FENCE.sub("", text(page))):
        made = name.startswith(("reports/", "workflow/tuning/")) and not name.startswith("reports/reference")
        assert made or name in shown or (ROOT / name).exists(), f"{page}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_is_one_of_ours(page):
    """Subcommands and options are those of the command line, targets those of the Snakefile, scripts are there."""
    for line in commands(page):
        for old, new in STAND_INS.items():
            line = line.replace(old, new)
        words = shlex.split(re.sub(r"^diffbench ", "python -m diffbench ", line))
        if words[0] == "snakemake":
            words = [word for before, word in pairwise(words) if before != "--forcerun"]
            targets = [word for word in words if re.fullmatch(r"[a-z-]+|workflow/\S+", word) and word[0] != "-"]
            for target in set(targets) - {"all"}:
                known = target in config.preset_names() or (ROOT / target).exists() or target == words[-1] == "mnist"
                assert known or target.startswith("workflow/tuning/"), f"{page}: {line}"
        elif words[0] == "dvc":
            assert words[1] in DVC, f"{page}: {line}"
        elif words[1:3] == ["-m", "diffbench"] and len(words) > 3:
            try:
                cli.parser().parse_args(words[3:])
            except SystemExit:
                asked = set(cli.STAGES | cli.ON_REQUEST | cli.APART) | {"params"}
                assert len(words) == 4 and words[3] in asked, f"{page}: {line}"  # named without its arguments
        elif words[1] not in ("-m", "-c"):
            assert (ROOT / words[1]).is_file(), f"{page}: {line}"


def test_every_page_is_in_the_navigation():
    """The strict build refuses what is missing the other way round."""
    named = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text().split("nav:\n")[-1])
    own = {page.relative_to("docs").as_posix() for page in PAGES if page.parts[0] == "docs"}
    assert own <= set(named) and len(named) == len(set(named))


def test_every_reference_run_is_linked():
    runs = [path.name for path in (ROOT / "reports/reference").glob("*/")]
    index = text(Path("reports/reference/README.md"))
    assert runs and all(f"({run}/report.html)" in index for run in runs)


def test_the_repository_has_one_address_one_version_and_one_title():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    readme = text(Path("README.md"))
    address = citation.get("repository-code")  # none before it is published: a made-up one would lead nowhere
    assert address == project.get("urls", {}).get("Repository")
    assert set(re.findall(r"https://github\.com/[\w-]+/diffbench", readme)) == ({address} if address else set())
    entry = re.search(r"```bibtex\n(.*?)```", readme, re.DOTALL)[1]
    fields = dict(re.findall(r"(\w+) +=? *= \{(.+)\},?\n", entry))
    assert fields["version"] == citation["version"] and fields["title"] == citation["title"]
    assert fields["year"] == citation["date-released"][:4] and fields["license"] == citation["license"]
    assert fields["author"].strip("{}") == citation["authors"][0]["name"]


def test_the_readme_is_short_and_shows_two_pictures():
    readme = text(Path("README.md"))
    pictures = [target for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme) if "badge" not in target]
    assert len(pictures) == 2 and sum(target.endswith(".gif") for target in pictures) == 1
    prose = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|<!--.*?-->", r"\1", FENCE.sub("", readme))
    assert sum(any(map(str.isalnum, word)) for word in prose.split()) < 450, "bars of tables and dashes are no words"
