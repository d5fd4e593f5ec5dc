"""docs/extend.md, taken at its word: a paradigm, a sampler and a metric from outside the package."""

import re
import shutil

import pandas as pd
import pytest
import yaml
from clones import KEPT, run
from conftest import ROOT

from diffbench import config, runs
from diffbench.errors import UserError


def blocks() -> tuple[dict[str, str], dict]:
    """The files that docs/extend.md shows, by path, and the rows of params."""
    text = (ROOT / "docs/extend.md").read_text()
    files = dict(re.findall(r"`(workflow/extensions/\w+/\w+\.py)`:\n\n```python\n(.*?)```", text, re.DOTALL))
    rows = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    return files, rows


@pytest.mark.engines
def test_parts_from_outside_run_through_the_smoke_preset(tmp_path):
    for name in KEPT:
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__", "cache", "tmp", "*.egg-info")
        (shutil.copytree if source.is_dir() else shutil.copy)(
            source, tmp_path / name, **({"ignore": ignore} if source.is_dir() else {})
        )
    files, rows = blocks()
    assert len(files) == 3 and len(rows) == 1
    for path, code in files.items():
        (tmp_path / path).write_text(code)
    params = config.overlay(
        yaml.safe_load((ROOT / "workflow/presets/mnist.yaml").read_text()),
        yaml.safe_load((ROOT / "workflow/presets/smoke.yaml").read_text()),
    )
    (name,) = rows
    params |= {"name": "mine", "paradigms": rows}
    params["sampling"] |= {
        "native": {name: {"sampler": "euler", "steps": 3}},
        "arms": {name: {"leading": {"sampler": "midpoint", "steps": 2, "guidance": 1, "spacing": "leading"}}},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    run("snakemake", "--cores", "2", cwd=tmp_path)
    tables = tmp_path / "reports/mine/tables"
    cells = pd.read_csv(tables / "cells.csv")
    assert set(cells.paradigm) == {name} and set(cells.status) == {"ok"}
    plain = cells[(cells.sampler == "midpoint") & (cells.arm.isna()) & (cells.guidance == 1)]
    assert (plain.nfe == 2 * plain.steps).all() and len(plain) == 2
    assert cells.grey_share.between(0, 1).all() and cells.grey_share.nunique() > 3
    assert pd.read_csv(tables / "convergence.csv").grey_share.notna().all()
    assert pd.read_csv(tables / "floors.csv").set_index("split").grey_share["test"] > 0
    assert "Pixel MLP" in (tmp_path / "reports/mine/report.html").read_text()
    assert "Nothing to be done" in run("snakemake", "--cores", "1", "-n", cwd=tmp_path)
    touched = tmp_path / "workflow/extensions/samplers/midpoint.py"
    touched.write_text(touched.read_text() + "\n# an edit\n")
    plan = run("snakemake", "--cores", "1", "-n", cwd=tmp_path)
    assert "rule sample:" in plan and "rule train:" not in plan
    touched.write_text(touched.read_text().removesuffix("\n# an edit\n"))
    touched = tmp_path / "workflow/extensions/metrics/ink.py"
    touched.write_text(touched.read_text() + "\n# an edit\n")
    plan = run("snakemake", "--cores", "1", "-n", cwd=tmp_path)
    assert "rule evaluate:" in plan and "rule train:" not in plan and "rule sample:" not in plan


def test_an_extension_that_breaks_is_one_line(workplace):
    folder = workplace / "workflow/extensions/metrics"
    folder.mkdir(parents=True)
    (folder / "bad_part.py").write_text("import nothing_of_the_kind\n")
    with pytest.raises(UserError, match=r"bad_part.py: cannot be imported \(ModuleNotFoundError"):
        runs.load("smoke")


def test_an_extension_of_no_kind_is_refused(workplace):
    """No stage would be run again after an edit of it."""
    folder = workplace / "workflow/extensions/paths"
    folder.mkdir(parents=True)
    (folder / "cosine.py").touch()
    with pytest.raises(UserError, match="no kind of extension; allowed folders: metrics, networks, samplers"):
        runs.load("smoke")
