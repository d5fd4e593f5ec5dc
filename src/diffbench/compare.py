"""Whether two runs agree within seed noise: cell by cell, and claim by claim.

"Agree" means that nothing speaks against one distribution behind both runs. The unit is the training seed, and the two
runs' seeds are taken for independent samples even where the seeds are the same numbers: on another device, or after a
change of code, the same seed gives another training, and where some likeness is left it only makes the test more
cautious. A paired test would spend half of the few degrees of freedom on it. Under one distribution both runs have one
variance, so it is pooled (Student's t), which also lets one seed be held against three.

    effect       right minus left: of the mean logs of a distance, or of the mean shares
    p            of "the difference is at most the tolerance", which is half the margin that claims are judged by. So
                 seeds that happen to lie close together cannot make a trifle certain
    p_adjusted   Benjamini and Hochberg's (JRSS B 57, 1995) over all cells and metrics, of which the two distances have
                 four times the weight of the shares (Genovese et al., Biometrika 93, 2006). The runs agree where none
                 is at most 5%: under one distribution the chance of a false alarm is then at most 5% (Simes), because
                 the cells of one training are positively dependent; and of the values listed as differing at most 5%
                 are expected to be listed wrongly

FID, recall and digit error depend on the run's own classifier, of which there is one, not one a seed. On the 8 x 8
digits the same samples score an FID that varies by a fifth between classifiers trained alike, three times as much as
between training seeds, and by a tenth after division by the real images' FID (benchmarks/classifiers.py). So where the
classifiers differ, these are shown and not tested, and the metrics that need no classifier decide.

Claims disagree where both runs decided and not both can be right: supported against contradicted, or against
equivalent. Supported against inconclusive is a matter of power. Contradicted against equivalent can both be right: a
reversal that is certain and yet a trifle.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, t

from . import tables
from .errors import UserError
from .files import REFERENCES, Places, replacing

ALPHA = 0.05
KEY = ("paradigm", "sampler", "steps", "guidance", "arm")
JUDGE = "classifier sha256"
READS = ("cells", "claims", "claim_parts", "floors", "paradigms", "provenance", "training")
DECIDED = ("supported", "contradicted", "equivalent")
OPPOSED = ({"supported", "contradicted"}, {"supported", "equivalent"})
DIFFER = ("differs", "failed left", "failed right")


@dataclass(frozen=True)
class Metric:
    """A score that is compared: its scale, what counts as a trifle on it, and whether the classifier enters it.

    ``weight`` is its part of the 5%. ``counted``: a share of images, so a multiple of one over their number; seeds that
    tie on it are no more certain than a count of so many.
    """

    name: str
    scale: str  # ratio: logs are compared; difference
    tolerance: float
    judged: bool
    weight: float = 1.0
    counted: bool = False

    @property
    def bound(self) -> float:
        """The tolerance in the unit of the effects: a log ratio, or that of the metric."""
        return math.log1p(self.tolerance) if self.scale == "ratio" else self.tolerance


METRICS = (
    Metric("fid", "ratio", 0.05, judged=True, weight=4.0),
    Metric("pca_fid", "ratio", 0.05, judged=False, weight=4.0),
    Metric("recall", "difference", 0.025, judged=True, counted=True),
    Metric("digit_error", "difference", 0.005, judged=True, counted=True),
    Metric("slant_error", "difference", 0.005, judged=False, counted=True),
)

Column = tables.Column
CELLS = (
    *(column for column in tables.TABLES["cells"].columns if column.name in KEY),
    Column("metric", "string", "", "what is compared; empty where the cell as a whole is missing or failed"),
    Column("n_left", "integer", "seeds", "seeds with a value on the left"),
    Column("n_right", "integer", "seeds", "seeds with a value on the right"),
    Column("left", "number", "", "mean over seeds, the geometric one of a distance"),
    Column("right", "number", "", "the same on the right"),
    Column("scale", "string", "", "ratio: the effect is right over left; difference: right minus left"),
    Column("effect", "number", "", "ratio or difference"),
    Column("low", "number", "", "lower end of its 95% t interval, for this cell alone"),
    Column("high", "number", "", "upper end of it"),
    Column("outside", "boolean", "", "the interval leaves out equality, expected of one in twenty; empty for counts"),
    Column("p", "number", "1", "p-value of: the difference is at most the tolerance"),
    Column("p_adjusted", "number", "1", "the same after Benjamini and Hochberg's correction over all that was tested"),
    Column("says", "string", "", "same, agrees, differs, or why nothing was tested"),
)
CLAIMS = (
    Column("claim", "string", "", "its id in workflow/claims.yaml"),
    Column("number", "integer", "", "its number there"),
    Column("title", "string", "", "the claim in short"),
    Column("left", "string", "", "verdict of the left run; empty where it has none"),
    Column("right", "string", "", "verdict of the right run"),
    Column("effect_left", "number", "", "mean effect of the part that decides on the left"),
    Column("effect_right", "number", "", "the same on the right"),
    Column("unit", "string", "", "log ratio or difference"),
    Column("says", "string", "", "agrees, disagrees, or why the two do not speak to each other"),
)
FACTS = (
    Column("key", "string", "", "name of the fact"),
    Column("left", "string", "", "its value on the left"),
    Column("right", "string", "", "its value on the right"),
)


@dataclass(frozen=True)
class Comparison:
    """Two runs held against each other.

    Attributes:
        cells: one row a cell and metric, columns CELLS; empty where the runs' data differ.
        claims: one row a claim of either run, columns CLAIMS.
        provenance: what the two rest on where it differs, columns FACTS.
        notes: what was left out and why, one line each.
        agrees: whether nothing differs; None where nothing could be tested.
        summary: the same in one line, with its figures.
    """

    cells: pd.DataFrame
    claims: pd.DataFrame
    provenance: pd.DataFrame
    notes: tuple[str, ...]
    agrees: bool | None
    summary: str


def _frame(columns: Iterable[Column], rows: list[dict] | pd.DataFrame) -> pd.DataFrame:
    columns = list(columns)
    data = pd.DataFrame(rows, columns=[column.name for column in columns])
    return data.astype({column.name: tables.DTYPES[column.type] for column in columns})


def _facts(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    """The table provenance as a mapping, with what other tables show of the params."""
    own = frames["provenance"]
    facts = dict(zip(own["key"].astype(str), own["value"].astype(str), strict=True))
    cells = frames["cells"]
    if "training" in frames and len(frames["training"]):
        facts["training images"] = str(int(frames["training"].images.max()))
    if len(cells) and cells.images.notna().any():
        facts["images of a cell"] = ", ".join(str(int(n)) for n in sorted(cells.images.dropna().unique()))
    for row in frames["paradigms"].to_dict("records"):
        for name in ("network", "path", "target", "times", "parameters", "guidance"):
            if not pd.isna(row.get(name)):
                chosen = "chosen guidance" if name == "guidance" else name
                facts[f"{chosen} of {row['paradigm']}"] = str(row[name])
    return facts


def _provenance(left: dict[str, str], right: dict[str, str]) -> pd.DataFrame:
    """What differs; of a row that one run lacks it is enough to say so once, among the missing cells."""
    keys = [key for key in {**left, **right} if left.get(key) != right.get(key)]
    keys = [key for key in keys if " of " not in key or (key in left and key in right)]
    return _frame(FACTS, [{"key": key, "left": left.get(key, ""), "right": right.get(key, "")} for key in keys])


# Cells


def _values(cells: pd.DataFrame, index: pd.MultiIndex, metric: Metric) -> np.ndarray:
    """A metric by cell and seed, (C, S) on the scale of its effects; not a number where a seed has none."""
    ok = cells.status == "ok"
    values = cells[metric.name].astype(float).where(ok)
    if metric.scale == "ratio":
        values = np.log(values.clip(lower=1e-12))
    wide = cells.assign(_value=values).pivot(index=list(KEY), columns="seed", values="_value").reindex(index)
    return wide.to_numpy(float)


def _images(cells: pd.DataFrame, index: pd.MultiIndex) -> np.ndarray:
    """Images scored in a cell, (C,); not a number where unknown."""
    return cells.groupby(list(KEY)).images.max().reindex(index).astype(float).to_numpy()


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Seeds, mean and sum of squares about the mean of values (C, S); spread by rounding only counts as none."""
    n = np.isfinite(values).sum(axis=1)
    mean = np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), math.nan)
    squares = np.nansum((values - mean[:, None]) ** 2, axis=1)
    rounding = n * (1e-12 * np.maximum(1, np.abs(np.nan_to_num(mean)))) ** 2
    return n, mean, np.where(squares > rounding, squares, 0.0)


