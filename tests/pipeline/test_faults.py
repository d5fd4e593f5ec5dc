"""Full disks, damaged and missing files, and two runs at once: one clear line, nothing half-written, nothing lost."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch
from clones import edit_params, environment, fresh, planned, run
from conftest import ROOT

from diffbench import cli, config
from diffbench.config import models
from diffbench.errors import UserError
from diffbench.pipeline import engines
from diffbench.runtime import checkpoint, file_lock
from diffbench.runtime.files import sha256
from diffbench.runtime.places import Places
from diffbench.stages import train

pytestmark = pytest.mark.engines

ROW = ["--paradigm", "sd1", "--seed", "0"]
WRITERS = {
    "data": [],
    "classifier": [],
    "reference": [],
    "train": ROW,
    "sample": [*ROW, "--steps", "2"],
    "evaluate": ROW,
    "convergence": ROW,
    "probe": ROW,
    "aggregate": [],
    "claims": [],
    "report": [],
    "manifest": [],
}


def tree(folder: Path) -> dict[str, str]:
    """The files of a run but its locks, by their content."""
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for name in ("results", "reports")
        for path in (folder / name).rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def say(capsys, *command: str) -> list[str]:
    """The lines in which a command refuses; its exit code must be 2."""
    capsys.readouterr()
    assert cli.main(list(command)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert not [line for line in lines if "Traceback" in line]
    return [line for line in lines if line.startswith("error: ")]


@pytest.fixture
def clone(finished, tmp_path, monkeypatch):
    """A finished smoke run to damage."""
    folder = fresh(finished, tmp_path)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def small_disk(finished, tmp_path_factory):
    """A finished smoke run on a file system of its own, which can be filled up and made read-only."""
    folder = tmp_path_factory.mktemp("disk")
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", folder]).returncode:
        pytest.skip("mounting a file system is not allowed here")
    try:
        shutil.copytree(finished[0], folder / "clone", symlinks=True, ignore=shutil.ignore_patterns(".git", "cache"))
        yield folder / "clone"
    finally:
        os.chdir(ROOT)  # not inside what goes away
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_every_stage_says_that_it_cannot_write(small_disk, monkeypatch, capsys, state):
    monkeypatch.chdir(small_disk)
    monkeypatch.setattr("diffbench.stages.data.refuse_if_short", lambda params: None)
    before = tree(small_disk)
    filler = small_disk / "filler"
    if state == "full":
        with pytest.raises(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        reason = "No space left on device"
    else:
        subprocess.run(["mount", "-o", "remount,ro", small_disk.parent], check=True)
        reason = "Read-only file system"
    try:
        for stage, options in WRITERS.items():
            said = say(capsys, stage, "smoke", *options)
            assert len(said) == 1 and reason in said[0] and "cannot be written" in said[0], (stage, said)
            assert "results/smoke" in said[0] or "reports/smoke" in said[0], (stage, said)
        assert tree(small_disk) == before, "what was there is whole, and nothing was added"
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small_disk.parent], check=True)
        filler.unlink(missing_ok=True)
    assert cli.main(["claims", "smoke"]) == 0


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Turn one bit in the middle of the payload."""
    content, middle = bytearray(path.read_bytes()), path.stat().st_size // 2
    if path.suffix == ".parquet":  # of which the middle may be headers, most of whose bits mean nothing
        group = pq.ParquetFile(path).metadata.row_group(0)
        column = group.column(group.num_columns // 2)
        middle = column.data_page_offset + column.total_compressed_size - 2
        if column.dictionary_page_offset:
            middle -= column.data_page_offset - column.dictionary_page_offset
    content[middle] ^= 4
    path.write_bytes(content)


def vanish(path: Path) -> None:
    path.unlink()


READERS = {
    "results/smoke/data.npz": ("train", ROW),
    "results/smoke/classifier.safetensors": ("evaluate", ROW),
    "results/smoke/reference.npz": ("evaluate", ROW),
    "results/smoke/train/sd1/0/model.safetensors": ("sample", [*ROW, "--steps", "2"]),
    "results/smoke/train/sd1/0/snapshots.safetensors": ("convergence", ROW),
    "results/smoke/train/sd1/0/history.json": ("aggregate", []),
    "results/smoke/samples/sd1/0/2.npz": ("evaluate", ROW),
    "results/smoke/samples/sd1/0/2.json": ("evaluate", ROW),
    "results/smoke/evaluate/sd1/0.json": ("aggregate", []),
    "results/smoke/evaluate/sd1/0.png": ("report", []),
    "results/smoke/probe/sd1/0.json": ("aggregate", []),
    "reports/smoke/tables/cells.parquet": ("claims", []),
    "reports/smoke/report.html": ("manifest", []),
}


@pytest.mark.parametrize("damage", [truncate, flip, vanish])
def test_damaged_and_missing_inputs_are_named(clone, capsys, damage):
    """By the stage that reads the file, with the way out; nothing else on the disk changes."""
    for name, (stage, options) in READERS.items():
        path = clone / name
        whole = path.read_bytes()
        damage(path)
        before = tree(clone)
        said = say(capsys, stage, "smoke", *options)
        ends = said[:1] if stage != "manifest" else said[:-1]
        assert len(said) <= 2 and name in ends[0], (name, said)
        assert "snakemake --cores all smoke" in said[-1], said
        assert tree(clone) == before, name
        path.write_bytes(whole)
    assert cli.main(["verify", "smoke"]) == 0


@pytest.mark.parametrize("damage", [truncate, flip])
def test_binary_files_are_checked_without_records_too(clone, capsys, damage):
    """All three formats carry checksums; so files that came without records are not believed blindly."""
    shutil.rmtree(clone / "results/smoke/records")
    for name, (stage, options) in READERS.items():
        if not name.endswith((".npz", ".safetensors", ".parquet")):
            continue
        path = clone / name
        whole = path.read_bytes()
        damage(path)
        said = say(capsys, stage, "smoke", *options)
        assert len(said) == 1 and name in said[0] and "damaged" in said[0] and "delete it" in said[0], said
        path.write_bytes(whole)


@pytest.mark.slow
def test_the_way_out_of_a_damaged_file_works(clone):
    """Delete what the line names and give Snakemake's command: the same bytes are there again."""
    path = clone / "results/smoke/train/sd1/0/model.safetensors"
    before = tree(clone)
    flip(path)
    output = run("python", "-m", "diffbench", "verify", "smoke", cwd=clone, code=2)
    assert output.startswith("error: results/smoke/train/sd1/0/model.safetensors: changed\nerror: 1 differences; run '")
    run(*re.search(r"run '(snakemake .*)'", output)[1].split(), cwd=clone)
    after = tree(clone)
    steady = [name for name in before if name.endswith((".safetensors", ".npz")) or "/tables/cells" in name]
    assert len(steady) > 20 and [name for name in steady if before[name] != after[name]] == []


@pytest.mark.slow
def test_a_damaged_object_in_the_cache_of_dvc_is_named(both, tmp_path):
    """DVC restores it unread and calls all current; the line names it, and what it says to delete is made again."""
    clone = fresh(both, tmp_path)
    path = clone / "results/smoke/classifier.safetensors"
    whole = sha256(path)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    copy = clone / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    copy.chmod(0o644)
    flip(copy)
    copy.chmod(0o444)  # as DVC left it, for which it takes it unread
    path.unlink()
    run("dvc", "repro", cwd=clone)
    assert sha256(path) != whole
    row = ["smoke", "--paradigm", "sd1", "--seed", "0"]
    for command in (["verify", "smoke"], ["evaluate", *row]):
        said = run("python", "-m", "diffbench", *command, cwd=clone, code=2)
        assert "results/smoke/classifier.safetensors: " in said and str(copy.relative_to(clone)) in said, said
    copy.unlink()
    path.unlink()
    run("dvc", "repro", cwd=clone)
    assert sha256(path) == sha256(copy) == whole
    run("python", "-m", "diffbench", "verify", "smoke", cwd=clone)


@pytest.mark.parametrize("spoil", ["other params", "bit flip", "truncated", "nothing"])
def test_a_resume_point_is_taken_up_only_if_it_is_whole_and_of_this_training(smoke, places, capsys, spoil):
    """Otherwise the training starts again, says why, and comes to the same weights."""
    train.run(smoke, "sd1", 0)
    expected = sha256(places.train("sd1", 0) / "model.safetensors")
    resume = places.resume_point("sd1-0")
    resume.unlink(missing_ok=True)

    class Stop(Exception):
        pass

    def interrupt(trainer):
        if trainer.done == 20:
            key = train.resume_key(smoke, smoke.paradigms["sd1"], 0, torch.device("cpu"))
            trainer.save(resume, "another" if spoil == "other params" else key)
            raise Stop

    with pytest.raises(Stop):
        train.run(smoke, "sd1", 0, watch=interrupt)
    if spoil in ("bit flip", "truncated"):
        (flip if spoil == "bit flip" else truncate)(resume)
    capsys.readouterr()
    train.run(smoke, "sd1", 0)
    said = capsys.readouterr().out
    wanted = {
        "other params": "of other params, code or data; training starts again",
        "nothing": "resumed at step 20",
    }.get(spoil, "damaged (")
    assert wanted in said and ("training starts again" in said) == (spoil != "nothing")
    assert sha256(places.train("sd1", 0) / "model.safetensors") == expected
    resume.write_bytes(b"kept until an engine has accepted the training")
    assert cli.main(["sample", "smoke", *ROW, "--steps", "2"]) == 0 and not resume.exists()


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_to_the_same_bytes(finished, tmp_path):
    """SIGKILL through a real Snakemake: of it and its job, which resumes; of it alone, whose orphan is taken over."""
    clone, log = fresh(finished, tmp_path), tmp_path / "output.txt"
    preset = clone / "workflow/presets/smoke.yaml"
    preset.write_text(preset.read_text().replace("training: {images: 2048", "training: {images: 96000"))
    model = clone / "results/smoke/train/sd1/0/model.safetensors"
    command = ["snakemake", "--cores", "1", "--quiet", "all", "--", model.relative_to(clone).as_posix()]

    def killed(everything):
        """Start a training, wait for a resume point, kill Snakemake and maybe its job."""
        resume = clone / "results/smoke/checkpoints/sd1-0.safetensors"
        resume.unlink(missing_ok=True)
        with log.open("w") as out:
            options = {"cwd": clone, "env": environment(clone), "stdout": out, "stderr": out}
            first = subprocess.Popen([*command[:-2], "--forcerun", "train", *command[-2:]], **options)
        deadline = time.monotonic() + 120
        while not resume.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        children = psutil.Process(first.pid).children(recursive=True) if everything else []
        for process in [first, *children]:
            process.kill()
        first.wait()
        assert not model.exists(), "the training was still at work"

    run(*command, cwd=clone)
    unbroken = sha256(model)
    killed(everything=True)
    run(*command, cwd=clone)
    said = (clone / "logs/smoke/train/sd1-0.log").read_text()
    assert re.search(r"resumed at step [1-9]\d* of 1500", said), said
    assert sha256(model) == unbroken
    killed(everything=False)
    run(*command, cwd=clone)
    said = (clone / "logs/smoke/train/sd1-0.log").read_text()
    assert "train@sd1-0: made by the process that was waited for" in said, said
    assert sha256(model) == unbroken and planned(clone).get("train", 4) == 4, "the other four rows are still to be made"


def test_at_most_a_minute_of_training_is_lost():
    """The full benchmark saves every half a minute; looking at the clock every 50 steps adds seconds."""
    assert models.build(config.preset("mnist")).training.checkpoint_seconds <= 50


def test_nothing_malicious_is_executed(clone, capsys, tmp_path):
    """Pickles inside checkpoints, arrays and tables, and YAML that names code, are refused unread."""
    proof = tmp_path / "executed"

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {proof}",))

    torch.save(Evil(), clone / "results/smoke/classifier.safetensors")
    np.savez(clone / "results/smoke/data.npz", train_images=np.array([Evil()], dtype=object))
    (clone / "reports/smoke/tables/cells.parquet").write_bytes(__import__("pickle").dumps(Evil()))
    shutil.rmtree(clone / "results/smoke/records")
    for command in (["train", "smoke", *ROW], ["claims", "smoke"]):
        said = say(capsys, *command)
        assert len(said) == 1 and "damaged" in said[0], said
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(clone / "results/smoke/classifier.safetensors")
    for name in ("params.yaml", "workflow/claims.yaml", "dvc.yaml", "workflow/presets/smoke.yaml"):
        path = clone / name
        whole = path.read_text()
        path.write_text(f"name: !!python/object/apply:os.system ['touch {proof}']\n")
        said = say(capsys, "claims", "smoke")
        assert len(said) == 1 and name in said[0], said
        path.write_text(whole)
    assert not proof.exists()


@pytest.mark.slow
def test_two_snakemakes_at_once_are_refused_and_a_killed_one_is_forgotten(clone):
    """The second ends with a line that says what to wait for; after a kill the same command goes on."""
    (clone / "workflow/presets/smoke.yaml").open("a").write("\nevaluation: {neighbours: 4}\n")
    command = ["snakemake", "--cores", "1", "smoke"]
    first = subprocess.Popen(
        command, cwd=clone, env=environment(clone), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while not list((clone / ".snakemake/locks").glob("*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        output = run(*command, cwd=clone, code=2)
        assert f"another Snakemake (process {first.pid}) is at work here" in output and "Traceback" not in output
        assert planned(clone), "a dry run disturbs nobody"
    finally:
        first.kill()
        first.wait()
    assert list((clone / ".snakemake/locks").glob("*"))
    output = run(*command, cwd=clone)
    assert "the last Snakemake here was killed" in output
    assert planned(clone) == {}


def test_one_engine_at_a_time(clone, monkeypatch, capsys):
    """A job of DVC's does not run beside Snakemake, nor Snakemake beside DVC; dry runs may."""
    handle = engines.one_engine([])
    monkeypatch.setenv("DVC_STAGE", "claims")
    said = say(capsys, "claims", "smoke")
    assert len(said) == 1 and f"Snakemake (process {os.getpid()}) is at work here" in said[0]
    handle.close()
    assert cli.main(["claims", "smoke"]) == 0
    (clone / ".dvc/tmp").mkdir(parents=True, exist_ok=True)
    info = {"pid": os.getpid(), "cmd": " ".join(sys.argv)}
    (clone / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {"x": info}, "read": {}}))
    with pytest.raises(UserError, match="is at work here"):
        engines.one_engine(["--cores", "2"])
    assert engines.one_engine(["-n"]) is None and engines.one_engine(["--touch", "--nolock"]) is None
    reused = {"pid": os.getpid(), "cmd": "dvc repro --of-a-process-that-a-power-cut-ended"}
    (clone / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {"x": reused}, "read": {"y": [reused]}}))
    engines.one_engine(["--cores", "2"]).close()
    engines.let_dvc_in()


