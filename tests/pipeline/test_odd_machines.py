"""Machines and calls that are not the usual ones: what is said there is true, can be done, and leads on."""

import re
import shlex
import shutil
import subprocess

import pytest
from clones import cloned, edit_params, environment, fresh, planned, run

from diffbench.pipeline import engines

pytestmark = pytest.mark.engines

PART = "smoke: a part of it is done; 'snakemake --cores all smoke' makes the rest"


def diffbench(*arguments: str, cwd, code: int = 0) -> str:
    return run("python", "-m", "diffbench", *arguments, cwd=cwd, code=code)


def current_in_dvc(clone) -> bool:
    return "up to date" in run("dvc", "status", cwd=clone)


def test_a_call_for_a_part_of_a_run_ends_well_and_without_a_finding(both, tmp_path):
    """On a fresh clone there is none, and after an edit the one that is there is of other params."""
    fresh_clone = cloned(tmp_path / "empty")
    output = run("snakemake", "--cores", "1", "smoke", "--until", "data", cwd=fresh_clone)
    assert PART in output and "elapsed: " in output and "error" not in output
    clone = fresh(both, tmp_path)
    edit_params(clone, "paradigms.sd1.lr", 0.003)
    output = run("snakemake", "--cores", "2", "--until", "train", cwd=clone)
    assert PART in output and "claims: " not in output and "report: " not in output
    (clone / "params.yaml").write_bytes((both[0] / "params.yaml").read_bytes())
    (clone / "reports/smoke/report.html").unlink()
    assert PART in run("snakemake", "--cores", "1", "--until", "train", cwd=clone)


def advised(output: str) -> list[str]:
    """The Snakemake call that a last line names."""
    return shlex.split(re.findall(r"'(snakemake [^']*)'", output)[-1].replace("--cores all", "--cores 2"))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("the code", "the manifest")]


@pytest.mark.parametrize("harm", ["a result", *SLOW])
def test_what_is_advised_without_snakemakes_records_can_be_done(finished, tmp_path, harm):
    """Snakemake refused by naming adopt, and adopt by naming a call of Snakemake's that was refused."""
    clone = fresh(finished, tmp_path)
    shutil.rmtree(clone / ".snakemake")
    path = {
        "a result": "results/smoke/probe/sd1/0.json",
        "the code": "src/diffbench/config/checks.py",
        "the manifest": "results/smoke/manifest.json",
    }[harm]
    (clone / path).write_text((clone / path).read_text() + "\n" if harm == "the code" else "{}")
    assert "adopt smoke" in run("snakemake", "--cores", "1", "smoke", cwd=clone, code=2)
    output = diffbench("adopt", "smoke", cwd=clone, code=2)
    if harm == "the manifest":
        assert "delete it and run" in output
        (clone / path).unlink()
    output = run(*advised(output), cwd=clone)
    assert "claims: " in output, "with the finding"
    assert "agree with the manifest" in diffbench("verify", "smoke", cwd=clone)
    assert planned(clone) == {}
    preset = clone / "workflow/presets/smoke.yaml"
    preset.write_text(preset.read_text().replace("warmup: 10", "warmup: 11", 1))
    assert planned(clone).get("train") == 5, "Snakemake knows what all files were made from, its own or not"


def test_a_home_that_cannot_be_written(both, tmp_path, monkeypatch):
    """Snakemake keeps a cache there and does not start without one; DVC's last stage calls it."""
    clone = fresh(both, tmp_path)
    shutil.rmtree(clone / ".snakemake")
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    output = run("dvc", "repro", "--force", "--single-item", "manifest", cwd=clone)
    assert "claims: " in output
    monkeypatch.undo()
    assert planned(clone) == {} and current_in_dvc(clone)


def test_an_engine_that_fails_is_quoted_with_its_reason(both, tmp_path):
    clone = fresh(both, tmp_path)
    (clone / "Snakefile").write_text("rule all:\n    input: nothing_of_this_name\n")
    output = diffbench("adopt", "smoke", cwd=clone, code=2)
    assert output.count("\n") == 1 and "nothing_of_this_name" in output and "mend what it names" in output


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "no output"),
        ("some\nlast words\n\n", "last words"),
        ("Traceback\nOSError: [Errno 28] No space left\nShutting down\n", "OSError: [Errno 28] No space left"),
        ('WorkflowError in file "a", line 5:\nit is so.\n\n', 'WorkflowError in file "a", line 5: it is so.'),
        ("ERROR: failed to commit\n\nHaving any troubles? Hit us up\n", "ERROR: failed to commit"),
        ("dvc.exceptions.DvcException: no\n  hint\n", "dvc.exceptions.DvcException: no"),
    ],
)
def test_the_reason_is_the_last_line_that_is_an_error(said, reason):
    assert engines._reason(said) == reason


@pytest.fixture
def told(both, tmp_path):
    """A clone below a folder of its own, without a dvc.lock: adopt is to write one."""
    (tmp_path / "above").mkdir()
    clone = fresh(both, tmp_path / "above")
    (clone / "dvc.lock").unlink()
    return clone


def test_a_checkout_below_another_repository(told):
    """As one subfolder of a group's repository: DVC works there, and is told."""
    shutil.rmtree(told / ".git")
    subprocess.run(["git", "init", "-q"], cwd=told.parent, check=True)
    output = diffbench("adopt", "smoke", cwd=told)
    assert output == "results/smoke verified; Snakemake and DVC take it for current\n"
    assert current_in_dvc(told) and planned(told) == {}


def test_dvc_without_git(told):
    shutil.rmtree(told / ".git")
    (told / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    output = diffbench("adopt", "smoke", cwd=told)
    assert output == "results/smoke verified; Snakemake and DVC take it for current\n"
    assert current_in_dvc(told)


def test_who_is_not_told_is_not_said_to_be(told, finished, tmp_path):
    shutil.rmtree(told / ".git")
    output = diffbench("adopt", "smoke", cwd=told)
    assert "no Git repository here or above" in output and "dvc.lock is not written" in output
    assert output.endswith("results/smoke verified; Snakemake takes it for current\n")
    assert not (told / "dvc.lock").exists()
    preset = fresh(finished, tmp_path)  # smoke is not params.yaml's run there, so DVC knows nothing of it
    assert diffbench("adopt", "smoke", cwd=preset) == "results/smoke verified; Snakemake takes it for current\n"
    for name in ("Snakefile", ".dvc"):
        path = told / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert diffbench("adopt", "smoke", cwd=told).endswith("verified; there is no engine here to be told\n")


def test_git_that_is_not_installed(told, tmp_path):
    """DVC needs it, unless it was told to do without."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python").write_text(f'#!/bin/sh\nexec {shutil.which("python")} "$@"\n')
    (tools / "python").chmod(0o755)
    (tools / "which").symlink_to(shutil.which("which"))  # Snakemake's Slurm plugin starts it when imported
    variables = environment(told) | {"PATH": str(tools)}
    adopt = [shutil.which("python"), "-m", "diffbench", "adopt", "smoke"]
    done = subprocess.run(adopt, cwd=told, env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "git is not installed: dvc.lock is not written" in done.stdout and "; Snakemake takes it" in done.stdout
