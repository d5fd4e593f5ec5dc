"""The report stage: the page and the two pictures beside it."""

from diffbench.config.models import Params
from diffbench.report import posters
from diffbench.report.page import render
from diffbench.runtime.files import replacing
from diffbench.runtime.places import Places
from diffbench.tables import schema, store


def run(params: Params) -> None:
    """Write reports/<run>/report.html and the two pictures beside it.

    Raises:
        UserError: a table or a picture is missing or damaged.
    """
    places = Places(params.name)
    frames = {name: store.read(places.tables, name) for name in schema.TABLES}
    with replacing(places.report) as temporary:
        temporary.write_text(render(frames, params), encoding="utf-8")
    posters.run(frames, params)
