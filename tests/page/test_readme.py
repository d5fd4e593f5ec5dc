"""The README's results and the pictures beside a page: made from tables, and those of the committed reference."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from invented import invented
from PIL import Image

from diffbench import cli, design, runs
from diffbench.errors import UserError
from diffbench.report import posters, readme
from diffbench.report.finding import number
from diffbench.runtime.places import REFERENCES, Places
from diffbench.stages import claims
from diffbench.tables import store

MARKS = {
    name: (f"<!-- {name}: made by `python -m diffbench readme` -->", f"<!-- /{name} -->")
    for name in ("results", "claims")
}


def between(text: str, name: str) -> str:
    first, last = MARKS[name]
    return text.split(first)[1].split(last)[0].strip()


@pytest.fixture
def digits(workplace, monkeypatch):
    """The digits preset with made-up tables, in a folder that has the README and its templates."""
    (workplace / "docs").mkdir()
    for path in readme.TEMPLATES.values():
        (workplace / path).write_text((ROOT / path).read_text())
    (workplace / "README.md").write_text((ROOT / "README.md").read_text())
    (workplace / "workflow/claims.yaml").write_text((ROOT / "workflow/claims.yaml").read_text())
    params = runs.load("digits")
    frames = invented(params)
    facts = {"run": "digits", "data": "digits", "seeds": "0, 1, 2"}
    more = store.frame("provenance", [{"key": key, "value": value} for key, value in facts.items()])
    frames["provenance"] = pd.concat([more, frames["provenance"]], ignore_index=True)
    store.write(Places("digits").tables, frames)
    claims.run(params)
    return params, frames


def test_the_readme_is_filled_from_the_tables(digits, capsys):
    _, frames = digits
    before = readme.README.read_text()
    assert cli.main(["readme", "digits"]) == 0
    text = readme.README.read_text()
    results = between(text, "results")
    for row in frames["paradigms"].itertuples():
        assert f"| `{row.paradigm}` | {row.network}, {row.target}, {row.path} | {number(row.few_fid)} |" in results
    assert "(reports/digits/samples.png)" in results and "not MNIST" in results
    assert text.startswith("# diffbench") and between(text, "claims").startswith("The run above gives ")
    rest = [part for name in MARKS for part in (between(text, name), between(before, name))]
    for part in filter(None, rest):
        text, before = text.replace(part, ""), before.replace(part, "")
    assert text.split() == before.split(), "what stands outside the marks is untouched"
    first = readme.README.read_bytes()
    assert cli.main(["readme", "digits"]) == 0 and readme.README.read_bytes() == first


def test_rows_are_compared_only_where_the_network_is_the_same():
    names = ("paradigm", "network", "target", "path", "times", "conditional", "best_fid")
    rows = [
        ("a", "unet", "eps", "vp-linear", "uniform", True, 4.0),
        ("b", "unet", "velocity", "linear", "logit-normal", True, 2.0),
        ("c", "dit", "velocity", "linear", "logit-normal", True, 3.0),
        ("d", "dit", "eps", "vp-scaled-linear", "uniform", True, 5.0),
        ("e", "mmdit", "eps", "vp-linear", "uniform", False, 5.0),
    ]
    frame = store.frame("paradigms", [dict(zip(names, row, strict=True)) for row in rows])
    found = readme.pairs(frame)
    assert [(p["network"], p["eps"].paradigm, p["velocity"].paradigm) for p in found] == [("U-Net", "a", "b")]
    assert [row["paradigm"] for row in readme.short(frame, 2.0)] == ["a", "d", "e"], "more than 1.5 times, not exactly"


def test_a_readme_without_its_marks_is_left_alone(digits, capsys):
    readme.README.write_text("# mine\n")
    assert cli.main(["readme", "digits"]) == 2
    assert "error: README.md: needs the lines" in capsys.readouterr().err
    assert readme.README.read_text() == "# mine\n"
    with pytest.raises(UserError, match="no tables found"):
        readme.run("nothing")


def test_the_committed_readme_is_that_of_the_reference(at_root):
    """And no number in it was typed by hand."""
    found = sorted(REFERENCES.glob("*/tables/cells.parquet"))
    if not found:
        pytest.skip("no reference is committed")
    text = readme.README.read_text()
    folder = next(path.parent.parent for path in found if f"]({path.parent.parent.as_posix()}/report.html)" in text)
    frames = {name: store.read(folder / "tables", name) for name in readme.READS}
    assert readme.filled(text, readme.blocks(frames, folder)) == text
    for name in ("samples.png", "quality.png", "report.html"):
        assert (folder / name).stat().st_size > 10_000


def test_the_posters_show_the_very_samples(digits):
    """Each paradigm's strip, enlarged, is that of its cell in the sheet; the same tables give the same bytes."""
    params, frames = digits
    posters.run(frames, params)
    places = Places("digits")
    first = [path.read_bytes() for path in (places.samples_poster, places.quality_poster)]
    posters.run(frames, params)
    assert first == [path.read_bytes() for path in (places.samples_poster, places.quality_poster)]
    row = frames["paradigms"].set_index("paradigm", drop=False).loc["sd3"]
    strip = np.asarray(posters.strip(params, row))
    assert strip.shape == (64, 640)
    order = [tuple(cell.key.values()) for cell in design.all_cells(params, "sd3", 0)]
    place = order.index((row.few_sampler, row.few_steps, row.guidance, ""))
    with Image.open(places.evaluation("sd3", 0).with_suffix(".png")) as sheet:
        grey = np.asarray(sheet.convert("L"))
    assert (strip[::8, ::8] == grey[2 * place * 8 : 2 * place * 8 + 8]).all()
    with Image.open(places.samples_poster) as poster:
        poster = np.asarray(poster.convert("L"))
    assert (
        poster[12 : 12 + 64, 300 : 300 + 640] == np.asarray(posters.strip(params, frames["paradigms"].iloc[0]))
    ).all()
    with Image.open(places.quality_poster) as chart:
        assert chart.width > 1200


def test_posters_of_a_run_that_failed_are_there_all_the_same(workplace):
    params = runs.load("smoke")
    posters.run(invented(params, spoil=set(params.paradigms)), params)
    assert Places("smoke").samples_poster.exists() and Places("smoke").quality_poster.exists()
