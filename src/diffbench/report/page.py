"""The tables and pictures of a run as one HTML page."""

import base64
import hashlib
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from diffbench.config.models import Params
from diffbench.data.sources import SOURCES, image_side
from diffbench.errors import UserError
from diffbench.report import claims, effects, explore, finding, reference, sections, sprites, summary
from diffbench.report.charts import networks_key, objectives_key
from diffbench.report.figures import figures, front_rows
from diffbench.report.finding import DASH, headline, number, second_opinion
from diffbench.runtime.places import Places
from diffbench.tables import schema, store

TEMPLATES = Path(__file__).parent / "templates"
CONTENTS = (
    ("summary", "Summary"),
    ("use", "What to use"),
    ("claims", "Claims"),
    ("explore", "Explore"),
    ("cost", "Cost"),
    ("guidance-trade", "Guidance"),
    ("effects", "Factors"),
    ("training", "Training"),
    ("noise", "Noise"),
    ("denoising", "Denoising"),
    ("failures", "Prompts"),
    ("nearest", "Nearest"),
    ("samples", "Samples"),
    ("arms", "Side experiments"),
    ("cells", "All cells"),
    ("read", "Reading"),
    ("provenance", "Provenance"),
)
MEDIA = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}


def download(path: Path) -> dict:
    """A file that the page carries in itself.

    Raises:
        UserError: missing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run 'snakemake --cores all' to make it") from None
    uri = f"data:{MEDIA[path.suffix[1:]]};base64,{base64.b64encode(content).decode()}"
    return {"name": path.name, "uri": Markup(uri), "size": f"{len(content) / 1e3:.0f} kB"}


def render(frames: dict[str, pd.DataFrame], params: Params) -> str:
    """The page. The same tables and pictures give the same text.

    Raises:
        UserError: a picture or a table to carry is missing or damaged.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    environment.filters["brief"] = lambda text: f"{text[:12]}…" if len(text) == 64 else text  # a SHA-256
    environment.filters["signed"] = lambda value: DASH if pd.isna(value) else f"{value:+.3f}"
    albums = {key: sprites.album(params, key) for key in params.paradigms}
    facts = finding.facts_of(frames["provenance"])
    floors = store.real_test_row(frames["floors"])
    data = explore.data(frames, params, albums)
    rows = summary.rows(frames, params, albums)
    samplers = {key: row.samplers[0] for key, row in params.paradigms.items()}
    shown = {row["key"]: (row["sprite"], row["strip"]) for row in rows if row["strip"] is not None}
    real, nearest = sprites.real(params, shown)
    advice = finding.advice(frames, samplers)
    claimed = claims.section(frames, params.name)
    lacking = {"use": not advice, "nearest": not nearest}
    absent = [key for key, missing in lacking.items() if missing]
    side = image_side(params)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    places = Places(params.name)
    return environment.get_template("page.html.j2").render(
        title=headline(frames["paradigms"], frames["cells"], frames["floors"]),
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        # Only this very script may run; an injected one has another hash.
        script_hash=Markup(f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"),
        contents=[entry for entry in CONTENTS if entry[0] not in absent],
        sprites=[*(sprite for album in albums.values() for sprite in album.sprites), *([real] if real else [])],
        answer=finding.answer(frames, samplers),
        advice=advice,
        last_of_article=finding.ARTICLE,
        held=finding.decided(frames["claims"]),
        real=real,
        nearest=nearest,
        missed=sections.missed(frames, params),
        combinations=sections.combinations(frames, params),
        forests=effects.effect_forests(frames["effects"]),
        fronts=front_rows(frames, params),
        objectives_key=objectives_key(params),
        networks_key=networks_key(params),
        opposites=sections.opposites(frames, params),
        second_opinion=second_opinion(frames["paradigms"]),
        params=params,
        source=SOURCES[params.data.source],
        side=side,
        scale=3 if side < 16 else 1,
        zoom=f"{64 / (side * (3 if side < 16 else 1)):.4g}",  # of Explore's digits, 64 pixels wide
        facts=facts,
        floors=floors,
        drawn=frames["floors"][frames["floors"].split != "test"].to_dict("records"),
        floor_values=summary.floor_values(floors),
        summary_columns=summary.COLUMNS,
        summary=rows,
        target=min(params.convergence.within) * floors.fid,
        claims=claimed,
        changes=frames["claim_changes"].to_dict("records"),
        explore=data,
        data=explore.embedded(data),
        panes=explore.panes(data),
        prompts=list(frames["prompts"].prompt),
        figures=figures(frames, params),
        grids=sections.grids(frames, params, albums),
        arms=sections.arms(frames, params, albums),
        straight_columns=sections.STRAIGHT,
        straight=sections.per_seed(frames["straightness"], params, *sections.STRAIGHT),
        reached=sections.reached(frames, params),
        objectives=sections.objectives(frames, params),
        factors=[key for key, row in params.paradigms.items() if row.role == "factor"],
        films=sections.films(frames, params, albums),
        stills=sections.stills(params.probe.frames),
        failures=sections.failures(frames, params, albums),
        word_shares=sections.word_shares(frames, params),
        growth=sections.growth(frames, params, albums),
        few=schema.FEW_NFE,
        few_shown=all(row["shown"] != "best_" for row in rows),
        most=max(params.sampling.steps),
        within=sorted(params.convergence.within),
        failed=[row.label for row in frames["paradigms"].itertuples() if row.seeds_ok < len(params.seeds)],
        broken=sections.broken(frames, params),
        absent=sections.absent(frames),
        trained=sections.training_time(frames),
        cells=sections.all_cells(frames),
        columns=[column for column in schema.TABLES["cells"].columns if column.name != "native"],
        reference=reference.against(frames, params),
        downloads=[download(places.tables / f"cells.{kind}") for kind in MEDIA],
        cell=summary.score_text,
        chance=summary.chance(),
    )
