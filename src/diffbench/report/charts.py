"""Charts in Altair, rendered to SVG while the report is built; the page ships no chart library.

Colour says what a row's network gives, outline and dash its network.

A mark's description may end in "[c:<cell>]", "[m:<paradigm>]" or "[p:<paradigm>]". ``svg`` turns that into attributes
by which the page's script highlights a paradigm everywhere (all three), reaches the mark and shows its label (c and m),
and opens its cell (c); the words before the tag are the label.
"""

import math
import re
from collections.abc import Sequence
from itertools import takewhile

import altair as alt
import numpy as np
import pandas as pd
import vl_convert
from markupsafe import escape

from diffbench.config.models import Params, Row
from diffbench.report.finding import NAMES

# Light and dark colours, told apart under the three colour deficiencies too. Outline and dash say other things.
COLOURS = ("#0002d6", "#ed350c", "#009fbf", "#73364a", "#000000")
OUTPUTS = {"velocity": 0, "eps": 1, "v": 2, "x0": 3}  # place in COLOURS; any other output has the last
DASHES = ([1, 0], [7, 3], [2, 3], [8, 3, 2, 3])
# Outlines in a square from -1 to 1, clockwise: what is cut out of them runs the other way.
OUTLINES = {
    "circle": "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z",
    "square": "M-.9,-.9H.9V.9H-.9Z",
    "diamond": "M0,-1.25L1.25,0L0,1.25L-1.25,0Z",
    "triangle": "M0,-1.1L1.1,.9H-1.1Z",
}
CUTS = {  # of rows that share output and network
    "full": "",
    "ring": "M-.55,0A.55,.55,0,1,0,.55,0A.55,.55,0,1,0,-.55,0Z",
    "bar": "M-.62,-.25V.25H.62V-.25Z",
    "post": "M-.25,-.62V.62H.25V-.62Z",
}
NETWORKS = tuple(NAMES)
ROLES = {"bridge": 0, "recipe": 1, "factor": 3}
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
INK, FAINT, GRID = "#1a1c1f", "#5b6067", "#d9dce0"
VARIABLES = {INK: "--ink", FAINT: "--faint", GRID: "--grid"} | {colour: f"--p{i}" for i, colour in enumerate(COLOURS)}
TAG = re.compile(r'aria-label="([^"]*) \[([cmp]):([^\]"]*)\]"')  # ids and samplers' names as they are


def outlined(outline: str, cut: str) -> str:
    """A mark as the path of an SVG."""
    return OUTLINES[outline] + CUTS[cut]


def output(row: Row) -> str:
    """What the network gives: the target without what the loss is on, x0 of x0@velocity."""
    return row.target.split("@")[0]


def looks(params: Params) -> dict[str, dict]:
    """Colour, outline, dash and the path of the mark of each row, by its id.

    Colour is what the network gives. A row of the grid has the full mark of its output and network; recipes and others
    that share both are cut.
    """
    networks = [*NETWORKS, *(row.network for row in params.paradigms.values() if row.network not in NETWORKS)]
    networks = list(dict.fromkeys(networks))
    taken: dict[tuple[str, str], int] = {}
    found: dict[str, dict] = {}
    order = sorted(params.paradigms.items(), key=lambda item: ROLES.get(item[1].role, 4) if item[1].conditional else 2)
    for key, row in order:
        kind = output(row), row.network
        place = networks.index(row.network)
        cut = list(CUTS)[taken.get(kind, 0) % len(CUTS)]
        taken[kind] = taken.get(kind, 0) + 1
        colour = OUTPUTS.get(output(row), len(COLOURS) - 1)
        found[key] = {
            "colour": COLOURS[colour],
            "variable": f"--p{colour}",
            "dash": DASHES[place % len(DASHES)],
            "path": outlined(list(OUTLINES)[place % len(OUTLINES)], cut),
        }
    return {key: found[key] for key in params.paradigms}


def objectives_key(params: Params) -> list[tuple[str, str]]:
    """The objectives of a run and the variable of each one's colour."""
    every = looks(params)
    return list({output(row): (output(row), every[key]["variable"]) for key, row in params.paradigms.items()}.values())


