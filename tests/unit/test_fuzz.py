"""Params of any shape are accepted, or refused in one line a mistake; nothing hangs, nothing is a traceback."""

import copy
import random
import shutil
import subprocess
import time
from contextlib import suppress
from itertools import pairwise

import pytest
import yaml
from clones import cloned, environment
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffbench import cli, config, design, runs
from diffbench.config import models
from diffbench.errors import UserError
from diffbench.runtime.yaml_file import read_yaml

SHIPPED = config.overlay(
    yaml.safe_load((ROOT / "workflow/presets/mnist.yaml").read_text()),
    yaml.safe_load((ROOT / "workflow/presets/smoke.yaml").read_text()),
)
HUGE = st.sampled_from([10**30, -(10**30), 1e308, -1e308, 2**63, 10**400, float("inf"), float("nan"), "9" * 5000])
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**6), HUGE, st.floats(), st.text(max_size=12), st.just([]), st.just({}),
    st.lists(st.one_of(st.integers(-3, 2000), st.text(max_size=3), st.none()), max_size=4),
    st.dictionaries(st.text(max_size=4), st.one_of(st.integers(), st.text(max_size=4)), max_size=3),
    st.sampled_from(["2e-3", "ünïcödé ☃", "\u202e", "{}", "..", "/etc/passwd", "sd1", "ddim", "yes", "0x10", "1_000"]),
)  # fmt: skip
KINDS = st.sampled_from(["change", "change", "delete", "add", "rename", "swap"])


def places(node, path=()):
    """Every dotted place in params, mappings and lists included."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


KNOWN = sorted(places(SHIPPED), key=str)


def get(params, path):
    for key in path:
        params = params[key]
    return params


def spoil(params, kind, path, value, other):
    """Change, delete, add or rename what stands at a place, or put there what stands at another."""
    node, key = get(params, path[:-1]), path[-1]
    if kind == "delete":
        del node[key]
    elif kind == "add" and isinstance(node, dict):
        node[str(value)[:20]] = value
    elif kind == "rename" and isinstance(node, dict):
        node[str(value)[:20]] = node.pop(key)
    elif kind == "swap":
        node[key] = copy.deepcopy(get(params, other))
    else:
        node[key] = value


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_spoiled_params_are_accepted_or_refused_in_lines(data):
    params = copy.deepcopy(SHIPPED)
    for _ in range(data.draw(st.integers(1, 3))):
        path, other = (KNOWN[data.draw(st.integers(0, len(KNOWN) - 1))] for _ in range(2))
        with suppress(KeyError, IndexError, TypeError):  # an earlier change has taken the place away
            spoil(params, data.draw(KINDS), path, data.draw(VALUES), other)
    try:
        runs.check(params, "params.yaml")
    except UserError as error:
        lines = str(error).splitlines()
        assert lines and all(line.startswith("params.yaml: ") and len(line) < 500 for line in lines), lines
    else:
        built = models.build(params)
        assert all(design.all_cells(built, name, built.seeds[0]) for name in built.paradigms)


PIECES = st.sampled_from([
    "name: smoke", "name: &a smoke", "seeds: *a", "seeds: &a [*a]", "<<: *a", "a: &b {c: *b}", "!!binary x: 1",
    "training: !!python/object/apply:os.system [id]", "x: !!python/name:os.system", "x: !<tag:yaml.org,2002:set> {a}",
    "seeds: !!int '0'", "seeds: [0", "'", "\"", "- a", "? - a", "%YAML 9.9", "---", "...", "\t", "x: |", "  y", "é: ☃",
    "x: 0o17", "x: 12:30:45", "x: 2026-01-01", "x: .inf", "x: ~", "x: !!float nan", "{a: b}", "[", "]", "&", "*", "!",
])  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.one_of(st.lists(PIECES, max_size=6).map("\n".join), st.text(max_size=60), st.binary(max_size=60)))
def test_any_file_is_yaml_params_or_refused_in_lines(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        runs.check(read_yaml(path), "params.yaml")
    except UserError as error:
        assert str(error).strip() and all(len(line) < 700 for line in str(error).splitlines())


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijk")),
        "name: &a [*a]\n",
        "name: " + "[" * 100_000 + "]" * 100_000 + "\n",
        "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 3000)),
    ],
    ids=["aliases of aliases", "an alias inside itself", "deep brackets", "a chain of aliases"],
)
def test_a_few_lines_of_yaml_cannot_hang_or_crash(workplace, capsys, text):
    (workplace / "params.yaml").write_text(text)
    started = time.monotonic()
    assert cli.main(["params"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("error: params.yaml:") and len(said[0]) < 300
    assert time.monotonic() - started < 10


def dry_run(clone):
    """What Snakemake says to a plan of a clone's params."""
    command = ["snakemake", "--cores", "1", "-n"]
    return subprocess.run(command, cwd=clone, env=environment(clone), capture_output=True, text=True)


@pytest.mark.slow
def test_real_dry_runs_of_spoiled_params(tmp_path):
    """Eight files through Snakemake itself, and some with anchors and tags: a plan, or lines with exit code 2."""
    clone, chance, codes = cloned(tmp_path / "clone"), random.Random(6), []
    values = [None, True, -1, 10**30, float("nan"), "2e-3", "☃", [], {}, [0, 0], {"a": 1}, "sd1", 3, 0.5]
    mild = [("seeds", [0, 1]), ("sampling", "images", 40), ("training", "warmup", 5), ("paradigms", "sd1", "lr", 1e-3)]
    for number in range(8):
        params = copy.deepcopy(SHIPPED)
        kind = chance.choice(["change", "delete", "add", "rename", "swap"])
        path, value, other = chance.choice(KNOWN), chance.choice(values), chance.choice(KNOWN)
        if number % 2 == 0:  # few random changes are of any use
            kind, (*path, value) = "change", mild[number // 2]
        spoil(params, kind, path, value, other)
        (clone / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True))
        done = dry_run(clone)
        assert "Traceback" not in done.stdout + done.stderr, (kind, done.stderr[-2000:])
        try:
            runs.check(params, "params.yaml")
        except UserError:
            assert done.returncode == 2 and "error: params.yaml: " in done.stderr, (kind, path, value)
        else:
            assert done.returncode == 0, done.stderr[-2000:]
        codes.append(done.returncode)
    assert codes.count(0) >= 4 and codes.count(2) >= 3, "both ends are met"
    plain = yaml.safe_dump(SHIPPED)
    for text, code in (
        (plain.replace("full_seeds: []", "full_seeds: &all [0]").replace("\nseeds:\n- 0\n", "\nseeds: *all\n"), 0),
        (plain.replace("name: smoke", "name: !!str smoke"), 0),
        (plain.replace("name: smoke", "name: !!python/name:os.system"), 2),
        (plain.replace("name: smoke", "name: &a [*a]"), 2),
        (plain.replace("name: smoke", "name: *nowhere"), 2),
        (plain + "compute: {device: cpu}\n", 2),
    ):
        assert text != plain
        (clone / "params.yaml").write_text(text)
        done = dry_run(clone)
        said = done.stderr[-2000:]
        assert done.returncode == code and "Traceback" not in done.stdout + done.stderr, (text[:400], said)
        assert code == 0 or "error: params.yaml" in said, said
    shutil.rmtree(clone)
