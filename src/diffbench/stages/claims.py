"""The claims stage: a verdict for each claim."""

from diffbench.claims.judge import judge_all
from diffbench.claims.load import load
from diffbench.claims.measures import READS
from diffbench.config.models import Params
from diffbench.runtime.places import Places
from diffbench.tables import store


def run(params: Params) -> None:
    """Write the tables claims and claim_parts under reports/<run>/tables.

    Raises:
        UserError: workflow/claims.yaml has mistakes, or a table is missing or damaged.
    """
    places = Places(params.name)
    claims = load()
    frames = {name: store.read(places.tables, name) for name in READS}
    found = judge_all(claims, frames, params)
    store.write_frames(places.tables, dict(zip(("claims", "claim_parts"), found, strict=True)))
