"""What a change reruns, in both engines, and that neither ever takes stale results for current."""

import csv
import importlib.metadata
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from clones import edit_params, fresh, planned, run

from diffbench import cli, device, runs
from diffbench.pipeline import disk, engines, records
from diffbench.runtime import hardware
from diffbench.runtime.files import read_json, sha256
from diffbench.runtime.places import Places
from diffbench.tables import provenance

pytestmark = pytest.mark.engines

END = ("aggregate", "claims", "report", "manifest", "smoke")
ALL_ROWS = 5


def jobs(**counts: int) -> dict[str, int]:
    """Planned jobs by rule, with the tables, the page and the target that follow from any."""
    return counts | dict.fromkeys(END, 1)


def set_param(key, value):
    return lambda clone: edit_params(clone, key, value)


def append(path, text):
    def change(clone):
        with (clone / path).open("a") as file:
            file.write(text)

    return change


def reorder(clone):
    path = clone / "params.yaml"
    params = yaml.safe_load(path.read_text())
    path.write_text("# a comment\n" + yaml.safe_dump(params, sort_keys=True))


def touch(clone):
    for path in (clone / "src").rglob("*.py"):
        path.touch()
    (clone / "params.yaml").touch()


def delete(path):
    return lambda clone: (clone / path).unlink()


def add_paradigm(clone):
    rows = yaml.safe_load((clone / "params.yaml").read_text())["paradigms"]
    edit_params(clone, "paradigms.extra", rows["sd1"] | {"label": "Another"})


def edit_source(name, old, new, time=None):
    def apply(clone):
        path = clone / "src/diffbench" / name
        text = path.read_text()
        assert text.count(old) >= 1, old
        path.write_text(text.replace(old, new))
        if time is not None:
            os.utime(path, (time, time))

    return apply


def widen_margin(clone):
    path = clone / "workflow/claims.yaml"
    path.write_text(path.read_text().replace("margin: ", "margin: 1", 1))


