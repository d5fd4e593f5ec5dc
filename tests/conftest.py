"""Shared fixtures: the repository's root, analytic denoisers, and a small run to work on."""

import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from diffbench import runs
from diffbench.runtime.places import Places

ROOT = Path(__file__).parent.parent

settings.register_profile("diffbench", deadline=None)  # a busy machine is not a failure
settings.load_profile("diffbench")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    """The repository's root as working directory, wherever pytest or an earlier test was; others move on from it."""
    monkeypatch.chdir(ROOT)
    return ROOT


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A working directory with the params, presets and schema of the repository and nothing else."""
    (tmp_path / "workflow").mkdir()
    for name in ("presets", "schemas"):
        shutil.copytree(ROOT / "workflow" / name, tmp_path / "workflow" / name)
    shutil.copy(ROOT / "workflow/presets/mnist.yaml", tmp_path / "params.yaml")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder in which the smoke run's data, classifier and reference are made; copy it, do not write to it."""
    from diffbench import cli

    folder = tmp_path_factory.mktemp("prepared")
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    shutil.copy(ROOT / "workflow/presets/mnist.yaml", folder / "params.yaml")
    shutil.copy(ROOT / "dvc.yaml", folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        for stage in ("data", "classifier", "reference"):
            assert cli.main([stage, "smoke"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def smoke(prepared, tmp_path, monkeypatch):
    """The checked params of the smoke run, in a copy of ``prepared``."""
    folder = tmp_path / "smoke"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return runs.load("smoke")


@pytest.fixture
def places(smoke):
    """Where the files of the smoke run lie."""
    return Places(smoke.name)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A committed clone in which ``snakemake smoke`` has run once; its time and output beside it."""
    from clones import cloned, run

    folder = cloned(tmp_path_factory.mktemp("pipeline") / "clone")
    started = time.monotonic()
    output = run("snakemake", "--cores", "2", "smoke", cwd=folder)
    return folder, time.monotonic() - started, output


@pytest.fixture(scope="session")
def both(finished, tmp_path_factory):
    """A committed clone in which smoke is params.yaml, and both engines find all current; copy it."""
    from clones import fresh, run

    clone = fresh(finished, tmp_path_factory.mktemp("both"))
    run("python", "-m", "diffbench", "params", "--preset", "smoke", "--write", cwd=clone)
    run("git", "add", "-A", cwd=clone)
    run("git", "add", "-f", "reports/smoke", cwd=clone)
    run("git", "commit", "-qm", "smoke is params.yaml", cwd=clone)
    return clone, 0.0, ""
