"""Snakemake's and DVC's graphs are one: the same jobs, commands, inputs, outputs and tracked params."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clones import environment
from conftest import ROOT

from diffbench import runs
from diffbench.pipeline import manifest

SNAKEMAKE = """
import json, sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import *
from snakemake.settings.enums import Quietness
with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    flow = api.workflow(resource_settings=ResourceSettings(cores=1), config_settings=ConfigSettings(),
                        storage_settings=StorageSettings(), snakefile=Path("Snakefile"))
    with redirect_stdout(StringIO()):
        flow.dag(DAGSettings(targets={sys.argv[1]}, forceall=True)).printd3dag()
    jobs = [job for job in flow._workflow.dag.jobs if job.output]
    print(json.dumps([{"rule": job.rule.name, "command": job.shellcmd, "inputs": sorted(map(str, job.input)),
                       "outputs": sorted(map(str, job.output)), "params": sorted(job.params.tracked)} for job in jobs]))
"""

DVC = """
import json
from dvc.repo import Repo
from dvc.dependency import ParamsDependency
stages = []
for stage in Repo(".").index.stages:
    params = [d for d in stage.deps if isinstance(d, ParamsDependency)]
    stages.append({"name": stage.name, "command": stage.cmd,
                   "inputs": sorted(d.def_path for d in stage.deps if not isinstance(d, ParamsDependency)),
                   "outputs": sorted(o.def_path for o in stage.outs),
                   "params": sorted(key for d in params for key in (d.params or [d.def_path]))})
print(json.dumps(stages))
"""


def ask(script, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=cwd, capture_output=True, text=True, env=environment(cwd)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["smoke", "digits", "mnist", "mnist-small"])
def graphs(request, tmp_path_factory):
    """Both graphs of a preset that is params.yaml, by the set of their outputs."""
    folder = tmp_path_factory.mktemp("drift")
    for name in ("src", "workflow", "profiles", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "cache", "tmp"))
    for name in ("Snakefile", "dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "reports/reference/one/tables").mkdir(parents=True)
    (folder / "reports/reference/one/tables/cells.parquet").touch()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    write = [sys.executable, "-m", "diffbench", "params", "--preset", request.param, "--write", "--force"]
    subprocess.run(write, cwd=folder, check=True, capture_output=True, env=environment(folder))
    jobs = ask(SNAKEMAKE, request.param, cwd=folder)
    stages = ask(DVC, cwd=folder)
    return {frozenset(j["outputs"]): j for j in jobs}, {frozenset(s["outputs"]): s for s in stages}


def test_the_same_jobs_make_the_same_files(graphs):
    snakemake, dvc = graphs
    assert set(snakemake) == set(dvc) and len(dvc) > 20


def test_the_manifest_lists_every_output(graphs, at_root):
    """What it does not list would be neither verified nor adopted."""
    _, dvc = graphs
    made = {path for outputs in dvc for path in outputs if not path.endswith("/manifest.json")}
    run = next(path.split("/")[1] for path in made if path.startswith("results/"))
    assert {path.as_posix() for path in manifest.outputs(runs.load(run))} == made


def test_commands_are_the_same(graphs):
    snakemake, dvc = graphs
    for outputs, job in snakemake.items():
        assert re.sub(r"\s*2?>.*", "", job["command"]).strip() == dvc[outputs]["command"].strip()


def test_tracked_params_are_the_same(graphs):
    snakemake, dvc = graphs
    for outputs, job in snakemake.items():
        assert job["params"] == dvc[outputs]["params"], job["rule"]


def test_inputs_are_the_same(graphs):
    """DVC's fan-in needs folders; each must stand for files that Snakemake lists, and list nothing else.

    A folder of records stands for themselves or for all the files that they describe.
    """
    snakemake, dvc = graphs
    made = {path for own in dvc for path in own}
    for outputs, job in snakemake.items():
        files = {path for path in job["inputs"] if not path.endswith("/")}
        folders = [path for path in dvc[outputs]["inputs"] if "." not in path.rsplit("/", 1)[-1]]
        single, covered = set(dvc[outputs]["inputs"]) - set(folders), set()
        for folder in folders:
            inside = {path for path in made if path.startswith(f"{folder}/")}
            described = {path for own in dvc if own & inside for path in own} - inside
            listed = {path for path in files if path.startswith(f"{folder}/")}
            if folder == "reports/reference":
                assert listed == {"reports/reference/one/tables/cells.parquet"}
            elif "/records/" in folder and not listed:
                assert described and described <= files, (job["rule"], sorted(described - files)[:3])
                listed = described
            elif folder.startswith(("results/", "reports/")):
                # DVC hashes the whole folder; what a stage does not read of it may stand beside what it does.
                read = {path for path in inside if Path(path).suffix in {Path(name).suffix for name in listed}}
                assert read == listed, (job["rule"], sorted(read - listed)[:3])
            assert listed, (job["rule"], folder)
            covered |= listed
        others = {path for path in single - files if path.startswith("src/diffbench/data/sources/")}
        assert single - others == files - covered, job["rule"]  # Snakemake asks for the run's own data set alone