# What is changed; the jobs Snakemake plans; the stages that DVC finds changed before it knows what comes of them.
CHANGES = {
    "a learning rate": (
        set_param("paradigms.sd1.lr", 0.003),
        jobs(train=1, sample=3, evaluate=1, convergence=1, probe=1),
        {"train": 1, "aggregate": 1, "claims": 1, "report": 1, "manifest": 1},
    ),
    "a step count added": (
        set_param("sampling.steps", [2, 4, 5]),
        jobs(sample=ALL_ROWS, evaluate=ALL_ROWS),
        {"sample": 5, "evaluate": 5, "aggregate": 1, "report": 1, "manifest": 1},
    ),
    "a step count removed": (
        set_param("sampling.steps", [2]),
        jobs(evaluate=ALL_ROWS),
        {"evaluate": 5, "aggregate": 1, "report": 1, "manifest": 1},
    ),
    "a guidance scale added": (
        set_param("sampling.guidance.sweep", [0, 1, 2, 3]),
        jobs(sample=2 * ALL_ROWS + 4, evaluate=ALL_ROWS),
        {"sample": 14, "evaluate": 5, "aggregate": 1, "report": 1, "manifest": 1},
    ),
    "neighbours of the metrics": (
        set_param("evaluation.neighbours", 4),
        jobs(reference=1, evaluate=ALL_ROWS, convergence=ALL_ROWS),
        {"reference": 1, "evaluate": 5, "convergence": 5, "aggregate": 1, "manifest": 1},
    ),
    "a claim's margin": (
        widen_margin,
        {"claims": 1, "report": 1, "manifest": 1, "smoke": 1},
        {"claims": 1, "manifest": 1},
    ),
    "the page's style": (
        append("src/diffbench/report/templates/page.css", "\n/* an edit */\n"),
        {"report": 1, "manifest": 1, "smoke": 1},
        {"report": 1, "manifest": 1},
    ),
    "a comment and the order of keys": (reorder, {}, {}),
    "a touch": (touch, {}, {}),
    "the page deleted": (
        delete("reports/smoke/report.html"),
        {"report": 1, "manifest": 1, "smoke": 1},
        {"report": 1, "manifest": 1},
    ),
    "a table deleted": (
        delete("reports/smoke/tables/claims.csv"),
        {"claims": 1, "report": 1, "manifest": 1, "smoke": 1},
        {"claims": 1, "report": 1},
    ),
    "the metrics deleted": (
        delete("reports/smoke/metrics.json"),
        jobs(),
        {"aggregate": 1},
    ),
    "the source of sampling": (
        append("src/diffbench/diffusion/guidance.py", "\n# an edit\n"),
        jobs(sample=14, evaluate=ALL_ROWS, convergence=ALL_ROWS, probe=ALL_ROWS),
        {"sample": 14, "convergence": 5, "probe": 5, "manifest": 1},
    ),
    "where the times of a cell lie": (
        edit_source("design.py", 'spacing: str = "trailing"', 'spacing: str = "leading"'),
        jobs(sample=14, evaluate=ALL_ROWS, convergence=ALL_ROWS, probe=ALL_ROWS),
        {"sample": 14, "evaluate": 5, "convergence": 5, "probe": 5, "aggregate": 1, "report": 1, "manifest": 1},
    ),
    "how images are quantised": (
        edit_source("diffusion/generate.py", "(levels - 1)).round()", "(levels - 1)).floor()"),
        jobs(sample=14, evaluate=ALL_ROWS, convergence=ALL_ROWS, probe=ALL_ROWS),
        {"sample": 14, "convergence": 5, "probe": 5, "manifest": 1},
    ),
    "the features of the classifier": (
        edit_source("evaluation/classifier.py", "return features, self.head(features)",
                    "return 2 * features, self.head(features)"),
        jobs(classifier=1, reference=1, evaluate=ALL_ROWS, convergence=ALL_ROWS),
        {"classifier": 1, "reference": 1, "evaluate": 5, "convergence": 5, "manifest": 1},
    ),
    "the grey levels that networks see": (
        edit_source("data/splits.py", ".sub_(1)", ""),
        jobs(classifier=1, reference=1, train=ALL_ROWS, sample=14, evaluate=ALL_ROWS, convergence=ALL_ROWS,
             probe=ALL_ROWS),
        {"classifier": 1, "reference": 1, "train": 5, "sample": 14, "evaluate": 5, "convergence": 5, "probe": 5,
         "manifest": 1},
    ),
    "code copied with its old times": (
        edit_source("diffusion/generate.py", "(levels - 1)).round()", "(levels - 1)).floor()", time=0),
        jobs(sample=14, evaluate=ALL_ROWS, convergence=ALL_ROWS, probe=ALL_ROWS),
        {"sample": 14, "convergence": 5, "probe": 5, "manifest": 1},
    ),
    "another data set": (
        append("src/diffbench/data/sources/__init__.py", "\n# an edit\n"),
        {"manifest": 1, "smoke": 1},
        {"data": 1, "claims": 1, "report": 1, "manifest": 1},
    ),
    "how the README is written": (
        append("src/diffbench/report/readme.py", "\n# an edit\n"),
        {"manifest": 1, "smoke": 1},
        {"manifest": 1},
    ),
    "what a mistake in params is told as": (
        edit_source("config/checks.py", "unknown key; allowed", "no such key; allowed"),
        {"manifest": 1, "smoke": 1},
        {"manifest": 1},
    ),
    "a paradigm added": (
        add_paradigm,
        jobs(train=1, sample=2, evaluate=1, convergence=1, probe=1),
        {"train": 1, "sample": 2, "evaluate": 1, "convergence": 1, "probe": 1, "aggregate": 1, "claims": 1, "report": 1,
         "manifest": 1},
    ),
    "a seed added": (
        set_param("seeds", [0, 1]),
        jobs(train=5, sample=14, evaluate=5, convergence=5, probe=5),
        {"train": 5, "sample": 14, "evaluate": 5, "convergence": 5, "probe": 5, "aggregate": 1, "claims": 1,
         "report": 1, "manifest": 1},
    ),
}  # fmt: skip


def changed_stages(clone: Path) -> dict[str, int]:
    """The stages that DVC finds changed, by stage."""
    from dvc.repo import Repo

    with Repo(str(clone)) as repo:
        names = [name.split(":")[-1].split("@")[0].split("-")[0] for name in repo.status()]
    return dict(Counter(names))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_reruns_exactly_what_depends_on_it(both, tmp_path, change):
    clone = fresh(both, tmp_path)
    apply, by_snakemake, by_dvc = CHANGES[change]
    apply(clone)
    assert planned(clone) == by_snakemake
    assert changed_stages(clone) == by_dvc


