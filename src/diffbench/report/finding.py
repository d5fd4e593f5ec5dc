"""The headline: what the tables say, in one sentence made from them."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from diffbench.config.models import Params
from diffbench.runtime.places import Places
from diffbench.tables import schema, store
from diffbench.tables.intervals import interval

DASH = "\u2013"
NAMES = {"unet": "U-Net", "dit": "DiT", "mmdit": "MMDiT"}  # networks as people write them


def number(value: float, digits: int = 3) -> str:
    """A number with ``digits`` significant digits and no exponent, or an en dash where there is none."""
    if value is None or pd.isna(value):
        return DASH
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, 6)}f}"


def cell_seeds(paradigm: pd.Series, cells: pd.DataFrame, which: str = "best_") -> pd.Series:
    """FID by seed of a paradigm's best cell, empty if it has none.

    Args:
        paradigm: a row of the table paradigms.
        which: "few_" for its best cell of few evaluations.
    """
    if pd.isna(paradigm[f"{which}fid"]):
        return pd.Series(dtype=float)
    guidance = 0.0 if pd.isna(paradigm.guidance) else paradigm.guidance
    rows = cells[
        (cells.paradigm == paradigm.paradigm)
        & (cells.sampler == paradigm[f"{which}sampler"])
        & (cells.steps == paradigm[f"{which}steps"])
        & (cells.guidance == guidance)
        & (cells.status == "ok")
        & (cells.arm == "")
    ]
    return rows.set_index("seed").fid.astype(float)


def shown(paradigm: pd.Series) -> str:
    """The cell of a paradigm that pictures show, "few_" or "best_": its best of few evaluations, else its best.

    Empty if it has none.
    """
    return next((which for which in ("few_", "best_") if not pd.isna(paradigm[f"{which}fid"])), "")


def finest(cells: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The scored cells of the grid at guidance 1 and its most steps, of every sampler."""
    own = cells[(cells.status == "ok") & (cells.arm == "") & (cells.guidance == 1) & ~cells.native.astype(bool)]
    return own[own.steps == max(params.sampling.steps)]


def logs(leader: pd.Series, other: pd.Series) -> np.ndarray:
    """The log ratio of FID of another to the leader's, by seed that both have; above 0 the leader is better."""
    seeds = leader.index.intersection(other.index)
    return np.log(other[seeds].to_numpy(float).clip(1e-12)) - np.log(leader[seeds].to_numpy(float).clip(1e-12))


def unproved(leader: pd.Series, other: pd.Series) -> bool | None:
    """Whether seeds leave open which of two is better; None with fewer than two seeds.

    They do where the 95% t interval of the paired log ratio of FID holds 0, which is no proof that the two are alike.
    """
    ratio = logs(leader, other)
    if len(ratio) < 2:
        return None
    low, high = interval(ratio)
    return low <= 0 <= high


def chance_of(leader: pd.Series, other: pd.Series) -> str:
    """How far seeds speak for the leader where they prove nothing: on how many it is better, and the p of a t test."""
    ratio = logs(leader, other)
    better = int((ratio > 0).sum())
    where = "on every seed" if better == len(ratio) else f"on {better} of {len(ratio)} seeds"
    p = float(stats.ttest_1samp(ratio, 0.0).pvalue) if ratio.std() > 0 else float("nan")
    return where if math.isnan(p) else f"{where}, p = {p:.2f}"


def facts_of(provenance: pd.DataFrame) -> dict[str, str]:
    """The table provenance as a mapping."""
    return dict(zip(provenance["key"].astype(str), provenance["value"].astype(str), strict=True))


