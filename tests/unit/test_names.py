"""Runs and rows may be called as the folders and files they lie in: no name makes one file pass for another."""

import copy
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from dvc.repo import Repo

from diffbench import config
from diffbench.config.checks import STAGES
from diffbench.config.models import build
from diffbench.pipeline.jobs import jobs
from diffbench.pipeline.records import Graph, deletable

NAMES = re.compile(r"[a-z][a-z0-9-]{0,40}")
RUN, ROW = "smoke", "sd1"


def smoke():
    return config.overlay(
        yaml.safe_load((ROOT / "workflow/presets/mnist.yaml").read_text()),
        yaml.safe_load((ROOT / "workflow/presets/smoke.yaml").read_text()),
    )


def layout() -> list[str]:
    """The words that a run's files, both engines' files and their lists of what is ignored are made of."""
    paths = [path for job in jobs(build(smoke())) for path in job.outputs]
    paths += [
        "logs",
        "src/diffbench/stages",
        "workflow/extensions",
        "checkpoints",
        "locks",
        "workflow/tuning",
        "native",
        "arms",
        "all",
    ]
    for name in (".dvcignore", ".gitignore"):
        paths += [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    words = {word for path in paths for part in Path(path).parts for word in (part, part.split(".")[0])}
    return sorted(word for word in words if NAMES.fullmatch(word) and word not in (RUN, *smoke()["paradigms"]))


WORDS = layout()


def test_the_words_are_those_of_the_layout():
    assert {"records", "samples", "logs", "build", "train", "results", "tables", "native", "checkpoints"} <= {*WORDS}


def renamed(params: dict, run: str, row: str) -> dict:
    params = copy.deepcopy(params)
    params["name"] = run
    params["paradigms"] = {row if key == ROW else key: value for key, value in params["paradigms"].items()}
    for kind in ("native", "arms"):
        own = params["sampling"][kind]
        params["sampling"][kind] = {row if key == ROW else key: value for key, value in own.items()}
    return params


def graph(params: dict) -> dict[str, tuple]:
    """For each job what it reads and from whom, its record, and which of its files may be deleted."""
    found = Graph(build(params))
    return {
        job.command: (
            found.inputs(job),
            [maker.command for maker in found.makers(job)],
            job.record.as_posix(),
            [path for path in job.outputs if deletable(path)],
        )
        for job in found.jobs
    }


@pytest.fixture
def plain(at_root):
    """The graph under names that are no folder's."""
    return repr(graph(renamed(smoke(), "a-run-of-no-folder", "a-row-of-no-folder")))


@pytest.mark.parametrize("word", WORDS)
def test_a_run_or_row_called_as_a_folder_changes_nothing(plain, word):
    """A row called as the folder of records once passed its weights for its record."""
    for run, row in ((RUN, word), (word, ROW), (word, word)):
        if run in STAGES:  # refused: Snakemake's rules have these names
            continue
        expected = plain.replace("a-run-of-no-folder", run).replace("a-row-of-no-folder", row)
        assert repr(graph(renamed(smoke(), run, row))) == expected


def test_no_name_is_ignored_by_dvc_or_git(tmp_path):
    """DVC refuses an output that it ignores, after hours of training; what people read must get into Git."""
    for name in (".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".dvc").mkdir()
    ignore = Repo(str(tmp_path)).dvcignore
    words = [word for word in WORDS if word not in STAGES]
    outputs = [path for word in words for job in jobs(build(renamed(smoke(), word, word))) for path in job.outputs]
    for path in {Path(path).parent for path in outputs}:
        assert not ignore.is_ignored_dir(str(tmp_path / path)), path
    pages = [f"reports/{word}/report.html" for word in words]
    call = subprocess.run(["git", "check-ignore", *pages], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert call.stdout == "", call.stdout
