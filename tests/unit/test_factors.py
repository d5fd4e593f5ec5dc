"""Effects of single factors: found among a run's rows and arms, and what they come to."""

import itertools
import json
import math
import zlib

import pandas as pd
import pytest

from diffbench import runs
from diffbench.design import all_cells
from diffbench.report import effects as chains
from diffbench.stages.aggregate import arm_row
from diffbench.tables import store
from diffbench.tables.factors import ALL, BUNDLE, Setting, effects, sampled

BOUGHT = {"target": 0.9, "density": 0.5, "grid": 0.7, "path": 0.95}  # FID of the newer value over the older one's


def frames_of(params, fid):
    """The tables cells, arms and paradigms of a run whose FID is a function of a setting, steps and seed."""
    rows, arms, cells = [], [], []
    for key, row in params.paradigms.items():
        names = ("label", "role", "network", "path", "target", "times", "conditional")
        rows.append({"paradigm": key} | {name: getattr(row, name) for name in names})
        for seed in params.seeds:
            for cell in all_cells(params, key, seed):
                if cell.arm and seed == params.seeds[0]:
                    arms.append(arm_row(key, cell, params.compute.precision))
                cells.append({"paradigm": key, "seed": seed, **cell.key, "status": "ok", "native": False})
    made = {"cells": store.frame("cells", cells), "arms": store.frame("arms", arms),
            "paradigms": store.frame("paradigms", rows)}  # fmt: skip
    blank = made["cells"].assign(fid=1.0)
    for way in sampled(blank, made["arms"], made["paradigms"]):
        mine = (blank.paradigm == way.paradigm) & (blank.arm == way.arm) & (blank.steps == way.steps)
        mine &= (blank.guidance == 1) & blank.sampler.isin(["ddim", "euler"])
        blank.loc[mine, "fid"] = [fid(way.setting, way.steps, seed) for seed in blank[mine].seed]
    return made | {"cells": blank}


def multiplied(setting: Setting, steps: int, seed: int) -> float:
    """Each factor by itself multiplies FID, whatever the others are; a seed multiplies all of its FIDs."""
    value = (1 + 10 / steps) * (1 + seed / 10)
    for factor, share in BOUGHT.items():
        value *= share if getattr(setting, factor) == getattr(BUNDLE[1], factor) else 1
    return value


@pytest.mark.parametrize("name", ["digits", "mnist-small", "mnist"])
def test_each_factors_effect_is_found_whatever_the_others_are(at_root, name):
    params = runs.load(name)
    found = pd.DataFrame(effects(**frames_of(params, multiplied)))
    for factor, share in BOUGHT.items():
        own = found[(found.factor == factor) & (found.with_network != "dit") & (found.with_network != "mmdit")]
        own = own[(own.newer == getattr(BUNDLE[1], factor)) & (own.older == getattr(BUNDLE[0], factor))]
        assert len(own) > 2 and {2, 8, 20} <= set(own.steps), factor
        assert own.ratio.to_numpy() == pytest.approx(share) and own.low.to_numpy() == pytest.approx(share), factor
        assert all(set(json.loads(seeds)) == {"0", "1", "2"} for seeds in own.seeds)
    whole = found[found.factor == ALL]
    assert set(whole.steps) >= {2, 8, 20} and whole.ratio.to_numpy() == pytest.approx(math.prod(BOUGHT.values()))
    assert not (found.factor == "sampling_path").empty and found[found.factor == "sampling_path"].ratio.eq(1).all()


def test_nothing_else_differs_in_a_pair(at_root):
    params = runs.load("mnist")
    frames = frames_of(params, multiplied)
    ways = {(way.paradigm, way.arm, way.steps): way.setting for way in sampled(**frames)}
    for row in effects(**frames):
        sides = ways[row["base"], row["base_arm"], row["steps"]], ways[row["paradigm"], row["arm"], row["steps"]]
        changed = {name for name, old, new in zip(Setting._fields, *sides, strict=True) if old != new}
        if row["factor"] == ALL:
            assert changed == set(BOUGHT)
        else:
            assert changed == {row["factor"]}
        kept = {name: row[f"with_{name}"] for name in Setting._fields if name not in changed}
        assert all(getattr(sides[0], name) == value for name, value in kept.items())
        assert all(row[f"with_{name}"] == "" for name in changed)
        if row["factor"] != ALL:
            assert (row["older"], row["newer"]) == tuple(getattr(side, row["factor"]) for side in sides)


