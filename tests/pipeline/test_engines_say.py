"""What the engines say and write beside the results: the finding at the end, and Snakemake's own report."""

import base64
import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest
from clones import environment, fresh, run

from diffbench.runtime.progress import clock
from snakemake_logger_plugin_diffbench import Tally, cut

pytestmark = pytest.mark.engines


def test_dvc_ends_with_the_finding(both, tmp_path):
    clone = fresh(both, tmp_path)
    output = run("dvc", "repro", "--force", "--single-item", "manifest", cwd=clone)
    assert re.search(r"^(No row is proved|.* comes closest|.* has the lowest FID|No paradigm)", output, re.MULTILINE)
    assert re.search(r"^claims: .*insufficient seeds$", output, re.MULTILINE)
    assert f"report: {(clone / 'reports/smoke/report.html').resolve().as_uri()}" in output
    assert re.search(r"^elapsed: \d+:\d\d$", output, re.MULTILINE)


def test_snakemakes_report_holds_the_page_and_the_tables_with_captions(finished, tmp_path):
    """It carries files in itself, packed, so they are looked for by name and the page by its bytes."""
    path = tmp_path / "snakemake.html"
    run("snakemake", "--report", str(path), "--cores", "1", "smoke", cwd=finished[0])
    html = path.read_text()
    for name in ("report.html", "cells.csv", "claims.csv"):
        assert name in html
    assert all(category in html for category in ("Comparison", "Tables"))
    page = (finished[0] / "reports/smoke/report.html").read_bytes()
    assert base64.b64encode(page).decode() in html
    captions = ("page.rst", "tables.rst", "claims.rst", "workflow.rst")
    folder = finished[0] / "workflow/report"
    for caption in captions:
        words = re.search(r"[A-Za-z ]{15,}", (folder / caption).read_text())[0].strip()
        assert words in html, caption


def test_a_single_file_is_no_run_and_ends_without_a_finding(finished, tmp_path):
    clone = fresh(finished, tmp_path)
    output = run("snakemake", "--cores", "1", "--forcerun", "data", "--", "results/smoke/data.json", cwd=clone)
    assert "1 of 1 steps (100%) done" in output and "elapsed: " in output
    assert "claims:" not in output and "report:" not in output and "error" not in output


def test_logs_hold_nothing_that_only_looks_like_trouble(finished):
    """Libraries complain at the end of a process that is taken apart in the wrong order."""
    logs = {path: path.read_text() for path in (finished[0] / "logs/smoke").rglob("*.log")}
    assert len(logs) > 20
    for path, text in logs.items():
        assert not re.search(r"leaked|Traceback|Exception ignored|^error", text, re.MULTILINE), path


def test_a_log_names_jobs_and_progress_on_short_lines(finished):
    """The reasons and the lists of files that Snakemake prints of itself come to 20,000 characters a line."""
    clone, _, output = finished
    plan = run("snakemake", "--cores", "1", "-n", "--forceall", "smoke", cwd=clone)
    for text in (output, plan):
        assert max(map(len, text.splitlines())) <= 200
        assert re.search(r"^(\[[\d:]+\] )?rule train: run=smoke, paradigm=sd1, seed=0 \(job \d+\)$", text, re.MULTILINE)
        assert re.search(r"^(\[[\d:]+\] )?rule report: run=smoke \(job \d+\)$", text, re.MULTILINE)
        assert "\x1b" not in text and "input: " not in text and "reason: " not in text
    assert re.search(r"^\[[\d:]+\] finished rule train: .*\n\d+ of \d+ steps \(\d+%\) done", output, re.MULTILINE)
    assert re.search(r"done, over \d+:\d\d left$", output, re.MULTILINE) and "steps (100%) done" in output
    first = min((clone / ".snakemake/log").glob("*.snakemake.log"))
    assert "reason: " in first.read_text(), "Snakemake's own log leaves nothing out"