def networks_key(params: Params) -> list[tuple[str, str]]:
    """The networks of a run by name, and the full outline of each."""
    every = looks(params)
    found = {row.network: every[key]["path"] for key, row in params.paradigms.items()}
    full = {network: next(o for o in OUTLINES.values() if path.startswith(o)) for network, path in found.items()}
    return [(NAMES.get(network, network), path) for network, path in full.items()]


def by_label(params: Params, keys: list[str]) -> dict[str, dict]:
    """The looks of some rows by their labels."""
    every = looks(params)
    return {params.paradigms[key].label: every[key] for key in keys}


def cell_id(paradigm: str, sampler: str, steps: int, guidance: float) -> str:
    """The name of a cell of the grid in links and marks, "sd1/ddim/8/1.25"; a scale as the page's script writes it."""
    return f"{paradigm}/{sampler}/{int(steps)}/{np.format_float_positional(guidance, trim='-')}"


FONT = 13  # pixels of the text in a chart, which a phone shows a little smaller
LINE = 15  # pixels from one label to the next


def domain(values: Sequence[float], log: bool, room: float = 0.05) -> tuple[float, float]:
    """The least and the greatest of some values with room on either side, so that no mark is clipped."""
    known = [float(value) for value in values if not pd.isna(value) and (value > 0 or not log)]
    low, high = (min(known), max(known)) if known else (0.1, 1.0)
    if log:
        edge = room * (math.log(high / low) or 1.0)
        return low / math.exp(edge), high * math.exp(edge)
    edge = room * ((high - low) or abs(high) or 1.0)
    return low - edge, high + edge


def share(value: float, span: tuple[float, float], log: bool) -> float:
    """Where in a domain a value lies, from 0 to 1."""
    low, high, value = (math.log(number) for number in (*span, value)) if log else (*span, value)
    return (value - low) / (high - low)


def at(place: float, span: tuple[float, float], log: bool) -> float:
    """The value that lies there; undoes ``share``."""
    if log:
        return span[0] * (span[1] / span[0]) ** place
    return span[0] + place * (span[1] - span[0])


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near as they can be to those wanted, in the same order, no two nearer than ``gap``.

    They stay between low and high where there is room for all.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    found, groups = list(wanted), []
    for index in order:
        groups.append([wanted[index], 1])  # a group's middle, and its size
        while len(groups) > 1:
            (before, many), (after, few) = groups[-2:]
            if after - before >= gap * (many + few) / 2:
                break
            middle = (before * many + after * few) / (many + few)
            groups[-2:] = [[middle, many + few]]
    room = gap * (len(wanted) - 1)
    places = [middle + gap * (k - (size - 1) / 2) for middle, size in groups for k in range(size)]
    for k in range(len(places)):  # from the top, then from the bottom
        places[k] = max(places[k], low + k * gap)
    for k in reversed(range(len(places))):
        places[k] = min(places[k], max(high, low + room) - (len(places) - 1 - k) * gap)
    for index, place in zip(order, places, strict=True):
        found[index] = place
    return found


def tagged(words: str, row: pd.Series, kind: str = "m") -> str:
    """A mark's description with the tag that ``svg`` reads: that of its cell, or of its paradigm if it has one."""
    if isinstance(row.get("cell"), str):
        return f"{words} [c:{row['cell']}]"
    return f"{words} [{kind}:{row['paradigm'] if isinstance(row.get('paradigm'), str) else ''}]"


def named(row: pd.Series) -> str:
    """What a mark belongs to: its label, with sampler, steps and guidance where it is a cell's."""
    if not isinstance(row.get("cell"), str):
        return row.label
    _, sampler, steps, guidance = row["cell"].split("/")
    parts = [row.label, sampler, f"{steps} step{'' if steps == '1' else 's'}", f"guidance {guidance}"]
    return ", ".join(dict.fromkeys(parts))  # a sampler that is the label stands once


ROOM = 19  # letters of a name that a chart has room for


def shortened(names: Sequence[str]) -> list[str]:
    """Names without the words that all begin with, and then end with, where one is too long for a chart."""
    found = list(names)
    for turned in (1, -1):
        if len(found) < 2 or max(map(len, found)) <= ROOM:
            break
        words = [name.split(" ")[::turned] for name in found]
        shared = sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, zip(*words, strict=False)))
        left = [" ".join(own[shared:][::turned]).rstrip(",") for own in words]
        found = left if all(left) else found
    return found