def join(names: list[str]) -> str:
    """Names as "A", "A and B" or "A, B and C"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def competing(paradigms: pd.DataFrame) -> pd.DataFrame:
    """The rows that may be called best: they have samples, are there for more than one factor, and do not copy."""
    rows = paradigms[paradigms.best_fid.notna() & paradigms.role.ne("factor").fillna(True)]
    return rows[~rows.copies.fillna(False).astype(bool)]


def headline(paradigms: pd.DataFrame, cells: pd.DataFrame, floors: pd.DataFrame) -> str:
    """The first sentence of the report.

    Unconditional rows do not compete: they answer another question and have no guidance to choose. Nor can a row on one
    seed lead those on several, or it would leave undecided what they decide; it is named instead.
    """
    rows = competing(paradigms)
    rivals = rows[rows.conditional.astype(bool)] if rows.conditional.any() else rows
    if rivals.empty and paradigms.best_fid.notna().any():
        return "No row is ranked: those that gave samples copy training images."
    if rivals.empty:
        return "No paradigm gave samples: every training failed."
    single = [len(cell_seeds(row, cells)) < 2 for _, row in rivals.iterrows()]
    rivals = rivals.assign(_single=single).sort_values(["_single", "best_fid"])
    leader = rivals.iloc[0]
    floor = f"real test digits score {number(store.real_test_row(floors).fid)}"
    own = cell_seeds(leader, cells)
    verdicts = {row.paradigm: unproved(own, cell_seeds(row, cells)) for _, row in rivals.iloc[1:].iterrows()}
    where = f"FID {number(leader.best_fid)} with {int(leader.best_nfe)} network evaluations"
    open_ = [key for key, verdict in verdicts.items() if verdict is None]
    if verdicts and len(open_) == len(verdicts):
        lowest = f"{leader.label} has the lowest FID, {number(leader.best_fid)}"
        reason = "on one seed" if len(own) < 2 else "but shares fewer than two seeds with any other row"
        return f"{lowest}, {reason}, which decides nothing; {floor}."
    undecided = ""
    if open_:
        names = join(list(rivals[rivals.paradigm.isin(open_)].label))
        undecided = f"; {names} {'have' if len(open_) > 1 else 'has'} too few seeds to compare"
    near = rivals[rivals.paradigm.isin([key for key, verdict in verdicts.items() if verdict])]
    if near.empty:
        return f"{leader.label} comes closest to the real digits: {where}; {floor}{undecided}."
    others = join(
        [
            f"{row.label} ({number(row.best_fid)}; better {chance_of(own, cell_seeds(row, cells))})"
            for _, row in near.iterrows()
        ]
    )
    return (
        f"No row is proved best: {leader.label} has the lowest mean, {where}. {len(own)} seeds are too few to rank it "
        f"above {others}; {floor}{undecided}."
    )


UNTESTED = schema.VERDICTS[-1]
ARTICLE = 20  # the last of workflow/claims.yaml that quotes it
EPS, VELOCITY = ("eps", "vp-linear", "uniform"), ("velocity", "linear", "logit-normal")  # the objectives compared


def pairs(paradigms: pd.DataFrame) -> list[dict]:
    """Conditional rows of one network that differ in nothing but eps or velocity, by network."""
    rows = competing(paradigms)
    rows = rows[rows.conditional.astype(bool)]
    by_kind = {(row.network, (row.target, row.path, row.times)): row for _, row in rows.iterrows()}
    return [
        {"network": network, "eps": by_kind[network, EPS], "velocity": by_kind[network, VELOCITY]}
        for network in dict.fromkeys([*NAMES, *rows.network])
        if {(network, EPS), (network, VELOCITY)} <= set(by_kind)
    ]


def curve(row: pd.Series, cells: pd.DataFrame, sampler: str) -> pd.DataFrame:
    """FID by seed of a row's own sampler at its chosen guidance, columns nfe, seed and fid, in rising order of nfe."""
    own = cells[(cells.paradigm == row.paradigm) & (cells.status == "ok") & (cells.arm == "")]
    own = own[(own.guidance == row.guidance) & (own.sampler == sampler)]
    return own[["nfe", "seed", "fid"]].sort_values(["nfe", "seed"])


