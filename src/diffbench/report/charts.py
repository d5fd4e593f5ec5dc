"""Charts in Altair, rendered to SVG while the report is built; the page ships no chart library."""

import re

import altair as alt
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


def style(index: int) -> dict:
    """Colour, shape and dash of the paradigm in row ``index``, fixed by its place in the params."""
    return {
        "colour": COLOURS[index % len(COLOURS)],
        "shape": SHAPES[(index + index // len(COLOURS)) % len(SHAPES)],
        "dash": DASHES[index % len(DASHES)],
    }


def _scales(labels: list[str]) -> dict:
    styles = [style(i) for i in range(len(labels))]
    legend = alt.Legend(title=None, orient="top", columns=3, symbolSize=70)
    colour = alt.Scale(domain=labels, range=[s["colour"] for s in styles])
    return {
        "color": alt.Color("label:N", scale=colour, legend=legend),
        "shape": alt.Shape("label:N", scale=alt.Scale(domain=labels, range=[s["shape"] for s in styles])),
        "dash": alt.StrokeDash(
            "label:N", scale=alt.Scale(domain=labels, range=[s["dash"] for s in styles]), legend=None
        ),
    }


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
) -> alt.LayerChart:
    """Mean over seeds as marked lines, the seeds' range as a bar, a rule at the real images' own value.

    Args:
        data: columns label, x, y, and seed.
    """
    scales = _scales(labels)
    # Rounding a logarithmic domain out to powers of ten would leave most of a panel empty.
    kind = lambda log: alt.Scale(type="log", nice=False, padding=12) if log else alt.Scale(zero=False)  # noqa: E731
    grouped = data.groupby(["label", x], as_index=False)[y].agg(["mean", "min", "max"]).reset_index(drop=True)
    grouped["text"] = [f"{r.label}: {y_title} {r['mean']:.4g} at {x_title} {r[x]:.4g}" for _, r in grouped.iterrows()]
    base = alt.Chart(grouped).encode(x=alt.X(f"{x}:Q", title=x_title, scale=kind(log_x)), color=scales["color"])
    layers = [
        base.mark_line(strokeWidth=2).encode(
            y=alt.Y("mean:Q", title=y_title, scale=kind(log_y)), strokeDash=scales["dash"]
        )
    ]
    if points:
        layers.append(base.mark_rule(strokeWidth=1).encode(y=alt.Y("min:Q", title=y_title), y2="max:Q"))
        mark = base.mark_point(filled=True, size=60, opacity=1)
        layers.append(mark.encode(y="mean:Q", shape=scales["shape"], description="text:N"))
    if floor is not None:
        rule = alt.Chart(pd.DataFrame({"y": [floor]})).encode(y=alt.Y("y:Q", scale=kind(log_y)))
        layers.append(rule.mark_rule(strokeDash=[3, 3], color=FAINT))
        label = rule.mark_text(align="left", dx=4, dy=-6, color=FAINT, fontSize=12)
        layers.append(label.encode(text=alt.value("real test images"), x=alt.value(0)))
    return alt.layer(*layers).properties(width=width, height=height)


def beside(charts: list[alt.LayerChart], columns: int | None = None) -> alt.ConcatChart:
    """Charts side by side under one legend, wrapped after ``columns``."""
    wrap = {"columns": columns} if columns else {}
    return alt.concat(*charts, **wrap).resolve_scale(color="shared", shape="shared")


def svg(chart: alt.TopLevelMixin, name: str) -> str:
    """A chart as an inline SVG whose colours follow the page's, with a name for screen readers."""
    spec = chart.configure(
        background="transparent",
        font="system-ui, sans-serif",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=INK, titleColor=INK, gridColor=GRID, domainColor=FAINT, tickColor=FAINT, labelFontSize=12,
            titleFontSize=13, titleFontWeight="normal",
        ),
        legend=alt.LegendConfig(labelColor=INK, titleColor=INK, labelFontSize=13),
        header=alt.HeaderConfig(labelColor=INK, titleColor=INK, labelFontSize=13),
    ).to_json(validate=False)  # fmt: skip
    text = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
    for colour, variable in VARIABLES.items():
        text = re.sub(re.escape(colour), f"var({variable})", text, flags=re.IGNORECASE)
    text = re.sub(r'<svg ([^>]*?)width="(\d+)" height="(\d+)"', r'<svg \1 style="max-width:\2px"', text, count=1)
    return text.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
