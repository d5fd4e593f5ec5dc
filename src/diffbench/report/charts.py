"""Charts in Altair, rendered to SVG while the report is built; the page ships no chart library.

A mark's description may end in "[c:<cell>]", "[m:<paradigm>]" or "[p:<paradigm>]". ``svg`` turns that into attributes
by which the page's script highlights a paradigm everywhere (all three), reaches the mark and shows its label (c and m),
and opens its cell (c); the words before the tag are the label.
"""

import re

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

# Light and dark colours of five paradigms at a time, told apart under the three colour deficiencies too; shape and
# dash say the same again. Bridges reuse the five with other shapes.
COLOURS = ("#0002d6", "#ed350c", "#009fbf", "#73364a", "#000000")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2])
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
INK, FAINT, GRID = "#1a1c1f", "#5b6067", "#d9dce0"
VARIABLES = {INK: "--ink", FAINT: "--faint", GRID: "--grid"} | {colour: f"--p{i}" for i, colour in enumerate(COLOURS)}
TAG = re.compile(r'aria-label="([^"]*) \[([cmp]):([^\]"]*)\]"')  # ids and samplers' names as they are


def style(index: int) -> dict:
    """Colour, shape and dash of the paradigm in row ``index``, fixed by its place in the params."""
    return {
        "colour": COLOURS[index % len(COLOURS)],
        "shape": SHAPES[(index + index // len(COLOURS)) % len(SHAPES)],
        "dash": DASHES[index % len(DASHES)],
    }


def cell_id(paradigm: str, sampler: str, steps: int, guidance: float) -> str:
    """The name of a cell of the grid in links and marks, "sd1/ddim/8/1.25"; a scale as the page's script writes it."""
    return f"{paradigm}/{sampler}/{int(steps)}/{np.format_float_positional(guidance, trim='-')}"


def _scales(labels: list[str]) -> dict:
    styles = [style(i) for i in range(len(labels))]
    legend = alt.Legend(title=None, orient="top", columns=4, symbolSize=70, columnPadding=24)
    colour = alt.Scale(domain=labels, range=[s["colour"] for s in styles])
    return {
        "color": alt.Color("label:N", scale=colour, legend=legend),
        "shape": alt.Shape("label:N", scale=alt.Scale(domain=labels, range=[s["shape"] for s in styles])),
        "dash": alt.StrokeDash(
            "label:N", scale=alt.Scale(domain=labels, range=[s["dash"] for s in styles]), legend=None
        ),
    }


def _scale(log: bool) -> alt.Scale:
    # Rounding a logarithmic domain out to powers of ten would leave most of a panel empty.
    return alt.Scale(type="log", nice=False, padding=12) if log else alt.Scale(zero=False)


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


def lines(
    data: pd.DataFrame,
    labels: list[str],
    x: str,
    y: str,
    x_title: str,
    y_title: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
    floor: float | None = None,
    width: int = 560,
    height: int = 300,
    points: bool = True,
    cloud: pd.DataFrame | None = None,
    front: pd.DataFrame | None = None,
) -> alt.LayerChart:
    """Mean over seeds as marked lines, the seeds' range as a bar, a rule at the real images' own value.

    Args:
        data: columns label, x, y and seed; with columns paradigm and cell the marks carry them; where a column apart
            is true the mark stands off the line.
        cloud: more points, faint, with columns label, x, y, paradigm and cell.
        front: the Pareto front, rising in x, with columns x and y; drawn as a broad step below everything.
    """
    scales = _scales(labels)
    keys = ["label", x, *(name for name in ("paradigm", "cell", "apart") if name in data)]
    grouped = data.groupby(keys, as_index=False)[y].agg(["mean", "min", "max"]).reset_index(drop=True)
    x_words, y_words = (title.replace(" (log)", "") for title in (x_title, y_title))

    def described(row: pd.Series, value: float) -> str:
        return tagged(f"{named(row)}: {y_words} {value:.4g} at {x_words} {row[x]:.4g}", row)

    grouped["text"] = [described(row, row["mean"]) for _, row in grouped.iterrows()]
    kind = "p" if points else "m"  # without points the line is what there is to reach
    grouped["line"] = [tagged(f"{r.label}: line", r.drop("cell", errors="ignore"), kind) for _, r in grouped.iterrows()]
    along = alt.X(f"{x}:Q", title=x_title, scale=_scale(log_x))
    base = alt.Chart(grouped).encode(x=along, color=scales["color"])
    layers: list[alt.Chart] = []
    if front is not None and len(front):
        step = alt.Chart(front.assign(text="Pareto front")).mark_line(
            interpolate="step-after", strokeWidth=9, opacity=0.2, color=INK
        )
        layers.append(step.encode(x=along, y=alt.Y(f"{y}:Q", scale=_scale(log_y)), description="text:N"))
    if cloud is not None and len(cloud):
        # Opacity as a field: that of a mark would fade the legend's symbols too.
        said = cloud.assign(text=[described(row, row[y]) for _, row in cloud.iterrows()], faint=0.35)
        marks = alt.Chart(said).mark_point(filled=True, size=22)
        layers.append(
            marks.encode(
                x=along, y=alt.Y(f"{y}:Q", scale=_scale(log_y)), color=scales["color"], shape=scales["shape"],
                opacity=alt.Opacity("faint:Q", scale=None, legend=None), description="text:N",
            )
        )  # fmt: skip
    up = alt.Y("mean:Q", title=y_title, scale=_scale(log_y))
    joined = base.transform_filter("!datum.apart") if "apart" in data else base
    layers.append(
        joined.mark_line(strokeWidth=2).encode(y=up, strokeDash=scales["dash"], description="line:N", detail="line:N")
    )
    if points:
        bar = base.mark_rule(strokeWidth=1).encode(y=alt.Y("min:Q", title=y_title), y2="max:Q", description="line:N")
        mark = base.mark_point(filled=True, size=60, opacity=1)
        layers += [bar, mark.encode(y="mean:Q", shape=scales["shape"], description="text:N")]
    if floor is not None:
        rule = alt.Chart(pd.DataFrame({"y": [floor]})).encode(y=alt.Y("y:Q", scale=_scale(log_y)))
        label = rule.mark_text(align="left", dx=4, dy=-6, color=FAINT, fontSize=12)
        layers.append(rule.mark_rule(strokeDash=[3, 3], color=FAINT))
        layers.append(label.encode(text=alt.value("real test images"), x=alt.value(0)))
    return alt.layer(*layers).properties(width=width, height=height)


def effects(data: pd.DataFrame, title: str, *, names: bool, width: int = 330) -> alt.LayerChart:
    """A forest plot of ratios with their intervals, a row a comparison, and a rule at 1.

    Args:
        data: columns comparison, ratio, low, high (empty where one seed gives none) and text, in order.
        names: write the comparisons at the left.
    """
    order, data = list(dict.fromkeys(data.comparison)), data.assign(text=data.text + " [m:]")
    axis = alt.Axis(title=None, labelLimit=360, ticks=False, domain=False) if names else None
    base = alt.Chart(data).encode(y=alt.Y("comparison:N", sort=order, axis=axis))
    scale, values = alt.Scale(type="log", nice=False, padding=14), alt.Axis(labelOverlap=True, labelSeparation=6)
    x = alt.X("ratio:Q", title=title, scale=scale, axis=values)
    one = alt.Chart(pd.DataFrame({"ratio": [1.0]})).mark_rule(color=FAINT, strokeDash=[3, 3]).encode(x=x)
    return alt.layer(
        one,
        base.mark_rule(strokeWidth=2, color=INK).encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        base.mark_point(filled=True, size=70, color=INK, opacity=1).encode(x=x, description="text:N"),
    ).properties(width=width, height=alt.Step(26))


def confusion(data: pd.DataFrame, name: str, size: int = 190) -> alt.LayerChart:
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
    right = base.transform_filter("datum.asked == datum.shown").mark_text(color=FAINT, fontSize=10)
    panel = alt.layer(
        errors.encode(opacity=shade, description="text:N"), right.encode(text="percent:N", description="text:N")
    )
    title = alt.Title(name, fontSize=13, fontWeight="normal", color=INK)
    return panel.properties(width=size, height=size, title=title)


def beside(charts: list[alt.LayerChart], columns: int | None = None) -> alt.ConcatChart:
    """Charts side by side under one legend, wrapped after ``columns``."""
    wrap = {"columns": columns} if columns else {}
    return alt.concat(*charts, **wrap).resolve_scale(color="shared", shape="shared")


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
        font="system-ui, sans-serif",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=INK, titleColor=INK, gridColor=GRID, domainColor=FAINT, tickColor=FAINT, labelFontSize=12,
            titleFontSize=13, titleFontWeight="normal",
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
    return text.replace("<svg ", f'<svg role="group" aria-label="{name}" ', 1)