def lines(
    data: pd.DataFrame,
    looks: dict[str, dict],
    x: str,
    y: str,
    x_title: str,
    y_title: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    ordinal: bool = False,
    floor: float | None = None,
    top: float | None = None,
    width: int = 200,
    height: int = 230,
    points: bool = True,
    cloud: pd.DataFrame | None = None,
    front: pd.DataFrame | None = None,
) -> alt.LayerChart:
    """Mean over seeds as marked lines, each named at its end, the seeds' range as a bar, a rule at the real images'.

    Args:
        data: columns label, x, y and seed; with columns paradigm and cell the marks carry them; where a column apart
            is true the mark stands off the line, and a column beside says what it is.
        looks: how each label is drawn, in order.
        ordinal: values of x at equal distances.
        top: what lies above it stands at the upper edge under a triangle, and its line leaves the frame.
        cloud: more points, faint, with columns label, x, y, paradigm and cell.
        front: the Pareto front, rising in x, with columns x, y and badge; drawn as a broad line with its badges.
    """
    keys = ["label", x, *(name for name in ("paradigm", "cell", "apart", "beside") if name in data)]
    grouped = data.groupby(keys, as_index=False, dropna=False)[y].agg(["mean", "min", "max"]).reset_index(drop=True)
    x_words, y_words = (title.replace(" (log)", "") for title in (x_title, y_title))
    ceiling = math.inf if top is None else top

    def described(row: pd.Series, value: float) -> str:
        above = ", above the frame" if value > ceiling else ""
        return tagged(f"{named(row)}: {y_words} {value:.4g} at {x_words} {row[x]:.4g}{above}", row)

    grouped["text"] = [described(row, row["mean"]) for _, row in grouped.iterrows()]
    kind = "p" if points else "m"  # without points the line is what there is to reach
    grouped["line"] = [tagged(f"{r.label}: line", r.drop("cell", errors="ignore"), kind) for _, r in grouped.iterrows()]
    said = None
    if cloud is not None and len(cloud):
        said = cloud.assign(text=[described(row, row[y]) for _, row in cloud.iterrows()], faint=0.35)
    every = [grouped[x], *([] if said is None else [said[x]])]
    stops = sorted(set(map(float, pd.concat(every))))
    if ordinal:
        place = {value: float(index) for index, value in enumerate(stops)}
        grouped["_x"], span_x = grouped[x].map(place), (-0.4, len(stops) - 0.6)
    else:
        grouped["_x"], span_x = grouped[x], domain(stops, log_x, 0.04)
    heights = pd.concat([grouped["min"], grouped["max"], *([] if said is None else [said[y]])]).clip(upper=ceiling)
    span_y = domain([*heights, *([] if floor is None else [floor])], log_y)
    grouped["over"] = grouped["mean"] > ceiling
    grouped["true"] = grouped["mean"]  # where a line goes that leaves the frame
    grouped = grouped.assign(**{name: grouped[name].clip(upper=ceiling) for name in ("mean", "min", "max")})

    axis = {"labelOverlap": True, "labelSeparation": 4, "tickCount": 5}
    if ordinal:
        words = ", ".join(f"'{value:g}'" for value in stops)
        axis = {"values": list(range(len(stops))), "labelExpr": f"[{words}][datum.value]"}
    scale_x = alt.Scale(type="log" if log_x and not ordinal else "linear", domain=span_x, nice=False, zero=False)
    scale_y = alt.Scale(type="log" if log_y else "linear", domain=span_y, nice=False, zero=False)
    along = alt.X("_x:Q", title=x_title, scale=scale_x, axis=alt.Axis(**axis))

    def up(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=None, scale=scale_y, axis=alt.Axis(labelOverlap=True, tickCount=6))

    names = [
        label for label in looks if (grouped.label == label).any() or (said is not None and label in set(said.label))
    ]
    own = [looks[name] for name in names]
    colour = alt.Color("label:N", legend=None, scale=alt.Scale(domain=names, range=[one["colour"] for one in own]))
    shape = alt.Shape("label:N", legend=None, scale=alt.Scale(domain=names, range=[one["path"] for one in own]))
    dash = alt.StrokeDash("label:N", legend=None, scale=alt.Scale(domain=names, range=[one["dash"] for one in own]))
    layers: list[alt.Chart] = []
    if floor is not None:
        rule = alt.Chart(pd.DataFrame({"y": [floor]})).encode(y=up("y"))
        words = rule.mark_text(align="left", dx=4, dy=-6, color=FAINT, fontSize=FONT)
        layers.append(rule.mark_rule(strokeDash=[3, 3], color=FAINT))
        layers.append(words.encode(text=alt.value("real images"), x=alt.value(0)))
    if front is not None and len(front):
        drawn = alt.Chart(front.assign(_x=front[x], text="Pareto front")).encode(x=along, y=up(y))
        layers.append(drawn.mark_line(strokeWidth=9, opacity=0.2, color=INK).encode(description="text:N"))
        pixels = [width * share(value, span_x, log_x) for value in front[x]]
        places = [at(pixel / width, span_x, log_x) for pixel in spread(pixels, LINE, 0, width)]
        badges = alt.Chart(front.assign(_x=places)).encode(x=along, y=up(y))
        badges = badges.mark_text(dy=17, fontSize=FONT, fontWeight="bold", color=INK).encode(text="badge:N")
        layers.append(badges)
    if said is not None:
        # Opacity as a field: that of a mark would fade the other marks of its scale too.
        marks = alt.Chart(said.assign(_x=said[x], **{y: said[y].clip(upper=ceiling)})).mark_point(filled=True, size=20)
        layers.append(
            marks.encode(
                x=along, y=up(y), color=colour, shape=shape, opacity=alt.Opacity("faint:Q", scale=None, legend=None),
                description="text:N",
            )
        )  # fmt: skip
    base = alt.Chart(grouped).encode(x=along, color=colour)
    joined = base.transform_filter("!datum.apart") if "apart" in data else base
    layers.append(
        joined.mark_line(strokeWidth=2, clip=True).encode(
            y=up("true"), strokeDash=dash, description="line:N", detail="line:N"
        )
    )
    if points:
        bar = base.mark_rule(strokeWidth=1).encode(y=up("min"), y2="max:Q", description="line:N")
        mark = base.mark_point(filled=True, size=64, opacity=1)
        layers += [bar, mark.encode(y=up("mean"), shape=shape, description="text:N")]
    if grouped.over.any():
        over = alt.Chart(grouped[grouped.over]).encode(x=along, color=colour)
        layers.append(over.mark_text(text="\u25b2", dy=-11, fontSize=FONT).encode(y=up("mean")))
    layers += _names(
        grouped, up, along, colour, shape, span_x, span_y, log_x and not ordinal, log_y, width, height, points
    )
    title = alt.Title(y_title, anchor="start", fontSize=FONT, fontWeight="normal", color=INK, frame="bounds")
    return alt.layer(*layers).properties(width=width, height=height, title=title)


