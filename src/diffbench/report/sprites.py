"""The pictures of a run as CSS sprites: one PNG a paradigm and kind, of which the page shows strips."""

import base64
import struct
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from diffbench import design
from diffbench.config.models import Params
from diffbench.errors import UserError
from diffbench.runtime.places import Places
from diffbench.tables.pictures import STRIPS

Key = tuple[str, int, float, str]  # sampler, steps, guidance and arm of a cell


@dataclass(frozen=True)
class Sprite:
    """A picture inlined in the page.

    Attributes:
        id: the CSS class that shows it.
        uri: the PNG as a data URI.
        width, height: in pixels.
    """

    id: str
    uri: Markup
    width: int
    height: int


def read(path: Path, name: str) -> Sprite:
    """A PNG under the CSS class ``name``.

    Raises:
        UserError: missing or not a PNG.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run 'snakemake --cores all' to make it") from None
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        raise UserError(f"{path}: damaged; delete it and run 'snakemake --cores all' again")
    width, height = struct.unpack(">II", content[16:24])
    return Sprite(name, Markup(f"data:image/png;base64,{base64.b64encode(content).decode()}"), width, height)


@dataclass(frozen=True)
class Album:
    """A paradigm's pictures, of the first seed.

    Attributes:
        cells: STRIPS strips of each cell, in the order of scoring.
        film: strips of the states of the denoising, then of the guesses.
        failures: strips as the table failures names them.
        rows: the first strip of each cell.
    """

    cells: Sprite
    film: Sprite
    failures: Sprite
    rows: dict[Key, int]

    @property
    def sprites(self) -> tuple[Sprite, ...]:
        """All of them."""
        return self.cells, self.film, self.failures


def album(params: Params, paradigm: str) -> Album:
    """The pictures of a paradigm.

    Raises:
        UserError: one is missing or damaged.
    """
    index, seed, places = list(params.paradigms).index(paradigm), params.seeds[0], Places(params.name)
    order = [tuple(cell.key.values()) for cell in design.all_cells(params, paradigm, seed)]
    return Album(
        read(places.evaluation(paradigm, seed).with_suffix(".png"), f"s{index}"),
        read(places.probe(paradigm, seed).with_suffix(".png"), f"d{index}"),
        read(places.failures(paradigm, seed), f"w{index}"),
        {key: STRIPS * place for place, key in enumerate(order)},
    )
