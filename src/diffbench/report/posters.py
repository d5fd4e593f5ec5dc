"""Two pictures of a run for READMEs and slides: samples of few evaluations, and quality against evaluations."""

import io

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from diffbench import design
from diffbench.config.models import Params
from diffbench.data.sources import image_side
from diffbench.errors import UserError
from diffbench.report import charts
from diffbench.report.figures import cost_charts
from diffbench.report.finding import number, shown
from diffbench.runtime.files import replacing
from diffbench.runtime.places import Places
from diffbench.tables import store

SCALE = 2  # pixels a point
SIDE = 32  # points that a sample takes, about
INK, FAINT = charts.INK, charts.FAINT


def strip(params: Params, row: pd.Series) -> Image.Image:
    """The ten samples of a paradigm's cell that pictures show, first seed, enlarged without smoothing.

    Raises:
        UserError: the picture is missing or damaged.
    """
    path = Places(params.name).evaluation(row.paradigm, params.seeds[0]).with_suffix(".png")
    order = [tuple(cell.key.values()) for cell in design.all_cells(params, row.paradigm, params.seeds[0])]
    which = shown(row)
    place = order.index((row[f"{which}sampler"], int(row[f"{which}steps"]), float(row.guidance), ""))
    try:
        with Image.open(path) as sheet:
            grey = np.asarray(sheet.convert("L"))
    except (OSError, SyntaxError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run 'snakemake --cores all' again") from None
    top = place * (len(grey) // len(order))
    own = Image.fromarray(grey[top : top + image_side(params)])
    enlarged = max(1, round(SCALE * SIDE / image_side(params)))
    return own.resize((own.width * enlarged, own.height * enlarged), Image.Resampling.NEAREST)


def samples(frames: dict[str, pd.DataFrame], params: Params) -> Image.Image:
    """A row of ten samples for each paradigm, from the same prompts and noise, with its cost and FID.

    Raises:
        UserError: a picture is missing or damaged.
    """
    by_id = frames["paradigms"].set_index("paradigm", drop=False)
    rows = [by_id.loc[key] for key in sorted(params.paradigms, key=lambda key: params.paradigms[key].role != "recipe")]
    drawn = {row.paradigm: strip(params, row) for row in rows if shown(row)}
    width = max((own.width for own in drawn.values()), default=0)
    height = max((own.height for own in drawn.values()), default=SCALE * SIDE) + 6 * SCALE
    left, right = 150 * SCALE, 170 * SCALE
    picture = Image.new("RGB", (left + width + right, height * len(rows) + 6 * SCALE), "white")
    draw = ImageDraw.Draw(picture)
    large, small = (ImageFont.load_default(points * SCALE) for points in (14, 12))
    for index, row in enumerate(rows):
        top = 6 * SCALE + index * height
        middle = top + height // 2 - 3 * SCALE
        draw.text((8 * SCALE, middle), row.label, INK, large, anchor="lm")
        said = "no samples"
        if row.paradigm in drawn:
            picture.paste(drawn[row.paradigm], (left, top))
            said = f"FID {number(row[f'{shown(row)}fid'])}, {int(row[f'{shown(row)}nfe'])} NFE"
        draw.text((left + width + 10 * SCALE, middle), said, FAINT, small, anchor="lm")
    return picture


def run(frames: dict[str, pd.DataFrame], params: Params) -> None:
    """Write samples.png and quality.png beside the page; without a cell that has a score, quality.png is empty.

    Raises:
        UserError: a sheet of samples is missing or damaged, or a file cannot be written.
    """
    places = Places(params.name)
    with replacing(places.samples_poster) as temporary:
        samples(frames, params).save(temporary, format="PNG", optimize=True)
    floor = float(store.real_test_row(frames["floors"]).fid)
    found = cost_charts(frames, params, floor, "nfe", width=620, height=340)
    with replacing(places.quality_poster) as temporary:
        if found is not None:
            with Image.open(io.BytesIO(charts.png(found))) as chart:
                chart.convert("RGB").quantize(64).save(temporary, format="PNG", optimize=True)  # a fifth of the bytes
        else:
            Image.new("RGB", (8, 8), "white").save(temporary, format="PNG")