def answer(frames: dict[str, pd.DataFrame], own_samplers: dict[str, str]) -> str:
    """What velocity saves: the fewest evaluations with which one objective is as good as the other ever gets.

    It compares the first network that has both, each at its chosen guidance under its own sampler. Empty where there
    is none.

    Args:
        own_samplers: of each row.
    """
    for pair in pairs(frames["paradigms"]):
        curves = {name: curve(pair[name], frames["cells"], own_samplers[pair[name].paradigm]) for name in
                  ("velocity", "eps")}  # fmt: skip
        means = {name: own.groupby("nfe").fid.mean() for name, own in curves.items()}
        if any(own.empty for own in means.values()):
            continue
        better, other = sorted(means, key=lambda name: means[name].min())
        reached = means[other].min()
        most = int(means[other].idxmin())
        least = int(means[better][means[better] <= reached].index.min())
        here, there = (
            curves[name][curves[name].nfe == count].set_index("seed").fid.astype(float)
            for name, count in ((better, least), (other, most))
        )
        say = (
            f"In the same {NAMES.get(pair['network'], pair['network'])}, {better} reaches FID "
            f"{number(means[better][least])} in {evaluations(least)}; {other} gets no lower than {number(reached)}, in "
            f"{most}"
        )
        verdict = unproved(here, there)
        doubt = (
            "" if verdict is False else ", on one seed" if verdict is None else f" (better {chance_of(here, there)})"
        )
        return f"{say}{doubt}."
    return ""


def evaluations(count: int) -> str:
    """A number of network evaluations in words."""
    return f"{count} evaluation{'' if count == 1 else 's'}"


BUDGETS = (2, 4, 8, 16, 40)  # network evaluations for an image, and any number


def within(row: pd.Series, cells: pd.DataFrame, budget: float, scale: float, sampler: str) -> pd.DataFrame:
    """The seeds of a row's cell of at most ``budget`` evaluations, the one with the lowest FID on validation.

    Of its own sampler and its paper's own cell, at a guidance scale: the rule of the table paradigms. Empty if none.
    """
    own = cells[(cells.paradigm == row.paradigm) & (cells.status == "ok") & (cells.arm == "") & (cells.nfe <= budget)]
    own = own[(own.guidance == scale) & ((own.sampler == sampler) | own.native.fillna(False).astype(bool))]
    by = ["sampler", "steps", "nfe"]
    own = own[own.groupby(by).seed.transform("nunique") == row.seeds_ok]  # one of fewer seeds is the luckiest of many
    if own.empty:
        return own
    means = own.groupby(by, as_index=False)[["fid_held_out", "fid"]].mean().sort_values(["fid_held_out", "fid", "nfe"])
    best = means.iloc[0]
    return own[(own.sampler == best.sampler) & (own.steps == best.steps)]


def advice(frames: dict[str, pd.DataFrame], own_samplers: dict[str, str]) -> list[dict]:
    """What to use by budget of evaluations, with a prompt and without: the lowest mean and what is not proved worse.

    A budget that changes nothing is left out.

    Args:
        own_samplers: of each row.
    """
    rows, cells = competing(frames["paradigms"]), frames["cells"]
    found: list[dict] = []
    for asked in (True, False):
        last = None
        for budget in (*BUDGETS, math.inf):
            able = []
            for _, row in rows.iterrows():
                if asked and not row.conditional:
                    continue
                own = within(row, cells, budget, float(row.guidance) if asked else 0.0, own_samplers[row.paradigm])
                if len(own) and not own.fid.isna().any():
                    able.append((own.fid.mean(), row, own))
            if not able:
                continue
            able.sort(key=lambda one: one[0])
            fid, row, own = able[0]
            best = own.set_index("seed").fid.astype(float)
            near = []
            for _, other, theirs in able[1:]:
                seeds = theirs.set_index("seed").fid.astype(float)
                if unproved(best, seeds) is not False:
                    near.append(other.label)
            first = own.iloc[0]
            said = {
                "prompt": asked, "budget": budget, "label": row.label, "paradigm": row.paradigm, "fid": number(fid),
                "nfe": int(first.nfe), "steps": int(first.steps), "sampler": first.sampler,
                "guidance": float(first.guidance), "near": near, "of": len(able),
            }  # fmt: skip
            same = {name: said[name] for name in ("paradigm", "nfe", "sampler", "near")}
            if same != last:
                found.append(said)
            last = same
    return found


