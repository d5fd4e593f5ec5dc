"""The classifier stage hands on no judge that guesses."""

from pathlib import Path

import pytest
import yaml

from diffbench import cli, config


@pytest.mark.parametrize("change", [{"lr": 1.0}, {"lr": 0.3, "batch_size": 8}, {"lr": 1e-9, "epochs": 1}])
def test_a_classifier_that_guesses_is_refused_before_anything_rests_on_it(smoke, capsys, change):
    """With these learning rates its features do not vary at all, and the next stage ended in a traceback."""
    raw = config.overlay(config.preset("smoke"), {"name": "smoke", "classifier": change})
    config.PARAMS.write_text(yaml.safe_dump(raw))
    assert cli.main(["data", "smoke"]) == 0
    before = {path: path.read_bytes() for path in Path("results/smoke").glob("classifier.*")}
    capsys.readouterr()
    assert cli.main(["classifier", "smoke"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: classifier: ") and "as by guessing" in said
    assert f"classifier.lr ({change['lr']})" in said
    assert {path: path.read_bytes() for path in before} == before, "and what was there is not replaced"
