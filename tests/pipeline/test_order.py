"""Snakemake and DVC in any order, older revisions, experiments, and results that come from a remote."""

import csv
import hashlib
import json
import logging
import os
import re
import resource
import shutil
from pathlib import Path

import boto3
import pytest
import yaml
from clones import cloned, differing, edit_params, fresh, planned, run, steady

from diffbench import cli, runs
from diffbench.pipeline.jobs import jobs

pytestmark = pytest.mark.engines

ROW = "paradigms.sd1.lr"


def diffbench(*arguments: str, cwd: Path, code: int = 0) -> str:
    return run("python", "-m", "diffbench", *arguments, cwd=cwd, code=code)


def ran(output: str) -> set[str]:
    """The stages that DVC ran, and with a star those that it restored."""
    found = re.findall(r"(?:Running stage|Stage) '([^']+)'(?::| is cached)", output)
    restored = set(re.findall(r"Stage '([^']+)' is cached", output))
    return {f"{name}*" if name in restored else name for name in found}


def clean(clone: Path) -> bool:
    return planned(clone) == {} and "up to date" in run("dvc", "status", cwd=clone)


def commit(clone: Path, message: str) -> None:
    run("git", "add", "-A", cwd=clone)
    run("git", "commit", "-qm", message, cwd=clone)


@pytest.mark.slow
def test_either_engine_after_the_other_and_back(both, tmp_path):
    """Snakemake, DVC, what DVC shows of the change, the change reverted, the older revision checked out."""
    clone = fresh(both, tmp_path)
    before = steady(clone)
    edit_params(clone, ROW, 0.003)
    run("snakemake", "--cores", "2", cwd=clone)
    assert "up to date" in run("dvc", "repro", cwd=clone), "what Snakemake made, DVC accepts"
    assert clean(clone) and differing(steady(clone), before)
    commit(clone, "another rate")

    rows = json.loads(run("dvc", "metrics", "diff", "--json", "HEAD~1", cwd=clone))
    moved = {name for name in rows["reports/smoke/headline.json"] if not name.startswith("best_")}
    assert moved == {"fid.sd1"}, "one row's figures differ"
    run("dvc", "plots", "diff", "HEAD~1", cwd=clone)
    page = (clone / "dvc_plots/index.html").read_text()
    assert "HEAD~1" in page and "workspace" in page and '"nfe"' in page and '"fid"' in page

    edit_params(clone, ROW, 0.002)
    stages = ran(run("dvc", "repro", cwd=clone))
    assert "train@sd1-0*" in stages and "probe@sd1-0*" in stages, "DVC restores what it has in its cache"
    assert not [name for name in stages if "@" in name and "@sd1" not in name]
    assert clean(clone), "Snakemake accepts what DVC restored"
    assert differing(steady(clone), before) == []
    commit(clone, "the old rate")

    run("git", "checkout", "-q", "HEAD~1", cwd=clone)
    run("dvc", "checkout", cwd=clone)
    assert planned(clone)["train"] == 1, "Snakemake made these files of other params, as far as it knows"
    output = diffbench("adopt", "smoke", cwd=clone, code=2)
    assert "results/smoke/samples/sd1/0/2.npz: changed" in output, "images are in no cache, and stay behind"
    cure = re.search(r"'python -m diffbench (prune smoke --yes)'", output)[1]
    assert diffbench(*cure.split(), cwd=clone).count("images of another state") == 3
    diffbench("adopt", "smoke", cwd=clone)
    assert planned(clone) == {}
    assert "up to date" in run("dvc", "repro", "--allow-missing", cwd=clone)


def test_a_checkout_of_an_older_revision_is_made_current_by_snakemake(both, tmp_path):
    """Records, tables and manifest of another state are made again, none is believed."""
    clone = fresh(both, tmp_path)
    edit_params(clone, "evaluation.neighbours", 4)
    commit(clone, "another count of neighbours, results not made")
    run("dvc", "checkout", cwd=clone)
    assert planned(clone)["evaluate"] == 5
    assert "evaluation.neighbours was 5 and is 4" in diffbench("adopt", "smoke", cwd=clone, code=2)
    run("git", "checkout", "-q", "HEAD~1", cwd=clone)
    run("dvc", "checkout", cwd=clone)
    assert clean(clone)


@pytest.mark.slow
def test_files_that_snakemake_has_no_records_of_are_not_refused_for_ever(both, tmp_path):
    """As of a dvc repro that was killed before its manifest: Snakemake takes them for current, the next job not."""
    clone = fresh(both, tmp_path)
    shutil.rmtree(clone / ".snakemake")
    for name in ("manifest.json", "samples/sd1/0/2.npz", "samples/sd1/0/2.json", "records/sample/sd1/0/2.json"):
        (clone / "results/smoke" / name).unlink()
    edit_params(clone, ROW, 0.003)
    output = run("snakemake", "--cores", "2", cwd=clone, code=1)
    cure = re.search(r"paradigms.sd1.lr was 0.002 and is 0.003; run '(snakemake [^']*--forcerun [^']*)'", output)[1]
    run(*cure.split(), cwd=clone)
    diffbench("verify", "smoke", cwd=clone)
    assert clean(clone)


