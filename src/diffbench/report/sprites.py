"""The pictures of a run as CSS sprites: one PNG a paradigm and kind, of which the page shows strips."""

import base64
import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from diffbench import design
from diffbench.config.models import Params
from diffbench.errors import UserError
from diffbench.runtime.places import Places
from diffbench.tables.pictures import COLUMNS, GREYS, STRIPS

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
    return _sprite(content, name)


def _sprite(content: bytes, name: str) -> Sprite:
    width, height = struct.unpack(">II", content[16:24])
    return Sprite(name, Markup(f"data:image/png;base64,{base64.b64encode(content).decode()}"), width, height)


@dataclass(frozen=True)
class Album:
    """A paradigm's pictures, of the first seed.

    Attributes:
        cells: STRIPS strips of each cell, in the order of scoring.
        film: strips of the states of the denoising, then of the guesses.
        failures: strips as the table failures names them.
        growth: a strip of each snapshot of the training, in the order of images seen.
        rows: the first strip of each cell.
    """

    cells: Sprite
    film: Sprite
    failures: Sprite
    growth: Sprite
    rows: dict[Key, int]

    @property
    def sprites(self) -> tuple[Sprite, ...]:
        """All of them."""
        return self.cells, self.film, self.failures, self.growth


def album(params: Params, paradigm: str) -> Album:
    """The pictures of a paradigm.

    Raises:
        UserError: one is missing or damaged.
    """
    order = [tuple(cell.key.values()) for cell in design.all_cells(params, paradigm, params.seeds[0])]
    own = [read(path, name) for name, path in files(params, paradigm).items()]
    return Album(*own, {key: STRIPS * place for place, key in enumerate(order)})


def files(params: Params, paradigm: str) -> dict[str, Path]:
    """Where the pictures of a paradigm lie, in the order of ``Album.sprites``, by the CSS classes that show them."""
    index, seed, places = list(params.paradigms).index(paradigm), params.seeds[0], Places(params.name)
    return {
        f"s{index}": places.evaluation(paradigm, seed).with_suffix(".png"),
        f"d{index}": places.probe(paradigm, seed).with_suffix(".png"),
        f"w{index}": places.failures(paradigm, seed),
        f"g{index}": places.convergence(paradigm, seed).with_suffix(".png"),
    }


def greys(images: np.ndarray) -> np.ndarray:
    """Images uint8, ink bright, in the grey levels of the pictures: 0 is the white of the background."""
    return np.round(np.where(images < 8, 0, images) / 255 * (GREYS - 1)).astype(np.uint8)


def drawn(levels: np.ndarray, name: str) -> Sprite:
    """Strips (R, COLUMNS, H, W) of grey levels as a sprite under the CSS class ``name``."""
    rows, columns, height, width = levels.shape
    grid = levels.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    image = Image.fromarray(grid, mode="P")
    image.putpalette([255 - round(255 * level / (GREYS - 1)) for level in range(GREYS) for _ in range(3)])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", bits=4, optimize=True)
    return _sprite(buffer.getvalue(), name)


def strip_levels(sprite: Sprite, strip: int) -> np.ndarray:
    """The ten images of a strip, (COLUMNS, H, W), in grey levels with 0 for white."""
    with Image.open(io.BytesIO(base64.b64decode(sprite.uri.split(",", 1)[1]))) as picture:
        grey = np.asarray(picture.convert("L"))
    side = grey.shape[1] // COLUMNS
    own = grey[strip * side : (strip + 1) * side].reshape(side, COLUMNS, side).transpose(1, 0, 2)
    return np.round((255 - own.astype(float)) / 255 * (GREYS - 1)).astype(np.uint8)


def _nearest(images: np.ndarray, among: np.ndarray, chunk: int = 5000) -> np.ndarray:
    """For each image (N, H, W) of grey levels the index of the one nearest in squared distance."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    best, found = np.full(len(flat), np.inf, np.float32), np.zeros(len(flat), int)
    for start in range(0, len(among), chunk):
        some = greys(among[start : start + chunk]).reshape(-1, flat.shape[1]).astype(np.float32)
        distance = (some**2).sum(axis=1)[None] - 2 * flat @ some.T
        index = distance.argmin(axis=1)
        value = distance[np.arange(len(flat)), index]
        found = np.where(value < best, start + index, found)
        best = np.minimum(best, value)
    return found


def real(params: Params, shown: dict[str, tuple[Sprite, int]]) -> tuple[Sprite | None, dict[str, int]]:
    """Real images: a strip of test images, then for each row the training images nearest to its samples.

    The data of a run are a file that may be gone by the time its page is made; then there is no such picture.

    Args:
        shown: for each row its sprite and the strip of samples whose neighbours are wanted.

    Returns:
        The sprite, and for each row its strip in it.

    Raises:
        UserError: the data are damaged.
    """
    path = Places(params.name).data
    if not path.is_file():
        return None, {}
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels, training = (file[name] for name in ("test_images", "test_labels", "train_images"))
    except Exception as error:  # zipfile and numpy raise many kinds for a damaged archive
        raise UserError(f"{path}: damaged ({error}); delete it and run 'snakemake --cores all' again") from None
    first = [int(np.flatnonzero(labels == digit)[0]) for digit in range(COLUMNS) if (labels == digit).any()]
    if len(first) < COLUMNS:
        first = list(range(COLUMNS))
    strips = [greys(images[first])]
    if shown:
        samples = np.concatenate([strip_levels(*one) for one in shown.values()])
        strips += list(greys(training[_nearest(samples, training)]).reshape(-1, COLUMNS, *training.shape[1:]))
    return drawn(np.stack(strips), "real"), {key: place + 1 for place, key in enumerate(shown)}
