"""The run held against the committed reference of the same name, where there is one."""

import pandas as pd

from .. import compare
from ..config import Params


def against(frames: dict[str, pd.DataFrame], params: Params) -> dict | None:
    """What the section on provenance shows of the comparison; None without a reference.

    Raises:
        UserError: the reference's tables are missing, damaged or of another major schema.
    """
    folder = compare.reference_of(params.name)
    if folder is None:
        return None
    found = compare.frames(frames, compare.read(folder / "tables"))
    undecided = ("agrees", "both undecided")
    return {
        "name": folder.name,
        "agrees": found.agrees,
        "summary": found.summary,
        "notes": found.notes,
        "header": compare.BY_ROW,
        "rows": compare.by_row(found.cells),
        "claims": found.claims[~found.claims.says.isin(undecided)].to_dict("records"),
        "facts": found.provenance.to_dict("records"),
    }