def two_sample(left: np.ndarray, right: np.ndarray, bound: float, floor: np.ndarray | float = 0.0) -> pd.DataFrame:
    """Student's t test of two independent samples with one variance, for many cells at once.

    Args:
        left, right: values by cell and seed, (C, S) and (C, R); not a number where there is none.
        bound: differences up to this are a trifle.
        floor: the least variance a value can have, (C,).

    Returns:
        Rows in the order of the cells: n_left, n_right, left, right (means), effect (right minus left), its 95%
        interval low to high, ``p_plain`` of no difference and ``p`` of one of at most ``bound``. Not a number where
        there are fewer than three values, or none on one side.
    """
    (n, a, squares_a), (m, b, squares_b) = _moments(left), _moments(right)
    df = np.maximum(n + m - 2, 1)
    variance = np.maximum((squares_a + squares_b) / df, floor)
    error = np.sqrt(variance * (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1)))
    effect = b - a
    testable = (n > 0) & (m > 0) & (n + m > 2)
    size = np.where(np.abs(effect) > 1e-12 * np.maximum(1, np.abs(a)), np.abs(effect), 0.0)

    def beyond(limit: float) -> np.ndarray:
        """Probability of a difference as large in either direction, were the true one ``limit``."""
        with np.errstate(divide="ignore", invalid="ignore"):
            p = t.sf((size - limit) / error, df) + t.sf((size + limit) / error, df)
        p = np.where(error > 0, p, np.where(size > limit, 0.0, 1.0))
        return np.where(testable, np.minimum(p, 1.0), math.nan)

    half = np.where(testable, t.ppf(1 - ALPHA / 2, df) * error, math.nan)
    return pd.DataFrame(
        {"n_left": n, "n_right": m, "left": a, "right": b, "effect": effect, "low": effect - half,
         "high": effect + half, "p_plain": beyond(0.0), "p": beyond(bound)}
    )  # fmt: skip


