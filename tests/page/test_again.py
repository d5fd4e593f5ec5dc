"""A committed run is judged and rendered again from its own folder."""

import shutil

import pytest
from conftest import ROOT

from diffbench import cli
from diffbench.report import again
from diffbench.tables import store

REFERENCE = "reports/reference/digits-cpu"


@pytest.fixture
def reference(workplace):
    """The digits' reference in a checkout of its own."""
    shutil.copytree(ROOT / REFERENCE, workplace / REFERENCE)
    shutil.copy(ROOT / "workflow/claims.yaml", workplace / "workflow/claims.yaml")
    return workplace / REFERENCE


def test_the_same_code_writes_the_same_folder_with_the_committed_verdicts(reference, capsys):
    """Twice, because the page that is read the second time is one that this wrote."""
    assert cli.main(["again", "digits-cpu"]) == 0
    assert capsys.readouterr().out == f"wrote {REFERENCE}/report.html and the verdicts beside it\n"
    first = {path: path.read_bytes() for path in sorted(reference.rglob("*")) if path.is_file()}
    assert cli.main(["again", "digits-cpu"]) == 0
    assert {path: path.read_bytes() for path in sorted(reference.rglob("*")) if path.is_file()} == first
    assert again.pictures(reference / "report.html") == again.pictures(ROOT / REFERENCE / "report.html")
    for name in ("claims", "claim_parts", "claim_changes"):  # or a claim was edited and the reference left as it was
        now, then = (store.read(folder / "tables", name) for folder in (reference, ROOT / REFERENCE))
        assert now.round(9).equals(then.round(9)), f"{name}: give 'python -m diffbench again digits-cpu'"


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
