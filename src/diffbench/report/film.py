"""A moving picture of the denoising for READMEs and slides, from the strips that a run's page holds."""

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffbench.report.charts import FAINT, INK

SHOWN = (0, 2, 4, 6, 8)  # places of the strips' ten digits: all ten twice would be wider than a page
SIDE = 56  # pixels of a digit
LEFT, TOP, GAP = 170, 34, 22  # pixels for labels, for the heading, and between the two halves
GREYS = 32
FIRST, EACH, LAST = 1200, 160, 2400  # milliseconds that frames stay
HEADINGS = ("noisy image", "estimate of the clean image")


def strips(page: Path) -> dict[str, np.ndarray]:
    """The strips of each row on a page, (2 (S + 1), H, W of ten digits) uint8: x_t, then estimates of x0.

    Rows whose training failed are left out. Empty where there is no page, or one without denoising.
    """
    if not page.is_file():
        return {}
    text = page.read_text(encoding="utf-8")
    found = {}
    row = r'class="film" data-p="([^"]+)"><span>[^<]*</span><span class="strip frame (\w+)"'
    for key, name in re.findall(row, text):
        sheet = re.search(rf"\.{name} {{ background-image: url\(data:image/png;base64,([^)]+)\)", text)
        if sheet is None:
            continue
        with Image.open(io.BytesIO(base64.b64decode(sheet[1]))) as picture:
            grey = np.asarray(picture.convert("L"))
        side = grey.shape[1] // 10
        found[key] = grey.reshape(-1, side, grey.shape[1])
    return found


def _digits(strip: np.ndarray) -> Image.Image:
    """The digits SHOWN of a strip (H, 10 H), enlarged without smoothing."""
    side = len(strip)
    own = np.concatenate([strip[:, side * place : side * (place + 1)] for place in SHOWN], axis=1)
    return Image.fromarray(own).resize((len(SHOWN) * SIDE, SIDE), Image.Resampling.NEAREST)


def frames(rows: list[tuple[str, np.ndarray]]) -> list[Image.Image]:
    """The pictures in order of time, each with every row: its noisy images, and its estimates of the clean ones.

    Args:
        rows: label of each and its strips, as of ``strips``; all of one number of steps.
    """
    half, height = len(SHOWN) * SIDE, SIDE + 6
    size = LEFT + 2 * half + GAP + 8, TOP + height * len(rows) + 2
    large, small = (ImageFont.load_default(points) for points in (19, 15))
    count = len(rows[0][1]) // 2
    pictures = []
    for index in range(count):
        picture = Image.new("L", size, 255)
        draw = ImageDraw.Draw(picture)
        draw.text((10, TOP // 2), f"t = {1 - index / (count - 1):.2f}", INK, large, anchor="lm")
        for place, heading in enumerate(HEADINGS):
            draw.text((LEFT + place * (half + GAP), TOP // 2), heading, FAINT, small, anchor="lm")
        for line, (label, own) in enumerate(rows):
            top = TOP + line * height
            draw.text((10, top + SIDE // 2), label, INK, large, anchor="lm")
            for place in range(2):
                picture.paste(_digits(own[index + place * count]), (LEFT + place * (half + GAP), top))
        pictures.append(picture)
    return pictures


def write(rows: list[tuple[str, np.ndarray]], path: Path) -> None:
    """Write the frames as a GIF that plays for ever; the same rows give the same bytes with one version of Pillow."""
    levels = np.arange(GREYS) * 255 // (GREYS - 1)
    palette = np.repeat(levels, 3).astype(np.uint8).tobytes()
    first, *rest = [
        Image.fromarray(np.rint(np.asarray(picture) * ((GREYS - 1) / 255)).astype(np.uint8), "P")
        for picture in frames(rows)
    ]
    for picture in (first, *rest):
        picture.putpalette(palette)
    times = [FIRST, *[EACH] * (len(rest) - 1), LAST]
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=times, loop=0, optimize=False)