def on_a_terminal(clone: Path, *command: str) -> tuple[int, str]:
    """The exit code of a command and what it writes to a terminal."""
    terminal, end = pty.openpty()
    variables = environment(clone) | {"TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, cwd=clone, env=variables, stdin=end, stdout=end, stderr=end)
    os.close(end)
    said = b""
    with contextlib.suppress(OSError):  # the other side is gone
        while data := os.read(terminal, 65536):
            said += data
    os.close(terminal)
    return process.wait(timeout=60), said.decode()


def test_a_terminal_shows_what_runs_and_what_is_said_at_the_end_stays(finished, tmp_path):
    clone = fresh(finished, tmp_path)
    command = ("snakemake", "--cores", "1", "--forcerun", "data", "--", "results/smoke/data.json")
    code, said = on_a_terminal(clone, *command)
    shown = re.search(r"  [\d:]+  rule data: run=smoke \(job \d+\)\r\n.*0 of 1 steps \(0%\) done, [\d:]+ elapsed", said)
    assert code == 0 and shown, said[-2000:]
    end = said[said.rindex("\x1b[?25h") :]  # the cursor comes back, and the lines of jobs are gone
    assert "elapsed: " in end and "\x1b[1A" not in end.partition("elapsed: ")[2]
    code, said = on_a_terminal(clone, *command[:-2], "--quiet", "rules", *command[-2:])
    assert code == 0 and "\x1b" not in said and "rule data: " not in said, "what is asked for on the command line wins"


def test_a_log_that_lags_does_not_draw_over_the_last_words(finished, tmp_path):
    """Snakemake hands events to the screen in a thread of its own, which a busy machine leaves behind."""
    clone = fresh(finished, tmp_path)
    path = clone / "src/snakemake_logger_plugin_diffbench/__init__.py"
    old = "        elif event is LogEvent.JOB_FINISHED:\n"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, f"{old}            time.sleep(3)\n"))
    code, said = on_a_terminal(
        clone, "snakemake", "--cores", "1", "--forcerun", "data", "--", "results/smoke/data.json"
    )
    end = said[said.rindex("\x1b[?25h") :]
    assert code == 0 and "elapsed: " in end and "\x1b[1A" not in end.partition("elapsed: ")[2], said[-2000:]


def test_a_failed_job_is_named_with_its_last_lines(finished, tmp_path):
    clone = fresh(finished, tmp_path)
    path = clone / "src/diffbench/stages/classifier.py"
    path.write_text("raise SystemExit('\\n'.join(f'line {n} of what went wrong' for n in range(100)))\n")
    output = run("snakemake", "--cores", "1", "--", "results/smoke/classifier.json", cwd=clone, code=1)
    assert re.search(r"^\[[\d:]+\] Error in rule classifier: run=smoke \(job \d+\)$", output, re.MULTILINE)
    assert "line 99 of" in output and "line 1 of" not in output and "Mend what they name" in output
    assert "    log: logs/smoke/classifier.log" in output and max(map(len, output.splitlines())) <= 200


def test_the_time_left_is_a_lower_bound_until_every_kind_of_job_is_timed():
    seconds = [0.0]
    tally = Tally(lambda: seconds[0])
    tally.plan({"train": 3, "report": 2, "total": 5})
    for job in (1, 2):  # at the same time
        tally.begin(job, "train", {"run": "smoke", "seed": str(job)})
    assert tally.name(2) == "rule train: run=smoke, seed=2 (job 2)" and tally.left() == "", "nothing is known yet"
    seconds[0], tally.done = 100, 2
    tally.end(1, well=True)
    tally.end(2, well=True)
    assert tally.left() == ", over 0:50 left", "one of 100 s, two at once as before; no report was timed"
    tally.begin(3, "report", {})
    seconds[0], tally.done = 110, 3
    tally.end(3, well=True)
    tally.begin(4, "train", {})
    seconds[0] = 130
    assert tally.left() == f", about {clock((80 + 10) * 130 / 230)} left"
    tally.end(4, well=False)
    assert tally.left() == f", about {clock((100 + 10) * 130 / 210)} left", "what failed counts as undone"


def test_a_long_list_is_cut_at_its_commas():
    names = [f"reports/digits/tables/{n}.parquet" for n in range(500)]
    assert cut("    " + ", ".join(names)) == "    " + ", ".join(names[:4]) + " and 496 more"
    assert cut("x" * 500) == "x" * 500 and cut("a, b") == "a, b"
