"""A run's verdicts and page made again from its folder alone: its tables, and the pictures that its page holds.

So a change of a claim or of the page reaches the committed runs without a training.
"""

import base64
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffbench.config import PARAMS
from diffbench.config.models import Params
from diffbench.errors import UserError
from diffbench.report import sprites
from diffbench.report.finding import facts_of
from diffbench.runtime.places import REFERENCES, Places
from diffbench.tables import store
from diffbench.tables.provenance import params_hash

SPRITE = re.compile(r"\.(\w+) \{ background-image: url\(data:image/png;base64,([^)]+)\)")
BESIDE = ("report.html", "samples.png", "quality.png")  # the tables
ANEW = "make it anew with 'snakemake --cores all {}'"


def pictures(page: Path) -> dict[str, bytes]:
    """The PNGs that a page holds, by the CSS class that shows each.

    Raises:
        UserError: the page cannot be read.
    """
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{page}: cannot be read ({error}); only a run's own page has its pictures") from None
    return {name: base64.b64decode(content) for name, content in SPRITE.findall(text)}


def run_of(folder: Path) -> str:
    """The name of the run that made a folder.

    Raises:
        UserError: its table of provenance is missing or damaged.
    """
    return facts_of(store.read(folder / "tables", "provenance"))["run"]


@contextmanager
def unpacked(folder: Path, params: Params) -> Iterator[Path]:
    """A place that has a run's tables and pictures where its jobs had them.

    What is there in the end goes back to the run's own folder: tables, page and the two pictures beside it.

    Args:
        folder: of the run's page and of its tables.
        params: of the run.

    Raises:
        UserError: the tables were made with other params, or a table or the page is missing or damaged.
    """
    asked = {key: value for key, value in params.raw.items() if key != "tune"}
    if facts_of(store.read(folder / "tables", "provenance"))["params sha256"] != params_hash(asked):
        raise UserError(f"{folder}: its params are not those of {params.name} now; {ANEW.format(params.name)}")
    held = pictures(folder / "report.html")
    places = Places(params.name)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for key in params.paradigms:
            for picture, path in sprites.files(params, key).items():
                if picture not in held:
                    raise UserError(f"{folder}: its page lacks a picture of {key}; {ANEW.format(params.name)}")
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                (place / path).write_bytes(held[picture])
        shutil.copytree(folder / "tables", place / places.tables)
        for linked in (PARAMS, Path("workflow"), REFERENCES):
            (place / linked).symlink_to(linked.absolute())
        yield place
        for file in BESIDE:
            shutil.copyfile(place / places.reports / file, folder / file)
        shutil.copytree(place / places.tables, folder / "tables", dirs_exist_ok=True)
