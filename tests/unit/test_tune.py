"""The search for learning rates: equal budgets, judged on validation, and what the presets took from it."""

import json
import math

import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from diffbench import runs
from diffbench.stages import tune


@pytest.mark.parametrize("run", [path.stem for path in (ROOT / "workflow/tuning").glob("*.csv")])
def test_a_preset_uses_the_best_rates_of_its_search(run, at_root):
    params, found = runs.load(run), pd.read_csv(tune.table(run))
    best = tune.best_rates(found)
    assert {key: row.lr for key, row in params.paradigms.items()} == best
    for key, own in found.groupby("paradigm"):
        tried, rates = sorted(set(own.lr)), sorted(params.tune.lrs)
        assert len(own) == len(tried) * len(params.tune.seeds), f"{key}: a rate lacks a seed"
        assert tried == rates[rates.index(tried[0]) : rates.index(tried[-1]) + 1], f"{key}: a rate is left out"
        assert tried[0] < best[key] < tried[-1], f"{key}: its best is at the edge"
    assert set(found.images) == {params.tune.images} and set(found.seed) == set(params.tune.seeds)
    assert not set(params.tune.seeds) & set(params.seeds), "no row is scored on what it was tuned with"


def walk(fids: list[float]) -> list[int]:
    """The places that the search tries, in order, where a rate has the FID at its place."""
    scores: dict[int, float] = {}
    while (place := tune.next_rate(scores, len(fids))) is not None:
        assert place not in scores
        scores[place] = fids[place]
    return list(scores)


@given(st.lists(st.floats(0, 10) | st.just(math.inf), min_size=1, max_size=9))
def test_the_search_ends_beside_worse_rates_or_at_the_edge(fids):
    tried = walk(fids)
    best = min(tried, key=lambda place: fids[place])
    assert tried[0] == len(fids) // 2 and sorted(tried) == list(range(min(tried), max(tried) + 1))
    assert {best - 1, best + 1} & set(range(len(fids))) <= set(tried)
    assert all(fids[best] <= fids[place] for place in (best - 1, best + 1) if 0 <= place < len(fids))


@given(st.integers(0, 8), st.integers(1, 9))
def test_the_search_finds_the_only_valley(bottom, count):
    bottom = min(bottom, count - 1)
    fids = [float(abs(place - bottom)) for place in range(count)]
    assert min(walk(fids), key=lambda place: fids[place]) == bottom


def test_a_search_trains_scores_and_collects(smoke, places, capsys):
    for paradigm in smoke.paradigms:
        if paradigm in ("sd3", "ddpm"):
            tune.run(smoke, paradigm)
        else:
            places.tuning(paradigm).parent.mkdir(parents=True, exist_ok=True)
            rates = [
                {"paradigm": paradigm, "lr": lr, "seed": 0, "fid": 1.0 if lr == 0.004 else 2.0} for lr in smoke.tune.lrs
            ]
            places.tuning(paradigm).write_text(json.dumps(rates))
    first = places.tuning("sd3").read_bytes()
    tune.run(smoke, "sd3")
    assert places.tuning("sd3").read_bytes() == first
    tune.collect(smoke)
    found = pd.read_csv(tune.table("smoke")).set_index(["paradigm", "lr", "seed"]).sort_index()
    assert found.loc["sd3"].fid.is_unique and len(found.loc["sd3"]) == 4, "two rates, two seeds"
    assert set(found.loc["ddpm"].guidance) == {0} and set(found.loc["sd3"].guidance) <= {1, 2}
    assert "sd1: lr 0.004; params use 0.002" in capsys.readouterr().out


def test_a_rate_that_diverges_is_never_the_best():
    rows = [{"paradigm": "a", "lr": 0.1, "fid": None}, {"paradigm": "a", "lr": 0.01, "fid": 7.0}]
    assert tune.best_rates(pd.DataFrame(rows)) == {"a": 0.01}


def test_the_best_rate_is_the_best_over_seeds():
    fids = {0.1: (1.0, None), 0.01: (3.0, 5.0), 0.001: (2.0, 9.0)}
    rows = [{"paradigm": "a", "lr": lr, "fid": fid} for lr, both in fids.items() for fid in both]
    assert tune.best_rates(pd.DataFrame(rows)) == {"a": 0.01}, "0.001 has the best seed, and 0.1 a failed one"