def diffbench(*arguments: str, cwd: Path, code: int = 0) -> str:
    return run("python", "-m", "diffbench", *arguments, cwd=cwd, code=code)


def test_stale_results_are_not_blessed_by_any_command(both, tmp_path):
    """Each way of declaring results current without making them ends in a line that says what is stale."""
    clone = fresh(both, tmp_path)
    edit_params(clone, "paradigms.sd1.lr", 0.003)
    lock = (clone / "dvc.lock").read_bytes()
    written = (clone / "results/smoke/manifest.json").read_bytes()
    line = "train@sd1-0: paradigms.sd1.lr was 0.002 and is 0.003"
    output = diffbench("manifest", "smoke", cwd=clone, code=2)
    assert f"error: {line}" in output
    assert "'snakemake --cores all smoke --forcerun results/smoke/records/train/sd1/0.json'" in output
    for command in ("adopt", "verify"):
        assert "paradigms.sd1.lr was 0.002 and is 0.003" in diffbench(command, "smoke", cwd=clone, code=2)
    output = diffbench("sample", "smoke", "--paradigm", "sd1", "--seed", "0", "--steps", "2", cwd=clone, code=2)
    cure = "'snakemake --cores all smoke --forcerun results/smoke/records/train/sd1/0.json'"
    assert output == f"error: {line}; run {cure}\n", "plain 'snakemake' may believe the files to be current"
    run("dvc", "repro", "--single-item", "manifest", cwd=clone, code=255)
    assert (clone / "results/smoke/manifest.json").read_bytes() == written
    output = run("snakemake", "--cores", "1", "--allowed-rules", "manifest", "smoke", "--", "smoke", cwd=clone, code=1)
    assert line in output
    assert (clone / "dvc.lock").read_bytes() == lock
    assert planned(clone)["train"] == 1, "Snakemake still knows what to make"
    assert changed_stages(clone)["train"] == 1, "and DVC"


@pytest.mark.slow
def test_engines_that_were_deceived_are_put_right(both, tmp_path):
    """After forced commits and touches both engines believe stale results; the manifest does not, and says the cure."""
    clone = fresh(both, tmp_path)
    edit_params(clone, "paradigms.sd1.lr", 0.003)
    run("dvc", "commit", "--force", "--no-relink", cwd=clone)
    run("snakemake", "--touch", "--forceall", "--cores", "1", "smoke", cwd=clone)
    assert planned(clone) == {}, "Snakemake was told so"
    assert "params: paradigms.sd1.lr was 0.002 and is 0.003" in diffbench("verify", "smoke", cwd=clone, code=2)
    output = diffbench("adopt", "smoke", cwd=clone, code=2)
    cure = "--forcerun results/smoke/records/train/sd1/0.json"
    assert cure in output
    run("snakemake", "--cores", "2", "smoke", *cure.split(), cwd=clone)
    assert diffbench("verify", "smoke", cwd=clone)
    assert planned(clone) == {} and changed_stages(clone) == {}
    trained = yaml.safe_load((clone / "results/smoke/records/train/sd1/0.json").read_text())
    assert trained["params"]["paradigms.sd1.lr"] == 0.003


def test_an_edit_while_the_other_engine_is_told_is_not_blessed(both, tmp_path, monkeypatch, capsys):
    """DVC reads params seconds after the manifest has been written by the old ones."""
    clone = fresh(both, tmp_path)
    monkeypatch.chdir(clone)
    call = engines._call

    def late(*arguments):
        edit_params(clone, "paradigms.sd1.lr", 0.003)
        return call(*arguments)

    monkeypatch.setattr(engines, "_call", late)
    assert cli.main(["manifest", "smoke"]) == 2
    said = capsys.readouterr().err
    assert "paradigms.sd1.lr was 0.002 and is 0.003" in said and "not taken for current" in said
    assert not (clone / "results/smoke/manifest.json").exists(), "so that either engine asks for it"
    said = run("dvc", "repro", "--single-item", "manifest", cwd=clone, code=255)
    assert "'dvc repro --force --single-item train@sd1-0', then 'dvc repro'" in said