def test_intervals_are_of_the_seeds_that_both_have(at_root):
    """By hand: logs 0.1, 0.2 and 0.3 have mean 0.2 and half an interval of 4.3027 * 0.1 / sqrt(3)."""
    params = runs.load("digits")
    logs = {0: 0.1, 1: 0.2, 2: 0.3}

    def fid(setting, steps, seed):
        return math.exp(logs[seed]) if setting.density == "logit-normal@linear" else 1.0

    frames = frames_of(params, fid)
    row = next(row for row in effects(**frames) if row["factor"] == "density")
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert (row["ratio"], row["low"], row["high"]) == pytest.approx([math.exp(0.2 + d) for d in (0, -half, half)])
    cells = frames["cells"]
    cells.loc[(cells.paradigm == row["paradigm"]) & (cells.seed == 2), "status"] = "failed"
    again = next(
        other
        for other in effects(**frames)
        if all(other[k] == row[k] for k in ("base", "paradigm", "arm", "steps", "base_arm"))
    )
    assert set(json.loads(again["seeds"])) == {"0", "1"} and again["ratio"] == pytest.approx(math.exp(0.15))


def test_arms_that_change_something_else_are_not_compared(at_root):
    params = runs.load("mnist")
    ways = sampled(**frames_of(params, multiplied))
    assert {way.arm.rsplit("-", 1)[0] for way in ways} == {
        "",
        "euler",  # of the network of a mean velocity
        "flow-grid",
        "vp-grid",
        "straight",
        "trailing",
        "leading",
    }


@pytest.mark.parametrize("name", ["digits", "mnist-small", "mnist", "dit-factors"])
@pytest.mark.parametrize("steps", chains.STEPS)
def test_the_chain_multiplies_to_the_whole_seed_by_seed(at_root, name, steps):
    """Whatever the FIDs are: each link starts where the last one ended."""

    def anything(setting, steps, seed):
        return 1 + zlib.crc32(repr((setting, steps, seed)).encode()) / 2**32

    table = pd.DataFrame(effects(**frames_of(runs.load(name), anything)))
    network = "dit" if name == "dit-factors" else "unet"
    assert chains.chained(table) == network
    found = chains.chain(table, steps, network)
    assert list(found.factor) == ["density", "grid", "target", "path", ALL]
    seeds = [json.loads(seeds) for seeds in found.seeds]
    for seed in ("0", "1", "2"):
        assert math.prod(own[seed] for own in seeds[:-1]) == pytest.approx(seeds[-1][seed])
    links = list(found.iloc[:-1].itertuples())
    assert all((a.paradigm, a.arm) == (b.base, b.base_arm) for a, b in itertools.pairwise(links))


def test_a_chain_with_a_link_missing_is_none(at_root):
    table = pd.DataFrame(effects(**frames_of(runs.load("digits"), multiplied)))
    without = table[~((table.factor == "grid") & (table.steps == 8))]
    assert chains.chain(without, 8, "unet").empty and not chains.chain(without, 2, "unet").empty
    assert chains.chain(table, 50, "unet").empty
    assert chains.chain(table, 8, "dit").empty, "the digits take the U-Net apart alone"
    assert chains.chained(table) == "unet" and chains.chained(without) is None
    assert chains.chained(without, [2, 20]) == "unet"


@pytest.mark.parametrize("name", ["digits", "mnist-small", "mnist", "dit-factors", "edm-levels"])
def test_pairs_of_rows_have_names_of_their_own_and_are_not_in_the_chain(at_root, name):
    table = pd.DataFrame(effects(**frames_of(runs.load(name), multiplied)))
    found = chains.comparisons(table, 8)
    words = [chains.words_of(row) for _, row in found.iterrows()]
    assert len(set(words)) == len(words), words
    linked = chains.chain(table, 8, chains.chained(table, [8]))
    plain = linked[(linked.arm == "") & (linked.base_arm == "")] if len(linked) else linked
    assert not set(zip(found.base, found.paradigm, strict=True)) & set(zip(plain.base, plain.paradigm, strict=True))
    assert (found[["arm", "base_arm"]] == "").all(axis=None)


def test_rows_of_several_sizes_are_not_compared_as_if_they_had_one(at_root):
    assert effects(**frames_of(runs.load("scaling"), multiplied)) == []
