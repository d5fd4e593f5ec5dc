"""One edit of each part of the params; tests/edits.py tries every key."""

import edits
import pytest
import yaml
from clones import fresh

pytestmark = [pytest.mark.engines, pytest.mark.slow]
KEYS = (
    "data.split_seed", "sampling.arms.sd1.leading.steps", "evaluation.neighbours", "probe.bins", "tune.seeds",
    "paradigms.sd3.path", "paradigms.sd2.label",
)  # fmt: skip


def test_an_edit_reruns_the_same_in_both_engines(finished, tmp_path):
    """And not all or nothing: of a search that is no part of the run only the manifest knows."""
    clone = fresh(finished, tmp_path)
    edits.run("python", "-m", "diffbench", "params", "--preset", "smoke", "--write", cwd=clone)
    values = edits.every_edit(yaml.safe_load((clone / "params.yaml").read_text()))
    found = {key: edits.plans(clone, key, values[key]) for key in KEYS}
    assert {key: plans for key, plans in found.items() if plans and plans[0] != plans[1]} == {}
    assert found["paradigms.sd3.path"] is None, "no such path"
    assert found["tune.seeds"][0] == {"manifest": 1}
    assert "train" not in found["paradigms.sd2.label"][0] and found["data.split_seed"][0]["train"] == 5
    assert found["probe.bins"][0]["probe"] == 5 and "sample" not in found["probe.bins"][0]