def second_opinion(paradigms: pd.DataFrame) -> str:
    """Whether PCA-FID ranks the paradigms' means as FID does; empty where nothing was ranked by both.

    It says nothing of seed noise, so the ranking is called the same, not certain.
    """
    both = paradigms[paradigms.rank_robust.notna()]
    if both.empty:
        return ""
    others = both[~both.rank_robust.astype(bool)]
    opinion = "Second opinion, without a classifier: PCA-FID of the same cells"
    if others.empty:
        return f"{opinion} puts the means in the same order. Whether they differ at all is for the intervals to say."
    return f"{opinion} ranks {join(list(others.label))} differently, so their places by FID rest on the classifier."


def of_article(claims: pd.DataFrame) -> pd.DataFrame:
    """The claims that quote the article; the others quote papers that came after it."""
    return claims[claims.number <= ARTICLE]


def counted(claims: pd.DataFrame) -> list[dict]:
    """The verdicts on the article's claims and on those of other papers; a kind without a claim is out.

    Of each its words, a title, the claims, ``counts``, the same with a place for every verdict of either kind
    (``every``), and whether a claim of it was tested.
    """
    quoted = claims.number <= ARTICLE
    verdicts = [row["verdict"] for row in counts(claims)]
    found = []
    for words, title, own in (
        ("Of the article's {} claims", "The article, {} claims", claims[quoted]),
        ("Of {} claims of other papers", "Other papers, {} claims", claims[~quoted]),
    ):
        if len(own):
            known = {row["verdict"]: row for row in counts(own)}
            every = [known.get(verdict, {"verdict": verdict, "before": 0, "after": 0}) for verdict in verdicts]
            tested = bool(own.verdict.ne(UNTESTED).any())
            found.append(
                {"words": words.format(len(own)), "title": title.format(len(own)), "claims": own,
                 "counts": list(known.values()), "every": every, "tested": tested}
            )  # fmt: skip
    return found


def tally(claims: pd.DataFrame) -> str:
    """The verdicts on the claims, counted before and after Holm's correction over all of them, in one line."""

    def said(verdicts: pd.Series) -> str:
        counts = verdicts.value_counts()
        return ", ".join(f"{counts[verdict]} {verdict}" for verdict in schema.VERDICTS if verdict in counts)

    if claims.empty:
        return "claims: none"
    plain = f"claims: {said(claims.verdict)}"
    if not claims.verdict.isin(schema.DECIDED).any():
        return plain
    left = said(claims.verdict_holm[claims.verdict_holm.isin(schema.DECIDED)])
    return f"{plain}; corrected for their number (Holm): {left or 'none'}"


def decided(claims: pd.DataFrame) -> str:
    """The verdicts that rest on a test after Holm's correction, counted, in words; empty where there are none."""
    return ", ".join(
        f"{row['after']} {row['verdict']}"
        for row in counts(claims)
        if row["after"] and row["verdict"] in schema.DECIDED
    )


def counts(claims: pd.DataFrame) -> list[dict]:
    """How many claims have each verdict, on their own and after Holm's correction over all, verdicts of neither out."""
    before, after = claims.verdict.value_counts(), claims.verdict_holm.value_counts()
    return [
        {"verdict": verdict, "before": int(before.get(verdict, 0)), "after": int(after.get(verdict, 0))}
        for verdict in schema.VERDICTS
        if verdict in before or verdict in after
    ]


def of_run(params: Params) -> str:
    """What a finished run found, in three lines: the headline, the verdicts counted, and where its page lies.

    Raises:
        UserError: a table is missing or damaged.
    """
    places = Places(params.name)
    paradigms, cells, floors, claims = (
        store.read(places.tables, name) for name in ("paradigms", "cells", "floors", "claims")
    )
    return f"{headline(paradigms, cells, floors)}\n{tally(claims)}\nreport: {places.report.resolve().as_uri()}"
