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

from dataclasses import dataclass

import pandas as pd

from diffbench.compare.cells import CELLS, DIFFER, METRICS, compare_cells
from diffbench.compare.claims import compare_claims
from diffbench.compare.provenance import differing, provenance_of
from diffbench.compare.words import missing, partly_failed, summary
from diffbench.tables.store import framed, real_test_row

JUDGE = "classifier sha256"


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


def _verdict(cells: pd.DataFrame, claims: pd.DataFrame) -> bool | None:
    """Whether nothing differs; None where nothing could be tested."""
    if cells.says.isin(DIFFER).any() or (claims.says == "disagrees").any():
        return False
    if cells.says.isin(["same", "agrees"]).any() or claims.says.isin(["agrees", "both can be right"]).any():
        return True
    return None


def frames(left: dict[str, pd.DataFrame], right: dict[str, pd.DataFrame]) -> Comparison:
    """Compare the tables of two runs.

    Args:
        left, right: the tables cells, claims, floors, paradigms and provenance of a run, and where they are to be had
            claim_parts and training, by name.
    """
    facts = provenance_of(left), provenance_of(right)
    provenance = differing(*facts)
    claims = compare_claims(left, right)
    sources = facts[0].get("data"), facts[1].get("data")
    notes = []
    if sources[0] != sources[1]:
        cells = framed(CELLS, [])
        notes.append(
            f"the data differ ({sources[0]} and {sources[1]}), so no cell means the same and only claims are compared; "
            "what holds on one data set need not hold on the other"
        )
    else:
        same_judge = facts[0].get(JUDGE) == facts[1].get(JUDGE)
        cells = compare_cells(left["cells"], right["cells"], same_judge)
        judged = ", ".join(metric.name for metric in METRICS if metric.judged)
        if not same_judge:
            floors = [float(real_test_row(own["floors"]).fid) for own in (left, right)]
            notes.append(
                f"the runs' classifiers differ (real test images score FID {floors[0]:.3g} and {floors[1]:.3g}), so "
                f"{judged} are shown but not tested: seed noise does not say how far another classifier moves them"
            )
        if (cells.says == "other number of images").any():
            notes.append("the number of images of a cell differs, on which these scores depend: shown but not tested")
        if (cells.says == "one seed each").any():
            notes.append("one seed on either side gives no seed noise to hold a difference against: nothing is tested")
        notes += missing(cells, left["cells"], right["cells"])
        notes += [*partly_failed(left["cells"], "left"), *partly_failed(right["cells"], "right")]
    if (claims.says == "another test").any():
        again = claims[claims.says == "another test"].claim
        notes.append(f"claims whose test or margin differs, not compared: {', '.join(again)}")
    if facts[0].get("params sha256") != facts[1].get("params sha256") and sources[0] == sources[1]:
        notes.append("the params differ: what the tables show of that stands above, the rest in the two commits")
    agrees = _verdict(cells, claims)
    return Comparison(cells, claims, provenance, tuple(notes), agrees, summary(cells, claims, agrees))
