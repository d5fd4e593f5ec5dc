"""Params: presets, overlays, and a line for every mistake before anything runs."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from diffbench import cli, config, design, device, runs
from diffbench.config import models
from diffbench.errors import UserError
from diffbench.runtime.yaml_file import read_yaml


def edit(path, change):
    params = yaml.safe_load(path.read_text())
    change(params)
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def at(dotted, value):
    *parents, last = dotted.split(".")

    def change(params):
        for parent in parents:
            params = params[parent]
        if value is KeyError:
            del params[last]
        else:
            params[last] = value

    return change


def test_params_ship_equal_to_the_full_preset(at_root):
    if read_yaml(config.PARAMS)["name"] == "mnist":
        assert config.PARAMS.read_text() == (config.PRESETS / "mnist.yaml").read_text()


@pytest.mark.parametrize("name", ["mnist", "mnist-small", "digits", "smoke"])
def test_presets_are_valid_and_hold_the_five_recipes(workplace, name):
    params = runs.load(name)
    recipes = [key for key, row in params.paradigms.items() if row.role == "recipe"]
    assert recipes == ["ddpm", "sd1", "sd2", "dit", "sd3"]
    assert params.paradigms["ddpm"].conditional is False


def test_the_recipes_are_those_of_the_papers(workplace):
    rows = runs.load("mnist").paradigms
    said = {key: (row.network, row.path, row.target, row.times) for key, row in rows.items()}
    assert said["ddpm"] == ("unet", "vp-linear", "eps", "uniform")
    assert said["sd1"] == ("unet", "vp-scaled-linear", "eps", "uniform")
    assert said["sd2"] == ("unet", "vp-scaled-linear", "v", "uniform")
    assert said["dit"] == ("dit", "vp-linear", "eps", "uniform")
    assert said["sd3"] == ("mmdit", "linear", "velocity", "logit-normal")


def test_the_schema_for_editors_is_that_of_the_models(at_root):
    written = json.loads((ROOT / "workflow/schemas/params.schema.json").read_text())
    assert written == json.loads(json.dumps(models.schema()))
    assert set(written["properties"]) == set(config.preset("mnist"))


def test_overlays_hold_only_differences(at_root):
    full = config.preset("mnist")

    def same(base, changes, where=""):
        for key, value in changes.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                yield from same(base[key], value, f"{where}{key}.")
            elif base.get(key) == value:
                yield f"{where}{key}"

    for name in ("mnist-small", "digits", "smoke"):
        overlay = read_yaml(config.PRESETS / f"{name}.yaml")
        assert [key for key in same(full, overlay) if "size" not in key] == []


def test_a_name_means_params_yaml_if_it_bears_it_and_the_preset_otherwise(workplace):
    edit(workplace / "params.yaml", at("name", "mine"))
    edit(workplace / "params.yaml", at("seeds", [7]))
    edit(workplace / "params.yaml", at("sampling.guidance.full_seeds", [7]))
    assert runs.load("mine").seeds == [7]
    assert runs.load("mnist").seeds == [0, 1, 2]
    edit(workplace / "params.yaml", at("name", "digits"))
    assert runs.load("digits").seeds == [7], "an edited params.yaml under a preset's name is the run"
    known = "digits, mnist, composition, dit-factors, edm-levels, mnist-after, mnist-small, patches, patches-grid"
    with pytest.raises(UserError, match=f"presets know {known}, scaling, smoke, stability$"):
        runs.load("mine")
    Path("results/mine").mkdir(parents=True)
    with pytest.raises(UserError, match=r"; results/mine is of a run that was renamed: name it in"):
        runs.load("mine")


def test_a_preset_is_never_laid_over_the_users_params(workplace):
    edit(workplace / "params.yaml", at("training.ema", 0.5))
    assert runs.load("digits").training.ema == 0.999


MISTAKES = [
    ("trainig", 3, "trainig: unknown key; allowed: "),
    ("training.learning_rate", 3, "training.learning_rate: unknown key; allowed: batch_size,"),
    ("paradigms.sd1.colour", "red", "paradigms.sd1.colour: unknown key; allowed: "),
    (
        "paradigms.sd1.lr",
        " 2e-3",
        'paradigms.sd1.lr: " 2e-3" is not a number (this is text; write it without quotes)',
    ),
    ("paradigms.sd1.lr", 0, "paradigms.sd1.lr: 0; allowed: more than 0"),
    ("paradigms.sd1.lr", -0.1, "paradigms.sd1.lr: -0.1; allowed: more than 0"),
    ("paradigms.sd1.lr", math.nan, "paradigms.sd1.lr: nan is not a finite number"),
    ("paradigms.sd1.lr", KeyError, "paradigms.sd1.lr: missing"),
    (
        "paradigms.sd1.label",
        "DDPM",
        'paradigms.sd1.label: "DDPM" is that of ddpm too; allowed: one for each row',
    ),
    ("paradigms.sd1.conditional", "yes", 'paradigms.sd1.conditional: "yes" is not true or false'),
    ("training.ema", 1, "training.ema: 1; allowed: less than 1"),
    ("training.images", 1.5, "training.images: 1.5 is not an integer"),
    ("training", KeyError, "training: missing"),
    ("seeds", [], "seeds: [] is empty; at least 1 needed"),
    ("seeds", [0, 0], "seeds: [0, 0] holds a value twice"),
    ("seeds", 3, "seeds: 3 is not a list"),
    ("convergence.within", [2, 2.0], "convergence.within: [2, 2.0] holds a value twice"),
    ("sampling.guidance.everywhere", [1, 1.0], "sampling.guidance.everywhere: [1, 1.0] holds a value twice"),
    ("sampling.images", "1e5", "sampling.images: 100000.0 is not an integer"),
    ("paradigms", {}, "paradigms: is empty; at least 1 needed"),
    ("paradigms.sd1", None, "paradigms.sd1: null is not a mapping"),
    ("sampling.steps", [], "sampling.steps: [] is empty"),
    ("sampling.steps", [0, 20], "sampling.steps.0: 0; allowed: at least 1"),
    ("sampling.guidance.sweep", [], "sampling.guidance.sweep: [] is empty"),
    ("sampling.guidance.sweep", [-1], "sampling.guidance.sweep.0: -1; allowed: at least 0"),
    ("sampling.guidance.sweep_steps", 3, "sampling.guidance.sweep_steps: 3; allowed: one of sampling.steps, [1, 2, 4"),
    ("sampling.guidance.full_seeds", [9], "sampling.guidance.full_seeds: 9; allowed: seeds, [0, 1, 2]"),
    (
        "sampling.native.sd9",
        {"sampler": "ddim", "steps": 5},
        "sampling.native.sd9: no such paradigm; allowed: ddpm, sd1",
    ),
    ("sampling.native.ddpm.sampler", "magic", 'sampling.native.ddpm.sampler: "magic" is not registered; allowed: ddim'),
    (
        "sampling.native.ddpm",
        {"sampler": "ddim", "steps": 1000, "spacing": "trailing@linear"},
        "sampling.native.ddpm.steps: 1000 steps of trailing@linear on a path without as many noise levels; allowed: f",
    ),
    (
        "paradigms.imf.target",
        "velocity",
        "paradigms.imf.samplers: flow-map tells the network where a step ends, which the loss velocity never does",
    ),
    ("compute.device", "gpu", 'compute.device: "gpu"; allowed: cuda, cpu, auto'),
    ("name", "My Run", 'name: "My Run"; allowed: lower-case letters'),
    ("name", "train", "name: train is a stage's name"),
    ("paradigms.sd1.network", "vit", 'paradigms.sd1.network: "vit" is not registered; allowed: unet, dit, mmdit'),
    ("paradigms.sd1.path", "cosine", 'paradigms.sd1.path: "cosine" is not registered; allowed: vp-linear,'),
    ("paradigms.sd1.target", "noise", 'paradigms.sd1.target: "noise" is not registered; allowed: x0, eps, v, velocity'),
    ("paradigms.sd1.times", "cubic", 'paradigms.sd1.times: "cubic" is not registered; allowed: uniform, logit-normal'),
    ("paradigms.sd1.times", "uniform@cubic", 'paradigms.sd1.times: "uniform@cubic" names no path after its @'),
    (
        "paradigms.sd1.times",
        "uniform@",
        'paradigms.sd1.times: "uniform@" names no path after its @; allowed: vp-linear',
    ),
    ("paradigms.sd1.times", "@linear", 'paradigms.sd1.times: "@linear" is not registered; allowed: uniform'),
    (
        "sampling.arms.sd1.leading.spacing",
        "even",
        'leading.spacing: "even" is not registered; allowed: trailing, leading',
    ),
    ("sampling.arms.sd1.leading.spacing", "leading@even", 'leading.spacing: "leading@even" names no path after its @'),
    (
        "sampling.arms.sd1.leading.path",
        "even",
        'sampling.arms.sd1.leading.path: "even" is not registered; allowed: vp-l',
    ),
    (
        "sampling.arms.sd1.leading.spacing",
        "trailing@vp-linear",
        "leading.steps: 10 steps of trailing@vp-linear on a path without as many noise levels; allowed: fewer",
    ),
    ("sampling.arms.ddpm.large-variance.path", "linear", "large-variance.path: ancestral needs a variance-preserving"),
    ("paradigms.sd1.samplers", ["plms"], 'paradigms.sd1.samplers: "plms" is not registered; allowed: ddim,'),
    (
        "paradigms.ddpm.guidance",
        [1, 2],
        "paradigms.ddpm.guidance: [1, 2], but the paradigm is unconditional; allowed: none",
    ),
    ("paradigms.ddpm.guidance", "default", 'paradigms.ddpm.guidance: "default", but the paradigm is unconditional'),
    ("paradigms.sd1.guidance", "none", "paradigms.sd1.guidance: none, but the paradigm is conditional"),
    ("paradigms.sd1.guidance", "high", 'paradigms.sd1.guidance: "high"; allowed: none, default, or a list'),
    ("paradigms.sd1.target", "velocity", "paradigms.sd1.target: velocity, but vp-scaled-linear is a table"),
    ("paradigms.sd3.target", "eps", "paradigms.sd3.target: eps, but linear ends without signal"),
    ("paradigms.sd3.samplers", ["ancestral"], "paradigms.sd3.samplers: ancestral needs a variance-preserving path"),
    (
        "paradigms.sd1.size.width",
        9,
        "paradigms.sd1.size.width: unknown key; unet takes channels, blocks, attention, heads",
    ),
    ("paradigms.dit.size.width", KeyError, "paradigms.dit.size.width: missing; dit needs it"),
    ("paradigms.dit.size.width", "wide", 'paradigms.dit.size.width: "wide"; allowed: a positive integer'),
    ("paradigms.dit.size.width", 42, "width 42 must be divisible by heads 4 and by 4"),
    ("paradigms.sd1.size.channels", [], "paradigms.sd1.size.channels: []; allowed: a list of positive integers"),
    ("paradigms.sd1.size.channels", [8, 8, 8, 8, 8], "5 resolutions do not fit an image of side 28"),
    (
        "sampling.native.dit",
        {"sampler": "ddim", "steps": 50},
        "sampling.native.dit: ddim at 50 steps is in the grid already",
    ),
    ("sampling.guidance.everywhere", [3], "sampling.guidance.everywhere: [3]; allowed: scales of sampling.guidance"),
    ("training.snapshots", [0.5, 0.50001], "training.snapshots: [0.5, 0.50001]; allowed: each another of"),
    ("training.snapshots", [0.5, 0.99999], "training.snapshots: [0.5, 0.99999]; allowed: each another of"),
    ("training.snapshots", [1.5], "training.snapshots: 1.5; allowed: more than 0 and less than 1"),
    ("convergence.sampler", "ancestral", 'convergence.sampler: "ancestral"; allowed: ddim, euler, heun, dpmpp-2m'),
    ("tune.seeds", [1000, 1], "tune.seeds: 1 is one of seeds"),
    ("data.split_seed", 2**32, "data.split_seed: 4294967296; allowed: at most 4294967295"),
    ("training.grad_clip", 10**30, "allowed: at most 1000000000"),
    ("training.images", 10**10, "training.images: 10000000000; allowed: at most 1000000000"),
    ("convergence.within", [10**30], "allowed: at most 1000000"),
    ("sampling.arms.sd1.interval.interval", [-(10**30), 0], "allowed: at least -1000"),
    ("probe.log_snr", [0, 10**30], "allowed: at most 1000"),
    ("paradigms.dit.size.width", 10**30, "allowed: a positive integer up to 4096"),
    ("probe.log_snr", [1, 0], "probe.log_snr: [1, 0]; allowed: edges in rising order"),
    ("sampling.arms.nobody", {"a": {"sampler": "ddim", "steps": 4}}, "sampling.arms.nobody: no such paradigm"),
    ("sampling.arms.sd1.leading.sampler", "magic", 'sampling.arms.sd1.leading.sampler: "magic" is not registered'),
    ("sampling.arms.sd1.leading.eta", 2, "sampling.arms.sd1.leading.eta: 2; allowed: at most 1"),
    ("sampling.arms.sd1.leading.variance", "small", "sampling.arms.sd1.leading.variance: only ancestral takes it"),
    ("sampling.arms.sd1.leading.guidance", KeyError, "sampling.arms.sd1.leading.guidance: missing"),
    ("sampling.arms.sd1.leading.rescale", 0.5, "sampling.arms.sd1.leading.rescale: changes nothing at guidance 1"),
    (
        "sampling.arms.sd1.interval.interval",
        [4, -2],
        "sampling.arms.sd1.interval.interval: [4, -2]; allowed: the lower",
    ),
    ("sampling.arms.ddpm.eta-half.guidance", 2, "sampling.arms.ddpm.eta-half.guidance: 2, but the paradigm is uncond"),
    ("sampling.arms.ddpm.article-step.steps", 1, "sampling.arms.ddpm.article-step.steps: 1; allowed: at least 2"),
    (
        "sampling.arms.sd2-ztsnr.leading.sampler",
        "ddim-article",
        "paradigms.sd2-ztsnr.samplers: ddim-article divides by the signal",
    ),
]


@pytest.mark.parametrize(("key", "value", "line"), MISTAKES, ids=[f"{key}={value}" for key, value, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(workplace, capsys, key, value, line):
    edit(workplace / "params.yaml", at(key, value))
    (workplace / "results").mkdir()
    (workplace / "results/kept").write_text("kept")
    assert cli.main(["params"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("error: params.yaml: ") and line in said[0]
    assert (workplace / "results/kept").read_text() == "kept"


@pytest.mark.parametrize("text", ["1e-05", "1E-5", "1.e-5", "1.0e-05", "0.00001"])
def test_a_number_may_be_written_as_dvc_writes_it(workplace, text):
    path = workplace / "params.yaml"
    path.write_text(path.read_text().replace("lr: 0.0005", f"lr: {text}", 1))
    assert runs.load("mnist").paradigms["ddpm"].lr == 1e-5


def test_the_code_of_another_checkout_is_refused(workplace):
    """Its results would be taken for those of the code that is seen, and verify would agree."""
    shutil.copy(ROOT / "Snakefile", workplace)
    for name in ("workflow/rules", "workflow/report", "profiles"):
        shutil.copytree(ROOT / name, workplace / name)
    shutil.copytree(ROOT / "src/diffbench", workplace / "src/diffbench", ignore=shutil.ignore_patterns("__pycache__"))
    elsewhere = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    line = f"the diffbench that runs is {ROOT / 'src/diffbench'}, not this checkout's {workplace / 'src/diffbench'}"
    for command, code in ((["-m", "diffbench", "params"], 2), (["-m", "snakemake", "-n", "--cores", "1"], 2)):
        done = subprocess.run(
            [sys.executable, *command], cwd=workplace, env=elsewhere, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code and f"error: {line}" in done.stderr, done.stderr[-2000:]
        assert "Traceback" not in done.stderr
    own = os.environ | {"PYTHONPATH": str(workplace / "src")}
    call = [sys.executable, "-m", "diffbench", "params"]
    assert subprocess.run(call, cwd=workplace, env=own, capture_output=True, check=False).returncode == 0


def test_neighbours_must_be_fewer_than_images(workplace, capsys):
    edit(workplace / "params.yaml", at("sampling.images", 20))
    edit(workplace / "params.yaml", at("evaluation.neighbours", 20))
    assert cli.main(["params"]) == 2
    said = capsys.readouterr().err
    assert said == "error: params.yaml: evaluation.neighbours: 20; allowed: less than sampling.images, 20\n"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")])
def test_memory_that_runs_out_is_one_line(workplace, capsys, monkeypatch, error):
    def fail(params, arguments):
        raise error

    monkeypatch.setitem(cli.ON_REQUEST, "disk", (fail, ""))
    assert cli.main(["disk", "mnist"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: disk: out of memory; choose smaller batches") and said.count("\n") == 1


def test_several_mistakes_are_told_together(workplace, capsys):
    for key, value in (("seeds", []), ("training.ema", 2), ("paradigms.sd2.target", 7)):
        edit(workplace / "params.yaml", at(key, value))
    assert cli.main(["train", "mnist", "--paradigm", "sd1", "--seed", "0"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
    shutil.copy(workplace / "workflow/presets/mnist.yaml", workplace / "params.yaml")
    for key, value in (
        ("paradigms.sd1.path", "x"),
        ("paradigms.dit.network", "y"),
        ("sampling.guidance.sweep_steps", 3),
    ):
        edit(workplace / "params.yaml", at(key, value))
    assert cli.main(["params"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\nname: b\n", "params.yaml:2: 'name' is given twice; remove one"),
        ("paradigms:\n  sd1: {lr: 1}\n  sd1: {lr: 2}\n", "params.yaml:3: 'sd1' is given twice"),
        ("name: [\n", "params.yaml:2: "),
        ("- a\n- b\n", "params.yaml: holds list, expected a mapping"),
        ("", "params.yaml: holds NoneType"),
        ("name: !!python/object/apply:os.system [id]\n", "params.yaml:1: could not determine a constructor"),
        ("name: \x00\n", "params.yaml"),
        ("? [a, b]\n: 1\n", "params.yaml:1: keys must be plain words"),
    ],
)
def test_files_that_are_not_params(workplace, capsys, text, line):
    (workplace / "params.yaml").write_text(text)
    assert cli.main(["params"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and line in said[0], said


def test_a_missing_file_and_unknown_choices(workplace, capsys):
    assert cli.main(["data", "nothing"]) == 2
    assert cli.main(["train", "smoke", "--paradigm", "sd9", "--seed", "0"]) == 2
    assert cli.main(["train", "smoke", "--paradigm", "sd1", "--seed", "5"]) == 2
    assert cli.main(["sample", "smoke", "--paradigm", "sd1", "--seed", "0", "--steps", "native"]) == 2
    (workplace / "params.yaml").unlink()
    assert cli.main(["data", "smoke"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 5
    assert "--steps native: not in params; allowed: 2, 4" in said[3]
    assert "params.yaml: not found; run from the root of the repository" in said[4]


def _leaves(node, path=()):
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, (*path, key))
    else:
        yield path


@given(data=st.data())
@settings(max_examples=60)
def test_fuzzed_params_are_accepted_or_refused_in_lines(data):
    raw = config.overlay(read_yaml(config.PRESETS / "mnist.yaml"), {})
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(_leaves(raw), key=str)))
        node = raw
        for key in path[:-1]:
            node = node[key]
        value = data.draw(
            st.one_of(
                st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(), st.text(max_size=8),
                st.lists(st.integers(-3, 2000), max_size=3),
                st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
            )
        )  # fmt: skip
        node[path[-1]] = value
    try:
        runs.check(raw, "params.yaml")
    except UserError as error:
        lines = str(error).splitlines()
        assert lines and all(line.startswith("params.yaml: ") and len(line) < 400 for line in lines)
    else:
        models.build(raw)


def test_the_grid_of_a_paradigm(workplace):
    params = runs.load("mnist")
    assert design.step_values(params, "ddpm") == ["1", "2", "4", "8", "12", "20", "50", "100", "native", "arms"]
    assert design.step_values(params, "sd2-ztsnr")[-1] == "arms" and design.step_values(params, "dit-v")[-1] == "100"
    scales = lambda seed, steps, sampler: [  # noqa: E731
        cell.guidance for cell in design.cells(params, "unet-velocity", seed, steps) if cell.sampler == sampler
    ]
    assert scales(1, "8", "euler") == [1, 2]
    assert scales(1, "20", "euler") == scales(0, "8", "euler") == [0, 1, 1.5, 2, 4, 7.5]
    assert scales(1, "20", "heun") == scales(0, "8", "dpmpp-2m") == [1, 2], "only the first sampler is swept"
    assert {cell.sampler for cell in design.cells(params, "ddpm", 0, "8")} == {"ddim", "ancestral", "heun", "dpmpp-2m"}
    assert [(c.sampler, c.steps, c.guidance) for c in design.cells(params, "ddpm", 0, "native")] == [
        ("ancestral", 1000, 0.0)
    ]
    assert [(c.sampler, c.guidance) for c in design.selecting(params, "sd1", 0, "20")] == [("ddim", 1), ("ddim", 2)]
    assert design.selecting(params, "sd1", 0, "8") == design.selecting(params, "ddpm", 0, "20") == []
    arms = {cell.arm: cell for cell in design.cells(params, "sd1", 0, "arms")}
    assert arms["leading"].spacing == "leading" and arms["trailing"].spacing == "trailing"
    own = {cell.arm: cell for cell in design.cells(params, "unet-eps", 0, "arms")}
    assert [arm for arm, cell in own.items() if cell.precision == "float32"] == ["float32-2", "float32-20"]
    assert own["flow-grid-8"].spacing == own["straight-8"].spacing == "trailing@linear"
    assert own["flow-grid-8"].path is None and own["straight-8"].path == "linear"
    assert arms["interval"].interval == (-2, 4) and arms["rescale"].rescale == 0.7
    assert {c.options["reading"] for c in design.cells(params, "ddpm", 0, "arms") if c.arm.startswith("article")} == {
        "step", "ratio", "beta",
    }  # fmt: skip


def test_the_grid_of_networks_and_objectives_is_whole(workplace):
    """design: {unet, dit, mmdit} x {eps, v, velocity}, and rows of one network differ in nothing but the objective."""
    rows = runs.load("mnist").paradigms.values()
    objectives = {
        ("eps", "vp-linear", "uniform"), ("v", "vp-linear", "uniform"), ("velocity", "linear", "logit-normal"),
    }  # fmt: skip
    cells = [(r.network, (r.target, r.path, r.times)) for r in rows if r.conditional]
    grid = [cell for cell in cells if cell[1] in objectives]
    assert len(grid) == len(set(grid)) == 9 and {network for network, _ in grid} == {"unet", "dit", "mmdit"}
    for network in ("unet", "dit", "mmdit"):
        assert len({str(r.size) for r in rows if r.network == network and r.conditional}) == 1


def test_the_default_run_depends_on_the_machine_and_on_edits(workplace, monkeypatch):
    monkeypatch.setattr(runs, "cuda_devices", lambda: 0)
    assert runs.default()[0] == "digits"
    monkeypatch.setattr(runs, "cuda_devices", lambda: 1)
    assert runs.default()[0] == "mnist"
    monkeypatch.setattr(runs, "cuda_devices", lambda: 0)
    edit(workplace / "params.yaml", at("training.ema", 0.99))
    assert runs.default()[0] == "mnist", "edited params are what the user wants to run"


def test_a_stage_that_lacks_its_device_says_the_way_out(workplace, monkeypatch):

    monkeypatch.setattr(device, "cuda_devices", lambda: 0)
    with pytest.raises(UserError, match="python -m diffbench params --preset digits --write"):
        device.prepare(runs.load("mnist").compute)


def test_presets_become_params_and_edits_are_kept(workplace, capsys):
    for name in ("digits", "smoke", "mnist"):
        assert cli.main(["params", "--preset", name, "--write"]) == 0
        assert read_yaml(config.PARAMS) == config.preset(name)
        assert runs.load(name).raw == config.preset(name)
    assert (workplace / "params.yaml").read_text() == (workplace / "workflow/presets/mnist.yaml").read_text()
    edit(workplace / "params.yaml", at("training.ema", 0.5))
    capsys.readouterr()
    assert cli.main(["params", "--preset", "digits", "--write"]) == 2
    assert "holds edits" in capsys.readouterr().err
    assert runs.load("mnist").training.ema == 0.5
    assert cli.main(["params", "--preset", "digits", "--write", "--force"]) == 0
    assert cli.main(["params", "--preset", "nosuch", "--write"]) == 2