def test_images_of_another_state_are_pruned_and_those_of_this_one_kept(both, tmp_path, monkeypatch, capsys):
    """A checkout leaves images behind that the results beside them were not scored on."""
    monkeypatch.chdir(fresh(both, tmp_path))
    images = sorted(Path("results/smoke/samples").rglob("*.npz"))
    images[0].write_bytes(images[1].read_bytes())
    assert cli.main(["adopt", "smoke"]) == 2
    said = capsys.readouterr().err
    assert f"{images[0]}: changed" in said and "run 'python -m diffbench prune smoke --yes'" in said
    assert cli.main(["prune", "smoke"]) == 0 and images[0].exists()
    assert f"would delete {images[0]}: images of another state" in capsys.readouterr().out
    assert cli.main(["prune", "smoke", "--yes"]) == 0
    assert sorted(Path("results/smoke/samples").rglob("*.npz")) == images[1:]
    assert cli.main(["verify", "smoke"]) == 0, "images may be deleted"


@pytest.mark.slow
def test_an_experiment_is_a_change_like_another(both, tmp_path):
    """dvc exp run -S leaves both engines content; exp show lists it beside its parent."""
    clone = fresh(both, tmp_path)
    output = run("dvc", "exp", "run", "--name", "faster", "-S", f"{ROW}=0.003", cwd=clone)
    assert "faster" in output and "train@sd1-0" in ran(output)
    assert clean(clone)
    shown = list(csv.DictReader(run("dvc", "exp", "show", "--csv", cwd=clone).splitlines()))
    rates = {row["Experiment"] or row["rev"]: row[ROW] for row in shown}
    assert rates["faster"] == "0.003" and "0.002" in rates.values()
    assert {row["fid.sd1"] for row in shown if row["Experiment"] == "faster"} != {""}


@pytest.fixture
def s3(monkeypatch):
    """The address of an S3 server in this process, with a bucket."""
    from moto.server import ThreadedMotoServer

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    address = "http://{}:{}".format(*server.get_host_and_port())
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="bucket")
    yield address
    server.stop()


@pytest.mark.slow
def test_results_from_a_remote(both, tmp_path, s3):
    """dvc push, then in a fresh clone dvc pull and adopt: nothing is left to do, and a change runs what it touches.

    A folder as the remote is in test_dvc_day.py.
    """
    clone, other = fresh(both, tmp_path), tmp_path / "other"
    run("dvc", "remote", "add", "-d", "storage", "s3://bucket/path", cwd=clone)
    run("dvc", "remote", "modify", "storage", "endpointurl", s3, cwd=clone)
    commit(clone, "a remote")
    cached = {path.parent.name + path.name for path in (clone / ".dvc/cache/files/md5").rglob("*") if path.is_file()}
    images = {hashlib.md5(path.read_bytes()).hexdigest() for path in (clone / "results/smoke/samples").rglob("*.npz")}
    assert len(cached) > 100 and images and not images & cached, "images are kept once"
    assert "files pushed" in run("dvc", "push", cwd=clone)
    run("git", "clone", "-q", str(clone), str(other), cwd=tmp_path)
    run("dvc", "pull", cwd=other)
    assert "adopt smoke" in run("snakemake", "--cores", "1", "-n", cwd=other, code=2)
    diffbench("adopt", "smoke", cwd=other)
    assert planned(other) == {}
    assert "up to date" in run("dvc", "repro", "--allow-missing", cwd=other), "images alone are missing, and stay so"
    assert not run("git", "status", "--short", cwd=other), "dvc.lock is as it was"
    lacking = differing(steady(other), steady(clone))
    assert lacking and all(re.fullmatch(r"results/smoke/samples/.*npz", name) for name in lacking)
    path = other / "workflow/claims.yaml"
    path.write_text(path.read_text().replace("margin: ", "margin: 1", 1))
    assert planned(other) == {"claims": 1, "report": 1, "manifest": 1, "smoke": 1}
    run("snakemake", "--cores", "2", cwd=other)
    assert planned(other) == {}
    assert "up to date" in run("dvc", "repro", "--allow-missing", cwd=other)
    (other / "results/smoke/reference.npz").write_bytes(b"damaged")
    assert "results/smoke/reference.npz: changed" in diffbench("adopt", "smoke", cwd=other, code=2)


@pytest.mark.slow
def test_nothing_to_do_is_found_in_seconds(tmp_path, monkeypatch):
    """In a run of at most 190 jobs, its files made up; in seconds of a processor, to which a busy machine adds little.

    That is digits with seven rows. DVC (3.67) spends 25 ms on each stage, half of it to parse params.yaml anew, so the
    268 stages of all digits take 6.8 s.
    """
    clone = cloned(tmp_path / "clone")
    diffbench("params", "--preset", "digits", "--write", cwd=clone)
    whole = yaml.safe_load((clone / "params.yaml").read_text())
    kept = ("ddpm", "sd1", "sd2", "dit", "sd3", "unet-eps", "unet-velocity")
    rows = {key: whole["paradigms"][key] for key in kept}
    arms = {key: own for key, own in whole["sampling"]["arms"].items() if key in rows}
    edit_params(clone, "paradigms", rows)
    edit_params(clone, "sampling.arms", arms)
    monkeypatch.chdir(clone)
    made = list(jobs(runs.load("digits")))
    assert 170 <= len(made) <= 190
    for job in made:
        for path in map(Path, job.outputs):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'{{"made up": "{path}"}}')
    Path("results/digits/manifest.json").write_text("{}")
    commit(clone, "made-up results")
    run("dvc", "commit", "--force", "--no-relink", cwd=clone)
    run("snakemake", "--cores", "1", "--touch", "--forceall", "results/digits/manifest.json", cwd=clone)
    for command, said in (
        (["snakemake", "-n", "--cores", "2"], "Nothing to be done"),
        (["dvc", "status"], "up to date"),
    ):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert said in run(*command, cwd=clone)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        print(f"{command[0]}: {seconds:.1f} s")
        assert seconds < 5, f"{command[0]} took {seconds:.1f} s"
