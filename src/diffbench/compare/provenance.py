"""What two runs rest on, where it differs."""

import pandas as pd

from diffbench.tables.schema import Column
from diffbench.tables.store import framed

FACTS = (
    Column("key", "string", "", "name of the fact"),
    Column("left", "string", "", "its value on the left"),
    Column("right", "string", "", "its value on the right"),
)


def provenance_of(frames: dict[str, pd.DataFrame]) -> dict[str, str]:
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


def differing(left: dict[str, str], right: dict[str, str]) -> pd.DataFrame:
    """What differs; of a row that one run lacks it is enough to say so once, among the missing cells."""
    keys = [key for key in {**left, **right} if left.get(key) != right.get(key)]
    keys = [key for key in keys if " of " not in key or (key in left and key in right)]
    return framed(FACTS, [{"key": key, "left": left.get(key, ""), "right": right.get(key, "")} for key in keys])