def _identical(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cells whose seeds have exactly the same values, (C,)."""
    if left.shape != right.shape:
        return np.zeros(len(left), bool)
    return ((left == right) | (np.isnan(left) & np.isnan(right))).all(axis=1)


def _counting(left: np.ndarray, right: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Binomial variance of a share of so many images, (C,): three seeds that tie are not certain."""
    both = np.concatenate([left, right], axis=1)
    count = np.isfinite(both).sum(axis=1)
    share = (np.nansum(both, axis=1) * images + 1) / (np.maximum(count, 1) * images + 2)
    return np.nan_to_num(share * (1 - share) / images)


def _metric_rows(
    left: pd.DataFrame, right: pd.DataFrame, index: pd.MultiIndex, metric: Metric, tested: np.ndarray
) -> pd.DataFrame:
    """The comparison of one metric over the cells that both runs have; ``tested`` says which enter the test, (C,)."""
    a, b = _values(left, index, metric), _values(right, index, metric)
    same_seeds = set(left.seed) == set(right.seed)
    floor = _counting(a, b, _images(left, index)) if metric.counted else 0.0
    found = two_sample(a, b, metric.bound, floor)
    found.insert(0, "metric", metric.name)
    found = found.assign(scale=metric.scale, same=_identical(a, b) if same_seeds else False, tested=tested)
    if metric.scale == "ratio":
        found[["left", "right", "effect", "low", "high"]] = np.exp(found[["left", "right", "effect", "low", "high"]])
    rows = pd.concat([index.to_frame(index=False), found], axis=1)
    return rows[(rows.n_left > 0) | (rows.n_right > 0)]


def _whole(key: tuple, says: str) -> dict:
    """A row that says something of a cell as a whole."""
    return dict(zip(KEY, key, strict=True), metric="", says=says)


def _cells(left: pd.DataFrame, right: pd.DataFrame, same_judge: bool) -> pd.DataFrame:
    """The table of cells, with the test's verdict in ``says``."""
    index_left, index_right = (
        pd.MultiIndex.from_frame(side[list(KEY)].drop_duplicates()).sort_values() for side in (left, right)
    )
    shared = index_left.intersection(index_right).sort_values()
    ok = [side.assign(ok=side.status == "ok").groupby(list(KEY)).ok.any() for side in (left, right)]
    fine = [side.reindex(shared).to_numpy(bool) for side in ok]
    images = [_images(side, shared) for side in (left, right)]
    alike = (images[0] == images[1]) | (np.isnan(images[0]) & np.isnan(images[1]))

    whole: list[dict] = []
    whole += [_whole(key, "only left") for key in index_left.difference(index_right)]
    whole += [_whole(key, "only right") for key in index_right.difference(index_left)]
    words = {(True, False): "failed right", (False, True): "failed left", (False, False): "failed on both sides"}
    for key, *state in zip(shared, *fine, strict=True):
        if tuple(state) in words:
            whole.append(_whole(key, words[tuple(state)]))

    both = fine[0] & fine[1]
    parts = []
    for metric in METRICS:
        if metric.name in left and metric.name in right and len(shared):
            tested = both & alike & (same_judge or not metric.judged)
            rows = _metric_rows(left, right, shared, metric, tested)
            parts.append(rows[rows.index.isin(np.flatnonzero(both))])
    if not parts:
        return _frame(CELLS, whole)
    rows = pd.concat(parts, ignore_index=True)
    # One score may tie by chance, as errors that are counts do; a cell is the same where all its scores are.
    rows["same"] = rows.groupby(list(KEY)).same.transform("all")
    enters = rows.tested & rows.p.notna()
    rows["p_adjusted"] = math.nan
    if enters.any():
        weights = rows.metric[enters].map({metric.name: metric.weight for metric in METRICS}).to_numpy(float)
        weighted = rows.p[enters].to_numpy() / (weights / weights.mean())
        rows.loc[enters, "p_adjusted"] = false_discovery_control(np.minimum(weighted, 1.0))
    # Counts have their variance from below, so their intervals are too wide to say anything about calibration.
    plain = enters & rows.metric.isin([metric.name for metric in METRICS if not metric.counted])
    rows["outside"] = (rows.p_plain <= ALPHA).astype("boolean").where(plain)
    reasons = [
        (rows.same.astype(bool), "same"),
        (rows.n_right == 0, "only left"),
        (rows.n_left == 0, "only right"),
        (~rows.tested.astype(bool) & ~_lookup(rows, shared, alike), "other number of images"),
        (~rows.tested.astype(bool), "other classifier"),
        (rows.p.isna(), "one seed each"),
        (rows.p_adjusted <= ALPHA, "differs"),
    ]
    rows["says"] = np.select([mask for mask, _ in reasons], [says for _, says in reasons], "agrees")
    rows.loc[~enters, ["p", "low", "high"]] = math.nan
    order = {metric.name: place for place, metric in enumerate(METRICS)}
    rows = rows.assign(_place=rows.metric.map(order)).sort_values([*KEY, "_place"], kind="stable")
    kept = [column.name for column in CELLS]
    return pd.concat([_frame(CELLS, whole), _frame(CELLS, rows[kept])], ignore_index=True)


def _lookup(rows: pd.DataFrame, shared: pd.MultiIndex, flags: np.ndarray) -> np.ndarray:
    """Flags by cell, (C,), for each row of a table with the cells' key."""
    return pd.Series(flags, index=shared).reindex(pd.MultiIndex.from_frame(rows[list(KEY)])).to_numpy(bool)


# Claims


def opposed(left: str, right: str) -> bool:
    """Whether two verdicts cannot both be right."""
    return {left, right} in OPPOSED


def _says(left: str, right: str, redefined: bool) -> str:
    if not left or not right:
        return "only right" if not left else "only left"
    if redefined:
        return "another test"
    if opposed(left, right):
        return "disagrees"
    if left in DECIDED and right in DECIDED:
        return "agrees" if left == right else "both can be right"
    return "both undecided" if left not in DECIDED and right not in DECIDED else "decided by one"


def _definitions(frames: dict[str, pd.DataFrame]) -> dict[str, dict[str, tuple]]:
    """By claim and part: the test, metric, direction and margin."""
    found: dict[str, dict[str, tuple]] = {}
    for row in frames["claim_parts"].to_dict("records") if "claim_parts" in frames else []:
        margin = None if pd.isna(row["margin"]) else round(row["margin"], 12)
        found.setdefault(row["claim"], {})[row["part"]] = (row["test"], row["metric"], row["direction"], margin)
    return found


def _claims(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> pd.DataFrame:
    sides = [{row["claim"]: row for row in own["claims"].to_dict("records")} for own in (left, right)]
    defined = [_definitions(own) for own in (left, right)]
    rows = []
    for claim in {**sides[0], **sides[1]}:
        a, b = (side.get(claim, {}) for side in sides)
        parts = [own.get(claim, {}) for own in defined]
        redefined = any(parts[0][name] != parts[1][name] for name in set(parts[0]) & set(parts[1]))
        either = a or b
        verdicts = a.get("verdict", ""), b.get("verdict", "")
        rows.append(
            {"claim": claim, "number": either["number"], "title": either["title"], "left": verdicts[0],
             "right": verdicts[1], "effect_left": a.get("effect"), "effect_right": b.get("effect"),
             "unit": either.get("unit"), "says": _says(*verdicts, redefined)}
        )  # fmt: skip
    return _frame(CLAIMS, sorted(rows, key=lambda row: (row["number"], row["claim"])))


# The whole


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _named(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def cell_name(row: dict) -> str:
    """A cell in words."""
    arm = f", arm {row['arm']}" if row["arm"] else ""
    return f"{row['paradigm']}: {row['sampler']}, {row['steps']} steps, guidance {row['guidance']:g}{arm}"


def _missing(cells: pd.DataFrame, left: pd.DataFrame, right: pd.DataFrame) -> list[str]:
    """Rows, cells and metrics that one side lacks, in words."""
    notes = []
    sides = (("only left", left, right, "right"), ("only right", right, left, "left"))
    for says, own, other, lacks in sides:
        rows = sorted(set(own.paradigm) - set(other.paradigm))
        if rows:
            notes.append(f"rows that the {lacks} run lacks: {', '.join(rows)}")
        gone = cells[(cells.says == says) & (cells.metric == "") & ~cells.paradigm.isin(rows)].to_dict("records")
        if gone:
            notes.append(f"{_count(len(gone), 'cell')} that the {lacks} run lacks: {_named(map(cell_name, gone))}")
        parts = cells[(cells.says == says) & (cells.metric != "")].to_dict("records")
        if parts:
            said = _named(f"{row['metric']} of {cell_name(row)}" for row in parts)
            notes.append(f"{_count(len(parts), 'value')} that the {lacks} run lacks: {said}")
    for metric in METRICS:
        lacking = [name for name, own in (("left", left), ("right", right)) if metric.name not in own]
        if lacking:
            notes.append(f"the tables of the {' and the '.join(lacking)} run have no column {metric.name}")
    return notes


def _partly_failed(side: pd.DataFrame, name: str) -> list[str]:
    failed = side[side.status != "ok"].groupby("paradigm").seed.unique()
    return [f"failed on the {name}: {row}, seed {', '.join(map(str, sorted(own)))}" for row, own in failed.items()]


def _verdict(cells: pd.DataFrame, claims: pd.DataFrame) -> bool | None:
    if cells.says.isin(DIFFER).any() or (claims.says == "disagrees").any():
        return False
    if cells.says.isin(["same", "agrees"]).any() or claims.says.isin(["agrees", "both can be right"]).any():
        return True
    return None


def _summary(cells: pd.DataFrame, claims: pd.DataFrame, agrees: bool | None) -> str:
    """One line."""
    if agrees is None:
        return "nothing could be tested"
    clauses = []
    tested = cells[cells.outside.notna()]
    compared = cells[cells.says.isin(["same", "agrees", "differs"])]
    count = len(compared[list(KEY)].drop_duplicates())
    if len(compared) and (compared.says == "same").all():
        clauses.append(f"all {len(compared):,} values of {_count(count, 'cell')} are the same to the last digit")
    elif len(compared):
        found = _count(int((cells.says == "differs").sum()), "value")
        clauses.append(f"{found} of {len(compared):,} in {_count(count, 'cell')} differ by more than seed noise")
        if len(tested):
            share = 100 * float(tested.outside.mean())
            clauses.append(f"{share:.1f}% of {len(tested):,} lie outside their own 95% interval, where 5% are expected")
    one_sided = int(cells.says.isin(["failed left", "failed right"]).sum())
    if one_sided:
        clauses.append(f"{_count(one_sided, 'cell')} failed on one side only")
    says = claims.says.value_counts()
    decided = int(says.get("agrees", 0) + says.get("both can be right", 0) + says.get("disagrees", 0))
    clauses.append(f"{int(says.get('disagrees', 0))} of {_count(decided, 'claim')} decided by both disagree")
    word = "agree within seed noise" if agrees else "disagree"
    return f"the runs {word}: {'; '.join(clauses)}"


def frames(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> Comparison:
    """Compare the tables of two runs.

    Args:
        left, right: the tables cells, claims, floors, paradigms and provenance of a run, and where they are to be had
            claim_parts and training, by name.
    """
    facts = _facts(left), _facts(right)
    provenance = _provenance(*facts)
    claims = _claims(left, right)
    sources = facts[0].get("data"), facts[1].get("data")
    notes = []
    if sources[0] != sources[1]:
        cells = _frame(CELLS, [])
        notes.append(
            f"the data differ ({sources[0]} and {sources[1]}), so no cell means the same and only claims are compared; "
            "what holds on one data set need not hold on the other"
        )
    else:
        same_judge = facts[0].get(JUDGE) == facts[1].get(JUDGE)
        cells = _cells(left["cells"], right["cells"], same_judge)
        judged = ", ".join(metric.name for metric in METRICS if metric.judged)
        if not same_judge:
            floors = [float(tables.floor(own["floors"]).fid) for own in (left, right)]
            notes.append(
                f"the runs' classifiers differ (real test images score FID {floors[0]:.3g} and {floors[1]:.3g}), so "
                f"{judged} are shown but not tested: seed noise does not say how far another classifier moves them"
            )
        if (cells.says == "other number of images").any():
            notes.append("the number of images of a cell differs, on which these scores depend: shown but not tested")
        if (cells.says == "one seed each").any():
            notes.append("one seed on either side gives no seed noise to hold a difference against: nothing is tested")
        notes += _missing(cells, left["cells"], right["cells"])
        notes += [*_partly_failed(left["cells"], "left"), *_partly_failed(right["cells"], "right")]
    if (claims.says == "another test").any():
        again = claims[claims.says == "another test"].claim
        notes.append(f"claims whose test or margin differs, not compared: {', '.join(again)}")
    if facts[0].get("params sha256") != facts[1].get("params sha256") and sources[0] == sources[1]:
        notes.append("the params differ: what the tables show of that stands above, the rest in the two commits")
    agrees = _verdict(cells, claims)
    return Comparison(cells, claims, provenance, tuple(notes), agrees, _summary(cells, claims, agrees))


# Where runs lie


def reference_of(run: str, root: Path = REFERENCES) -> Path | None:
    """The folder of the committed reference made by the run of this name, the first by its own name; None without one.

    Raises:
        UserError: a reference's table of provenance is damaged or of another major schema.
    """
    for folder in sorted(path for path in root.glob("*") if (path / "tables/provenance.parquet").exists()):
        own = tables.read(folder / "tables", "provenance")
        if (own[own["key"] == "run"]["value"] == run).any():
            return folder
    return None


def find(name: str) -> Path:
    """The folder of tables that a run's name, a reference's name or a path stands for.

    Raises:
        UserError: there is none.
    """
    path = Path(name)
    for folder in (Places(name).tables, REFERENCES / name / "tables", path / "tables", path):
        if (folder / "cells.parquet").exists():
            return folder
    raise UserError(
        f"{name}: no tables found; give the name of a run that has reports/<run>/tables, or a folder that holds tables"
    )


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables that a comparison reads.

    Raises:
        UserError: one is missing, damaged or of another major schema.
    """
    return {name: tables.read(folder, name) for name in READS}


# The terminal


def _text(value: float, scale: str = "difference") -> str:
    if pd.isna(value):
        return "-"
    return f"x{value:.3f}" if scale == "ratio" else f"{value:+.4f}"


def _plain(value: float, digits: int = 4) -> str:
    return "-" if pd.isna(value) else f"{value:.{digits}g}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table with aligned columns."""
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [header, ["-" * width for width in widths], *rows]]  # fmt: skip


BY_ROW = ("row", "metric", "cells", "median", "most", "outside 95%", "differ", "not tested")


def by_row(cells: pd.DataFrame) -> list[list[str]]:
    """For each row of params and metric in which anything differs, how far its cells lie apart: columns BY_ROW."""
    rows = []
    for (paradigm, metric), own in cells[cells.metric != ""].groupby(["paradigm", "metric"], sort=False):
        if (own.says == "same").all():
            continue
        scale = own.scale.iloc[0]
        size = (np.log(own.effect) if scale == "ratio" else own.effect).abs()
        most = own.effect[size.idxmax()] if size.notna().any() else math.nan
        counts = own.says.value_counts()
        others = [f"{n} {says}" for says, n in counts.items() if says not in ("same", "agrees", "differs")]
        outside = own.outside.dropna()
        rows.append(
            [paradigm, metric, str(len(own)), _text(own.effect.median(), scale), _text(most, scale),
             f"{int(outside.sum())} of {len(outside)}" if len(outside) else "-", str(int(counts.get("differs", 0))),
             ", ".join(others)]
        )  # fmt: skip
    return rows


def _cell_lines(cells: pd.DataFrame) -> list[str]:
    """A line for each cell and metric."""
    rows = []
    for row in cells.to_dict("records"):
        scale, ends = row["scale"], (row["low"], row["high"])
        rows.append(
            [cell_name(row), row["metric"] or "all", _plain(row["left"]), _plain(row["right"]),
             _text(row["effect"], scale),
             "-" if pd.isna(ends[0]) else " to ".join(_text(end, scale) for end in ends),
             _plain(row["p_adjusted"], 2), row["says"]]
        )  # fmt: skip
    return _table(["cell", "metric", "left", "right", "effect", "95% interval", "p adjusted", "says"], rows)


def _claim_lines(claims: pd.DataFrame) -> list[str]:
    rows = [[str(row["number"]), row["claim"], row["left"] or "-", row["right"] or "-", row["says"]]
            for row in claims.to_dict("records")]  # fmt: skip
    return _table(["", "claim", "left", "right", "says"], rows)


def text(found: Comparison, left: str, right: str, every: bool = False) -> str:
    """A comparison as the terminal shows it; ``every`` lists all cells, not only those that differ."""
    lines = [f"left:  {left}", f"right: {right}", ""]
    if len(found.provenance):
        rows = [[row["key"], _cut(row["left"]), _cut(row["right"])] for row in found.provenance.to_dict("records")]
        lines += [*_table(["differs in", "left", "right"], rows), ""]
    if len(found.cells):
        rows = by_row(found.cells)
        lines += [*_table(list(BY_ROW), rows), ""] if rows else []
        shown = found.cells if every else found.cells[found.cells.says.isin(DIFFER)]
        if len(shown):
            lines += [*_cell_lines(shown), ""]
    lines += [*_claim_lines(found.claims), ""]
    lines += [f"note: {note}" for note in found.notes]
    return "\n".join([*lines, found.summary])


def _cut(value: str, width: int = 44) -> str:
    return value if len(value) <= width else f"{value[: width - 3]}..."


def run(left: str, right: str | None, csv: Path | None = None, every: bool = False) -> bool:
    """Compare two runs, or a run with its committed reference, print the result and return whether they agree.

    Args:
        left: a run's name, or a folder of tables.
        right: the same; None for the committed reference of the run ``left``.
        csv: where to write the table of cells.
        every: print every cell.

    Raises:
        UserError: tables are missing, damaged or of another major schema, there is no reference, or nothing that the
            two share can be tested.
    """
    first = find(left)
    if right is None:
        own = tables.read(first, "provenance")
        name = own[own["key"] == "run"]["value"].astype(str).iloc[0]
        reference = reference_of(name)
        if reference is None:
            raise UserError(f"{left}: no reference of the run {name} under {REFERENCES}; name what to compare it with")
        second = reference / "tables"
    else:
        second = find(right)
    found = frames(read(first), read(second))
    if csv is not None:
        with replacing(csv) as temporary:
            found.cells.to_csv(temporary, index=False, lineterminator="\n")
    if found.agrees is None:
        why = f": {'; '.join(found.notes)}" if found.notes else ""
        raise UserError(f"{left} and {right or second.parent}: nothing could be tested{why}")
    print(text(found, str(first), str(second), every))
    return found.agrees