def test_a_dvc_killed_while_it_writes_its_list_of_locks_is_mended_as_the_documentation_says(both, tmp_path):
    clone = fresh(both, tmp_path)
    rwlock = clone / engines.DVC_LIST
    message = f"Unable to read RWLock-file '{engines.DVC_LIST}'"
    assert message in " ".join((ROOT / "docs/repair.md").read_text().split())
    rwlock.write_text("")
    assert message in run("dvc", "repro", cwd=clone, code=255)
    rwlock.unlink()
    assert "up to date" in run("dvc", "repro", cwd=clone)
    rwlock.write_text('{"write": {')
    run("snakemake", "--cores", "1", cwd=clone)
    assert "up to date" in run("dvc", "repro", cwd=clone)


@pytest.mark.parametrize(
    "half, message, code",
    [
        ("", "validation failed", 2),
        ("stages: {data: [", "is invalid", 2),
        ("\0" * 4096, "structure is corrupted", 2),
        ("stages:\n  data:\n", "validation failed", 1),  # seen only when it is read, at the end of a run
    ],
    ids=["empty", "cut", "after a power cut", "cut at the end of a line"],
)
def test_a_half_written_lock_file_of_dvc_is_refused_and_written_anew_once_deleted(both, tmp_path, half, message, code):
    """What docs/repair.md says of it; no more is lost than dvc.lock."""
    clone = fresh(both, tmp_path)
    assert f"`{message}`" in " ".join((ROOT / "docs/repair.md").read_text().split())
    (clone / engines.DVC_LOCK).write_text(half)
    assert message in run("dvc", "repro", cwd=clone, code=255)
    manifest = clone / "results/smoke/manifest.json"
    manifest.unlink()
    said = run("snakemake", "--cores", "1", "smoke", cwd=clone, code=code)
    assert f"{engines.DVC_LOCK}: half-written, as by a DVC that was killed; delete it" in said
    (clone / engines.DVC_LOCK).unlink()
    run("snakemake", "--cores", "1", "smoke", cwd=clone)
    assert "up to date" in run("dvc", "repro", cwd=clone)


