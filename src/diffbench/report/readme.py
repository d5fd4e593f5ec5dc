"""The finding in the README and the results in the documentation, from a run's tables.

No number between their marks is typed by hand. Runs beside it have what it lacks: the rows of later papers, and the
claims that it cannot test.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from diffbench.claims.judge import corrected
from diffbench.compare.locate import find
from diffbench.data.sources import SOURCES
from diffbench.errors import UserError
from diffbench.report import film
from diffbench.report.claims import among, criterion, effect_text, explains
from diffbench.report.effects import CHAIN, NETWORKS, STEPS, chain, chained, network_name
from diffbench.report.finding import UNTESTED, VELOCITY, counted, facts_of, headline, number, pairs, tally
from diffbench.runtime.files import replacing
from diffbench.runtime.places import REFERENCES
from diffbench.tables import schema, store

Frames = dict[str, pd.DataFrame]

READS = ("cells", "claims", "claim_parts", "effects", "floors", "noise_error", "paradigms", "provenance", "training")
README, RESULTS = Path("README.md"), Path("docs/results.md")
MARKED = {README: ("finding",), RESULTS: ("results", "claims")}  # the blocks of each file
TEMPLATES = {name: Path(f"docs/readme-{name}.md.j2") for names in MARKED.values() for name in names}
FILM = Path("docs/images/denoising.gif")
NOISY = (-10.0, -8.0)  # log-SNR at which eps is hard to turn into x0
WITHIN = 1.5  # times the real images' FID, short of which a row is named


def objective(row: pd.Series) -> tuple[str, str, str]:
    """What a row is trained to predict, on which path, at which times."""
    return row.target, row.path, row.times


# The order of the table's rows, which the tables sort by name.
STORY = ("ddpm", "sd1", "sd2", "dit", "sd3", "edm", "jit", "imf", "drift")


def factors(effects: pd.DataFrame) -> list[dict[str, Any]]:
    """The factors in the order in which they are added, with what each multiplies FID by at each step count.

    Empty where the run cannot tell them apart at every step count of STEPS.
    """
    network = chained(effects)
    if network is None:
        return []
    chains = [chain(effects, steps, network) for steps in STEPS]
    return [
        {"words": words, "effects": [rows.iloc[place] for rows in chains]} for place, words in enumerate(CHAIN.values())
    ]


def factors_beside(beside: Sequence[tuple[Frames, Path]], known: str | None) -> list[dict[str, Any]]:
    """The factors in networks other than a run's own, each from the first run beside it that tells them apart there."""
    found: dict[str, dict[str, Any]] = {}
    for frames, folder in beside:
        network = chained(frames["effects"])
        if network is not None and network != known:
            where = {"network": network_name(network), "folder": folder.as_posix()}
            found.setdefault(network, where | {"factors": factors(frames["effects"])})
    return list(found.values())


def noisy_errors(frames: Frames, pair: dict[str, Any]) -> dict[str, float] | None:
    """Mean squared error of x0 per pixel of a pair of rows where log-SNR lies in NOISY; None where it is not known."""
    errors = frames["noise_error"]
    own = errors[(errors.axis == "log_snr") & (errors.low >= NOISY[0]) & (errors.high <= NOISY[1])]
    means = {name: own[own.paradigm == pair[name].paradigm].x0_error.mean() for name in ("eps", "velocity")}
    return None if any(map(pd.isna, means.values())) else {name: float(value) for name, value in means.items()}


def short(paradigms: pd.DataFrame, floor: float) -> list[dict[str, Any]]:
    """Rows whose best FID is more than WITHIN times the real images'."""
    rows = paradigms[paradigms.best_fid > WITHIN * floor]
    return [{"paradigm": row.paradigm, "times": row.best_fid / floor} for _, row in rows.iterrows()]


