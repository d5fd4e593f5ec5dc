"""The search for learning rates: equal budgets, judged on validation, and what the presets took from it."""

import pandas as pd
import pytest
from conftest import ROOT

from diffbench import config, runs
from diffbench.stages import tune


@pytest.mark.parametrize("run", [path.stem for path in (ROOT / "workflow/tuning").glob("*.csv")])
def test_a_preset_uses_the_best_rates_of_its_search(run, at_root):
    params, found = runs.load(run), pd.read_csv(tune.table(run))
    assert {key: row.lr for key, row in params.paradigms.items()} == tune.best_rates(found)
    assert (found.groupby("paradigm").lr.apply(sorted).map(tuple) == tuple(sorted(params.tune.lrs))).all()
    assert set(found.images) == {params.tune.images} and set(found.seed) == {params.tune.seed}
    assert params.tune.seed not in params.seeds, "no row is scored on what it was tuned with"


def test_one_rate_is_trained_and_scored(smoke, places, capsys):
    for paradigm in smoke.paradigms:
        for lr in smoke.tune.lrs:
            name = config.number(lr)
            if paradigm in ("sd3", "ddpm"):
                tune.run(smoke, paradigm, name)
            else:
                places.tuning(paradigm, name).parent.mkdir(parents=True, exist_ok=True)
                fid = 1.0 if lr == 0.004 else 2.0
                places.tuning(paradigm, name).write_text(f'{{"paradigm": "{paradigm}", "lr": {lr}, "fid": {fid}}}')
    first = places.tuning("sd3", "0.002").read_bytes()
    tune.run(smoke, "sd3", "0.002")
    assert places.tuning("sd3", "0.002").read_bytes() == first
    tune.collect(smoke)
    found = pd.read_csv(tune.table("smoke")).set_index(["paradigm", "lr"])
    assert found.loc[("sd3", 0.002)].fid != found.loc[("sd3", 0.004)].fid
    assert found.loc[("ddpm", 0.002)].guidance == 0 and found.loc[("sd3", 0.002)].guidance in (1, 2)
    assert "sd1: lr 0.004; params use 0.002" in capsys.readouterr().out


def test_a_rate_that_diverges_is_never_the_best():
    rows = [{"paradigm": "a", "lr": 0.1, "fid": None}, {"paradigm": "a", "lr": 0.01, "fid": 7.0}]
    assert tune.best_rates(pd.DataFrame(rows)) == {"a": 0.01}
