"""What the engines say and write beside the results: the finding at the end, and Snakemake's own report."""

import base64
import re

import pytest
from clones import fresh, run

pytestmark = pytest.mark.engines


def test_dvc_ends_with_the_finding(both, tmp_path):
    clone = fresh(both, tmp_path)
    output = run("dvc", "repro", "--force", "--single-item", "manifest", cwd=clone)
    assert re.search(r"^(No clear winner|.* comes closest|.* has the lowest FID|No paradigm)", output, re.MULTILINE)
    assert re.search(r"^claims: .*not testable here$", output, re.MULTILINE)
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