def later(beside: Sequence[tuple[Frames, Path]]) -> list[dict[str, Any]]:
    """The rows of STORY from other papers in the runs beside, each from the first that has it, with its run and folder.

    Rows that take one of them apart, as those of patches do, are no chapter of their own.
    """
    found: dict[str, dict[str, Any]] = {}
    for frames, folder in beside:
        for row in frames["paradigms"][frames["paradigms"].role == "after"].to_dict("records"):
            where = {"run": facts_of(frames["provenance"])["run"], "folder": folder.as_posix()}
            found.setdefault(row["paradigm"], row | where)
    return [found[key] for key in STORY if key in found]


def tested(own: list[dict[str, Any]], beside: Sequence[tuple[Frames, Path]]) -> list[dict[str, Any]]:
    """The claims of a run; one that it cannot test is taken from a run beside it that can, with its name.

    That is the run which was made for the claim, or else the first. Holm's correction is made again, over all of them:
    each run's own knows only the claims that it tests.
    """
    others: dict[str, dict[str, Any]] = {}
    for frames, _ in beside:
        run = facts_of(frames["provenance"])["run"]
        for row in judged(frames["claims"], frames["claim_parts"]):
            if row["verdict"] != UNTESTED and (row["claim"] not in others or row["preset"] == run):
                others[row["claim"]] = row | {"run": run}
    found = [others.get(row["claim"], row) if row["verdict"] == UNTESTED else row for row in own]
    return corrected([{key: value for key, value in row.items() if not _no_p(key, value)} for row in found])


def _no_p(key: str, value: Any) -> bool:
    """Whether a column is a p-value that a claim without a test has not."""
    return key.startswith("p_") and bool(pd.isna(value))


def values_of(frames: Frames, folder: Path, beside: Sequence[tuple[Frames, Path]] = ()) -> dict[str, Any]:
    """What the templates may say."""
    provenance = facts_of(frames["provenance"])
    rows, floor = frames["paradigms"], store.real_test_row(frames["floors"])
    rows = rows[rows.role != "factor"]  # the table of factors has those
    places = [STORY.index(key) if key in STORY else len(STORY) + (role != "recipe")
              for key, role in zip(rows.paradigm, rows.role, strict=True)]  # fmt: skip
    ordered = rows.assign(_place=places).sort_values("_place", kind="stable")
    found = [pair | {"network": NETWORKS.get(pair["network"], pair["network"])} for pair in pairs(rows)]
    claims = tested(judged(frames["claims"], frames["claim_parts"]), beside)
    velocity = [row for _, row in ordered.iterrows() if row.conditional and objective(row) == VELOCITY]
    return {
        "title": headline(rows, frames["cells"], frames["floors"]),
        "rows": ordered.to_dict("records"),
        "floor": floor,
        "drawn": drawn_at_random(frames["floors"]),
        "provenance": provenance,
        "data": SOURCES[provenance["data"]].title if provenance["data"] in SOURCES else provenance["data"],
        "seeds": len(provenance["seeds"].split(",")),
        "images": int(frames["cells"].images.max()),
        "trained": int(frames["training"].images.max()),
        "few": schema.FEW_NFE,
        "pairs": found,
        "factors": factors(frames["effects"]),
        "factors_in": network_name(chained(frames["effects"]) or ""),
        "factors_beside": factors_beside(beside, chained(frames["effects"])),
        "steps": STEPS,
        "noise": noisy_errors(frames, found[0]) if found else None,
        "noisy": NOISY,
        "velocity": [
            {"network": NETWORKS.get(row.network, row.network), "fid": row.best_fid}
            for row in velocity
            if not pd.isna(row.best_fid)
        ],
        "within": WITHIN,
        "short": short(rows, float(floor.fid)),
        "claims": claims,
        "later": later(beside),
        "command": " ".join(
            [
                "python -m diffbench readme",
                folder.name,
                *(["--beside"] if beside else []),
                *(other.name for _, other in beside),
            ]
        ),
        "verdicts": schema.VERDICTS,
        "groups": [
            {"words": group["words"], "tally": tally(group["claims"]).removeprefix("claims: ")}
            for group in counted(pd.DataFrame(claims))
            if group["tested"]
        ],
        "folder": folder.as_posix(),
        "film": FILM.as_posix() if film_rows(frames, folder) else None,
    }