def _names(
    grouped: pd.DataFrame, up, along, colour, shape, span_x, span_y, log_x, log_y, width, height, points
) -> list[alt.Chart]:
    """The name of each line at the right, as near to its last point as the others leave room, with a thin leader."""
    # What stands off its line has a name of its own.
    apart = grouped.get("apart", pd.Series(False, index=grouped.index)).astype(bool)
    beside = grouped.get("beside", pd.Series("", index=grouped.index)).fillna("")
    ends = grouped.assign(_name=grouped.label + beside.where(apart, ""))
    ends = ends.sort_values("_x").groupby("_name", as_index=False).last()
    ends["_said"] = shortened(list(ends["_name"]))
    wanted = [height * (1 - share(value, span_y, log_y)) for value in ends["mean"]]
    pixels = spread(wanted, LINE, 4, height - 2)
    edge = at(1 - 2 / width, span_x, log_x)
    ends = ends.assign(_y=[at(1 - pixel / height, span_y, log_y) for pixel in pixels])
    leader = pd.concat([ends.assign(_at=ends["mean"]), ends.assign(_x=edge, _at=ends["_y"])])
    layers = [
        alt.Chart(leader).mark_line(strokeWidth=0.8, opacity=0.55).encode(
            x=along, y=up("_at"), color=colour, detail="_name:N"),
        alt.Chart(ends).mark_text(align="left", fontSize=FONT, color=INK, limit=130).encode(
            x=alt.value(width + (16 if points else 4)), y=up("_y"), text="_said:N"),
    ]  # fmt: skip
    if points:
        layers.append(alt.Chart(ends).mark_point(filled=True, size=50, opacity=1).encode(
            x=alt.value(width + 7), y=up("_y"), color=colour, shape=shape))  # fmt: skip
    return layers