def test_an_edit_while_a_job_runs_is_noticed(finished, tmp_path, monkeypatch):
    """Snakemake and DVC both look at params and code after the job; the record holds what the job read."""
    clone = fresh(finished, tmp_path)
    monkeypatch.chdir(clone)
    params = runs.load("smoke")
    command = "python -m diffbench claims smoke"
    with records.recording(params, command):
        path = Path("workflow/claims.yaml")
        path.write_text(path.read_text() + "\n# an edit\n")
    graph = records.Graph(params)
    assert list(graph.stale(graph.find(command))) == ["claims: workflow/claims.yaml has changed since"]
    assert cli.main(["manifest", "smoke"]) == 2


def test_every_row_leads_back_to_data_params_and_commit(finished, tmp_path, monkeypatch):
    """From a cell of the table through the records to the commit, the data, the classifier and the seed."""
    monkeypatch.chdir(finished[0])
    graph = records.Graph(runs.load("smoke"))
    cells = (finished[0] / "reports/smoke/tables/cells.csv").read_text().splitlines()
    assert len(cells) > 20
    head = run("git", "rev-parse", "HEAD", cwd=finished[0]).strip()
    expected = {"commit": head, "source sha256": provenance.source_hash()}
    expected |= {f"version {name}": importlib.metadata.version(name) for name in provenance.PACKAGES}
    for row in cells[1:]:
        paradigm, seed = row.split(",")[:2]
        job = graph.find(f"python -m diffbench evaluate smoke --paradigm {paradigm} --seed {seed}")
        seen, queue = set(), [job]
        while queue:
            job = queue.pop()
            record = records.read_record(job)
            assert record["ran with"].items() >= expected.items(), job.name
            assert "device" in record["ran with"] or "compute" not in record["params"] or job.name == "aggregate"
            assert record["command"] == job.command and record["params"], "with paradigm, seed and steps"
            for path, digest in record["inputs"].items():
                maker = graph.maker.get(path)
                assert records.digest(path) == digest, path
                if maker and maker.name not in seen:
                    seen.add(maker.name)
                    queue.append(maker)
        assert {"data", "classifier", "reference", f"train@{paradigm}-{seed}"} <= seen


def test_the_table_of_provenance_says_what_the_run_rests_on(finished, monkeypatch):
    """Commit, params, data, classifier, device and seeds, each held against its source."""
    monkeypatch.chdir(finished[0])
    params, places = runs.load("smoke"), Places("smoke")
    with (places.tables / "provenance.csv").open() as file:
        found = {row["key"]: row["value"] for row in csv.DictReader(file)}
    assert found["commit"] == run("git", "rev-parse", "HEAD", cwd=finished[0]).strip()
    assert found["params sha256"] == provenance.params_hash({k: v for k, v in params.raw.items() if k != "tune"})
    assert found["data sha256"] == read_json(places.data_facts)["sha256"] and len(found["data sha256"]) == 64
    assert found["classifier sha256"] == sha256(places.classifier)
    assert found["device"] == hardware.device_name(device.choose(params.compute))
    assert (found["data"], found["seeds"], found["run"]) == ("digits", "0", "smoke")