def film_rows(frames: Frames, folder: Path) -> list[tuple[str, np.ndarray]]:
    """Label and strips of the rows that the moving picture compares, eps above velocity; empty where there are none.

    Args:
        folder: that of the run's page, which holds the strips.
    """
    strips = film.strips(folder / "report.html")
    wanted = [
        (f"{NETWORKS.get(pair['network'], pair['network'])} + {name}", pair[name].paradigm)
        for pair in pairs(frames["paradigms"])
        for name in ("eps", "velocity")
    ]
    return [(label, strips[key]) for label, key in wanted if key in strips]


def judged(claims: pd.DataFrame, parts: pd.DataFrame) -> list[dict[str, Any]]:
    """The claims, each with what would support it, how many comparisons it was chosen from, and what explains it."""
    rows = claims.merge(parts[["claim", "part", "test"]], on=["claim", "part"], how="left").to_dict("records")
    every = parts.to_dict("records")
    return [
        row
        | {
            "criterion": criterion(row["test"], row["margin"], row["unit"]),
            "among": among(row, every) if row["part"] else "",
            "run": "",
            "explained": [part for part in every if part["claim"] == row["claim"] and explains(part)],
        }
        for row in rows
    ]


def drawn_at_random(floors: pd.DataFrame) -> pd.Series | None:
    """The floor of training images whose classes fall as they may; None where the run has not scored them."""
    own = floors[floors.split != "test"]
    return None if own.empty else own.iloc[0]


def blocks(frames: Frames, folder: Path, beside: Sequence[tuple[Frames, Path]] = ()) -> dict[str, str]:
    """The text between each pair of marks.

    Args:
        frames: the tables READS of a run.
        folder: that of the run's page and pictures.
        beside: the same of further runs.

    Raises:
        UserError: a template cannot be read.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    environment.filters["effect_text"] = effect_text
    environment.filters["percent"] = lambda value: "" if pd.isna(value) else f"{100 * value:.1f}%"
    said, found = values_of(frames, folder, beside), {}
    for name, path in TEMPLATES.items():
        try:
            template = path.read_text(encoding="utf-8")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); run from the root of the repository") from None
        found[name] = environment.from_string(template).render(**said).strip()
    return found


def filled(path: Path, text: str, found: dict[str, str]) -> str:
    """The text of a file of MARKED with what stands between its marks replaced.

    Raises:
        UserError: a pair of marks is missing.
    """
    for name in MARKED[path]:
        block = found[name]
        marks = f"<!-- {name}: made by `python -m diffbench readme` -->", f"<!-- /{name} -->"
        pattern = f"(?<={re.escape(marks[0])}\n).*?(?={re.escape(marks[1])})"
        text, count = re.subn(pattern, lambda _, block=block: f"\n{block}\n\n", text, flags=re.DOTALL)
        if count != 1:
            raise UserError(f"{path}: needs the lines '{marks[0]}' and '{marks[1]}', once each and in this order")
    return text


def run(source: str, beside: Sequence[str] = ()) -> None:
    """Write the README's finding, the results in the documentation and the moving picture from a run.

    Args:
        source: a run's name, a reference's, or a folder of tables.
        beside: the same of runs that have what it lacks.

    Raises:
        UserError: tables, a template or a file's marks are missing or damaged.
    """
    folder = find(source)
    others = [find(name) for name in beside]
    frames, *more = ({name: store.read(each, name) for name in READS} for each in (folder, *others))
    found = blocks(frames, folder.parent, [(own, each.parent) for own, each in zip(more, others, strict=True)])
    texts = {}
    for path in MARKED:
        try:
            texts[path] = filled(path, path.read_text(encoding="utf-8"), found)
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); run from the root of the repository"
            raise UserError(f"{path}: {reason}") from None
    for path, text in texts.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    rows = film_rows(frames, folder.parent)
    if rows:
        with replacing(FILM) as temporary:
            film.write(rows, temporary)
    where = "" if folder.is_relative_to(REFERENCES) else f"; copy reports/{source} to {REFERENCES} to commit it"
    print(f"wrote {', '.join(map(str, [*texts, *([FILM] if rows else [])]))} from {folder}{where}")