def test_dvc_beside_a_running_snakemake_deletes_nothing_and_a_killed_one_does_not_block(both, tmp_path):
    """DVC removes outputs before a stage could refuse; so what Snakemake has just trained must be refused before."""
    clone = fresh(both, tmp_path)
    edit_params(clone, "paradigms.sd1.lr", 0.003)
    record, model = (
        clone / "results/smoke" / name for name in ("records/train/sd1/0.json", "train/sd1/0/model.safetensors")
    )
    old = record.read_bytes()
    command = ["snakemake", "--cores", "1"]
    with (tmp_path / "output.txt").open("w") as output:
        first = subprocess.Popen(command, cwd=clone, env=environment(clone), stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 120
        while not (record.exists() and record.read_bytes() != old) and time.monotonic() < deadline:
            time.sleep(0.05)
        trained = sha256(model)
        said = run("dvc", "repro", cwd=clone, code=255)
        assert first.poll() is None, "Snakemake is still at work"
        assert f"(PID {first.pid}): snakemake --cores 1" in said and "Traceback" not in said
        assert sha256(model) == trained
    finally:
        first.kill()
        first.wait()
    assert "changed" in run("dvc", "status", cwd=clone), "which reads what a running Snakemake keeps to itself"


@pytest.mark.parametrize("made", [True, False])
def test_a_job_waits_for_another_that_makes_the_same_files(clone, made):
    """As one does that a killed engine left behind; what that one has made is not made again."""
    held = file_lock.hold(Places("smoke").locks / "claims.lock")
    table = clone / "reports/smoke/tables/claims.csv"
    before = table.stat().st_mtime_ns
    if not made:
        table.unlink()
    command = ["python", "-u", "-m", "diffbench", "claims", "smoke"]
    second = subprocess.Popen(command, cwd=clone, env=environment(clone), stdout=subprocess.PIPE, text=True)
    assert f"waiting for process {os.getpid()}, which makes claims too" in second.stdout.readline()
    assert second.poll() is None
    held.close()
    assert second.wait(timeout=60) == 0
    assert (table.stat().st_mtime_ns == before) == made
    assert ("claims: made by the process that was waited for" in second.stdout.read()) == made


@pytest.mark.parametrize("name", ["logs", "logs/smoke/evaluate"])
def test_an_unwritable_log_is_named(clone, name):
    (clone / "results/smoke/records/claims.json").unlink()
    shutil.rmtree(clone / name)
    (clone / name).write_text("a file where a folder should be")
    output = run("snakemake", "--cores", "1", "--forcerun", "claims", "--", "smoke", cwd=clone, code=2)
    assert f"error: {name}: " in output and "Traceback" not in output