def test_dirty_is_what_git_says_of_all_but_generated_files(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(fresh(finished, tmp_path))
    head = run("git", "rev-parse", "HEAD", cwd=Path.cwd()).strip()
    Path("results/smoke/new").touch()
    Path("reports/new").touch()
    assert provenance.commit() == head
    Path("workflow/extensions/metrics/new.py").touch()
    assert provenance.commit() == f"{head} (dirty)"


def test_moving_house(finished, tmp_path):
    """Results with Snakemake's records go on elsewhere; without them one command adopts what verifies."""
    clone = fresh(finished, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(clone, elsewhere, ignore=shutil.ignore_patterns("results", ".snakemake", "reports"))
    for name in ("results", "reports"):
        shutil.copytree(clone / name, elsewhere / name)
    assert "adopt smoke" in run("snakemake", "--cores", "1", "-n", "smoke", cwd=elsewhere, code=2)
    diffbench("adopt", "smoke", cwd=elsewhere)
    assert planned(elsewhere) == {}
    shutil.rmtree(elsewhere / ".snakemake")
    shutil.copytree(clone / ".snakemake/metadata", elsewhere / ".snakemake/metadata")
    assert planned(elsewhere) == {}
    (elsewhere / "results/smoke/samples/sd1/0/2.npz").unlink()
    assert planned(elsewhere) == {}, "sampled images may go once they are scored"
    diffbench("verify", "smoke", cwd=elsewhere)


def test_prune_lists_before_it_deletes_and_keeps_what_is_needed(finished, tmp_path, monkeypatch, capsys):
    """Of a step count that params no longer have, of a killed process, of a training that is done; nothing else."""
    clone = fresh(finished, tmp_path)
    monkeypatch.chdir(clone)
    path = clone / "workflow/presets/smoke.yaml"
    path.write_text(path.read_text().replace("steps: [2, 4]", "steps: [2]"))
    results = Path("results/smoke")
    for name in (".model.99999999.safetensors", ".history.99999999.json"):
        (results / "train/sd1/0" / name).write_bytes(b"half")
    os.utime(results / "train/sd1/0/.model.99999999.safetensors", (0, 0))  # the other may be another machine's
    (results / f"train/sd1/0/.model.{os.getpid()}.safetensors").write_bytes(b"being written")
    (results / "checkpoints").mkdir(exist_ok=True)
    (results / "checkpoints/sd1-0.safetensors").write_bytes(b"resume point")
    before = {path for path in results.rglob("*") if path.is_file()}
    assert cli.main(["prune", "smoke"]) == 0
    said = capsys.readouterr().out
    assert "--yes' deletes them" in said and {path for path in results.rglob("*") if path.is_file()} == before
    assert cli.main(["prune", "smoke", "--yes"]) == 0
    gone = {path.relative_to(results).as_posix() for path in before - set(results.rglob("*"))}
    rows = ("ddpm", "sd1", "sd2", "dit", "sd3")
    assert {name for name in gone if not name.startswith("locks/")} == {
        *(f"samples/{row}/0/4.{kind}" for row in rows for kind in ("npz", "json")),
        *(f"records/sample/{row}/0/4.json" for row in rows),
        *("train/sd1/0/.model.99999999.safetensors", "checkpoints/sd1-0.safetensors"),
    }
    assert planned(clone) == jobs(evaluate=ALL_ROWS), "as before"


@pytest.mark.slow
def test_after_prune_both_engines_find_all_current(both, tmp_path):
    """DVC hashes folders, and so had hashed what is deleted."""
    clone = fresh(both, tmp_path)
    edit_params(clone, "sampling.steps", [2])
    run("snakemake", "--cores", "2", cwd=clone)
    diffbench("prune", "smoke", "--yes", cwd=clone)
    (clone / "results/smoke/train/sd1/0/.model.99999999.safetensors").write_bytes(b"half")
    assert planned(clone) == {}
    assert "up to date" in run("dvc", "status", cwd=clone)


def test_disk_use_outlives_files_that_go_and_counts_the_cache(both, monkeypatch):
    """A job renames its temporary files meanwhile; and a finished run needs nothing more."""
    monkeypatch.chdir(both[0])
    params = runs.load("smoke")
    needed = disk.missing(params)
    with monkeypatch.context() as without:
        without.setattr(disk, "CACHE", Path("nowhere"))
        assert disk.missing(params) > needed
    stat = Path.stat
    gone = Path("results/smoke/data.npz")

    def racing(self, **options):
        if self == gone and "follow_symlinks" not in options:
            raise FileNotFoundError
        return stat(self, **options)

    size = disk.used(params)
    monkeypatch.setattr(Path, "is_file", lambda self: not self.is_dir())
    monkeypatch.setattr(Path, "stat", racing)
    assert 0 < disk.used(params) < size


def test_disk_use_is_estimated_and_a_full_disk_refused_beforehand(finished, monkeypatch, capsys):
    """Within a factor of two for the smoke run; DVC's copy comes on top where the file system does not share blocks."""
    monkeypatch.chdir(finished[0])
    params = runs.load("smoke")
    parts = disk.estimate(params)
    assert (
        0.5
        < (parts["weights"] + parts["samples"])
        / sum(
            path.stat().st_size
            for kind in ("train/*/0/*.safetensors", "samples/*/0/*.npz")
            for path in Path("results/smoke").glob(kind)
        )
        < 2
    )
    for name, limit in (("mnist", 8), ("digits", 1)):
        own = disk.estimate(runs.load(name))
        assert sum(own.values()) - own["cache"] < limit * 2**30, name
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**40, 2**40 - 2**30, 2**30))
    assert cli.main(["data", "mnist"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: results/mnist: the run still needs about") and said.count("\n") == 1
    assert not Path("results/mnist/data.npz").exists()
