"""A committed run is judged and rendered again from its own folder."""

import shutil

import pytest
from conftest import ROOT

from diffbench import cli, runs
from diffbench.claims import measures
from diffbench.claims.judge import judge_all
from diffbench.claims.load import changes, load
from diffbench.report import again
from diffbench.runtime.files import read_json
from diffbench.tables import store

REFERENCE = "reports/reference/digits-cpu"


@pytest.fixture
def reference(workplace):
    """The digits' reference in a checkout of its own."""
    shutil.copytree(ROOT / REFERENCE, workplace / REFERENCE)
    shutil.copy(ROOT / "workflow/claims.yaml", workplace / "workflow/claims.yaml")
    return workplace / REFERENCE


def test_the_same_code_writes_the_same_folder(reference, capsys):
    """Twice, because the page that is read the second time is one that this wrote."""
    assert cli.main(["again", "digits-cpu"]) == 0
    assert capsys.readouterr().out == f"wrote {REFERENCE}/report.html and the verdicts beside it\n"
    first = {path: path.read_bytes() for path in sorted(reference.rglob("*")) if path.is_file()}
    assert cli.main(["again", "digits-cpu"]) == 0
    assert {path: path.read_bytes() for path in sorted(reference.rglob("*")) if path.is_file()} == first
    assert again.pictures(reference / "report.html") == again.pictures(ROOT / REFERENCE / "report.html")


@pytest.mark.parametrize(
    "folder", sorted(path.parent for path in (ROOT / "reports/reference").glob("*/tables")), ids=lambda path: path.name
)
def test_the_committed_verdicts_are_those_of_the_committed_code(folder, at_root):
    """Of every reference; or a claim, or how it is judged, was edited and a reference left as it was."""
    params = runs.load(again.run_of(folder))
    frames = {name: store.read(folder / "tables", name) for name in measures.READS}
    for name, now in zip(("claims", "claim_parts"), judge_all(load(), frames, params), strict=True):
        then = store.read(folder / "tables", name)
        assert now.round(9).astype(str).equals(then.round(9).astype(str)), f"give 'diffbench again {folder.name}'"
    described = {
        one["name"]: one["schema"]["fields"] for one in read_json(folder / "tables/datapackage.json")["resources"]
    }
    for name, fields in described.items():
        header = (folder / f"tables/{name}.csv").read_text().split("\n", 1)[0]
        assert header == ",".join(field["name"] for field in fields), f"{name} is described with other columns"
    told = [(own.date, own.what) for own in changes()]
    assert list(store.read(folder / "tables", "claim_changes")[["date", "change"]].itertuples(index=False)) == told


def test_a_changed_margin_turns_the_verdict(reference):
    claims = reference.parents[2] / "workflow/claims.yaml"
    text = claims.read_text()
    assert "margin: 0.10" in text
    claims.write_text(text.replace("margin: 0.10", "margin: 9"))
    assert cli.main(["again", "digits-cpu"]) == 0
    after = store.read(reference / "tables", "claims").set_index("number").verdict
    before = store.read(ROOT / REFERENCE / "tables", "claims").set_index("number").verdict
    assert before[11] == "supported" and after[11] != "supported"


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "report.html").unlink(), "report.html: cannot be read"),
        (lambda folder: (folder / "report.html").write_text("<html>"), "its page lacks a picture of ddpm"),
        (lambda folder: _edit_preset(folder), "its params are not those of digits now"),
        (lambda folder: (folder / "tables/provenance.parquet").write_bytes(b"PAR1"), "damaged"),
    ],
    ids=["no page", "another page", "other params", "damaged table"],
)
def test_what_cannot_be_made_again_is_refused_and_nothing_is_lost(reference, harm, said, capsys):
    harm(reference)
    before = {path: path.read_bytes() for path in sorted(reference.rglob("*")) if path.is_file()}
    assert cli.main(["again", "digits-cpu"]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert {path: path.read_bytes() for path in sorted(reference.rglob("*")) if path.is_file()} == before


def _edit_preset(folder):
    preset = folder.parents[2] / "workflow/presets/digits.yaml"
    preset.write_text(preset.read_text().replace("images: 96000", "images: 96064"))