def confusion(data: pd.DataFrame, name: str, size: int = 200) -> alt.LayerChart:
    """Shares of the digits seen, across, by the digit asked for, down; only errors are shaded.

    Args:
        data: columns asked, shown, share (of the images asked for), percent and text.
        name: title of the panel.
    """
    digits, data = list(range(10)), data.assign(text=data.text + " [m:]")
    axis = alt.Axis(labelAngle=0, ticks=False, domain=False, grid=False)
    base = alt.Chart(data).encode(
        x=alt.X("shown:O", title="seen", scale=alt.Scale(domain=digits), axis=axis),
        y=alt.Y("asked:O", title="asked for", scale=alt.Scale(domain=digits), axis=axis),
    )
    # The diagonal is near 1 everywhere; shaded on the same scale it would hide every error.
    errors = base.transform_filter("datum.asked != datum.shown").mark_rect(color=COLOURS[1])
    scale = alt.Scale(type="sqrt", domain=[0, 0.2], range=[0.08, 1], clamp=True)
    shade = alt.Opacity("share:Q", scale=scale, legend=None)
    right = base.transform_filter("datum.asked == datum.shown").mark_text(color=FAINT, fontSize=12)
    panel = alt.layer(
        errors.encode(opacity=shade, description="text:N"), right.encode(text="percent:N", description="text:N")
    )
    title = alt.Title(name, fontSize=FONT, fontWeight="normal", color=INK)
    return panel.properties(width=size, height=size, title=title)


def _attributes(match: re.Match) -> str:
    words, kind, name = match.groups()
    mark = " data-mark" if kind in "cm" else ""
    paradigm = f' data-p="{name.split("/")[0]}"' if name else ""
    cell = f' data-cell="{name}"' if kind == "c" else ""
    return f'aria-label="{words}"{mark}{paradigm}{cell}'


def specification(chart: alt.TopLevelMixin, background: str) -> str:
    """A chart in the page's style as Vega-Lite JSON."""
    return chart.configure(
        background=background,
        padding={"left": 4, "right": 24, "top": 4, "bottom": 4},  # for fonts wider than the one that was measured
        font="system-ui, sans-serif",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=INK, titleColor=INK, gridColor=GRID, domainColor=FAINT, tickColor=FAINT, labelFontSize=FONT,
            titleFontSize=FONT, titleFontWeight="normal",
        ),
        legend=alt.LegendConfig(labelColor=INK, titleColor=INK, labelFontSize=13, symbolLimit=0),
        header=alt.HeaderConfig(labelColor=INK, titleColor=INK, labelFontSize=13),
    ).to_json(validate=False)  # fmt: skip


def png(chart: alt.TopLevelMixin) -> bytes:
    """A chart as a picture on white, at twice its size."""
    return vl_convert.vegalite_to_png(specification(chart, "white"), vl_version=VEGA_LITE, scale=2)


def svg(chart: alt.TopLevelMixin, name: str) -> str:
    """A chart as an inline SVG whose colours follow the page's, with a name for screen readers.

    It is a group and not one image, so that its marks can be reached one by one.
    """
    text = vl_convert.vegalite_to_svg(specification(chart, "transparent"), vl_version=VEGA_LITE)
    for colour, variable in VARIABLES.items():
        text = re.sub(re.escape(colour), f"var({variable})", text, flags=re.IGNORECASE)
    text = TAG.sub(_attributes, text)
    text = re.sub(r'<svg ([^>]*?)width="(\d+)" height="(\d+)"', r'<svg \1 style="max-width:\2px"', text, count=1)
    return text.replace("<svg ", f'<svg role="group" aria-label="{escape(name)}" ', 1)
