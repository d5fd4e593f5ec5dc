"""The report: safe, deterministic, self-contained, and true to its tables."""

import re

import pytest
import yaml
from invented import invented

from diffbench import config, tables
from diffbench.report import figures, finding, page

NASTY = "<script>alert(1)</script>"


@pytest.fixture
def named(workplace):
    """Smoke params with two seeds and a paradigm whose label is a script."""
    path = workplace / "workflow/presets/smoke.yaml"
    changes = yaml.safe_load(path.read_text())
    changes["seeds"] = [0, 1]
    changes["paradigms"]["sd2"]["label"] = NASTY
    path.write_text(yaml.safe_dump(changes))
    return config.load("smoke")


def test_text_from_params_is_shown_as_text(named):
    html = page.render(invented(named), named)
    assert NASTY not in html and html.count("<script") == 2, "the page's own script and its data"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "\\u003cscript\\u003ealert(1)" in html, "in the data too"


def test_nothing_is_loaded_from_anywhere(named):
    html = page.render(invented(named), named)
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html
    outside = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(https?:|//)""", html)
    assert outside == []
    charts = ("nfe", "seconds", "solvers", "guidance", "convergence", "training", "noise", "confusion")  # no 2 x 2
    assert html.count('<svg role="group"') == len(charts) == len(figures.figures(invented(named), named))
    assert html.count("data:image/png;base64,") == 3 * len(named.paradigms)


def test_the_same_tables_give_the_same_bytes(named):
    frames = invented(named)
    assert page.render(frames, named) == page.render(frames, named)


def test_every_cell_and_its_number_are_on_the_page(named):
    frames = invented(named)
    html = page.render(frames, named)
    first = frames["cells"][frames["cells"].seed == 0]
    grid, arms = first[first.arm == ""], first[first.arm != ""]
    for row in grid.itertuples():
        assert f"FID {finding.number(row.fid)}, NFE {row.nfe}" in html
    assert html.count('<span class="strip half s') == 2 * len(grid), "two rows of five for each cell"
    assert html.count('<span class="strip s') == len(arms) + len(named.paradigms), "one for each arm and row"
    assert len(arms) and all(f'<th scope="row">{arm}<' in html for arm in arms.arm)
    assert "Smoke run: do not cite" in html
    assert "not comparable with Inception FID" in html


def test_every_score_says_on_the_page_what_it_is_blind_to(named):
    frames = invented(named)
    html = page.render(frames, named)
    for column in tables.SCORES:
        assert f"<em>Blind to {column.blind}.</em>" in html, column.name
    assert "0.0432" in html, "the floor of the second opinion"
    assert "gives the same ranking, so the ranking by FID is robust" in html
    first = frames["paradigms"].index[frames["paradigms"].conditional][:1]
    frames["paradigms"].loc[first, "rank_robust"] = False
    label = frames["paradigms"].label[first[0]]
    assert f"ranks {label} differently" in page.render(frames, named)


def test_failed_paradigms_carry_a_banner_and_show_as_failed(named):
    html = page.render(invented(named, spoil={"dit"}), named)
    assert "Some trainings failed" in html and "DiT-style" in html
    assert "no samples" in html
    everything = page.render(invented(named, spoil=set(named.paradigms)), named)
    assert "every training failed" in everything


def test_charts_label_their_marks(named):
    html = page.render(invented(named), named)
    marks = re.findall(r'aria-label="(DDPM: FID[^"]*)"', html)
    known = ("at network evaluations", "at seconds", "at training images", "at training seconds", "at time t")
    assert marks and all(any(words in mark for words in known) for mark in marks), marks


def frames_for(fids: dict[str, list[float]]):
    cells, rows = [], []
    for key, values in fids.items():
        for seed, fid in enumerate(values):
            cells.append(
                {
                    "paradigm": key,
                    "seed": seed,
                    "sampler": "ddim",
                    "steps": 10,
                    "guidance": 1.0,
                    "nfe": 10,
                    "status": "ok",
                    "arm": "",
                    "fid": fid,
                }
            )
        mean = sum(values) / len(values)
        rows.append(
            {"paradigm": key, "label": key.upper(), "conditional": True, "guidance": 1.0, "best_sampler": "ddim",
             "best_steps": 10, "best_nfe": 10, "best_fid": mean}
        )  # fmt: skip
    floors = tables.frame("floors", [{"split": "test", "fid": 1.0}])
    return tables.frame("paradigms", rows), tables.frame("cells", cells), floors


@pytest.mark.parametrize(
    ("fids", "said"),
    [
        ({"a": [1.0, 1.1, 1.05], "b": [9.0, 9.9, 9.4]}, "A comes closest to the real digits: FID 1.05 with 10 network"),
        ({"a": [1.0, 3.0, 2.0], "b": [2.0, 1.5, 3.0]}, "No clear winner: A and B tie for the lowest FID, 2.00 to 2.17"),
        ({"a": [1.0], "b": [9.0]}, "A has the lowest FID, 1.00, on one seed, which decides nothing"),
    ],
)
def test_the_headline_follows_the_numbers(fids, said):
    assert finding.headline(*frames_for(fids)).startswith(said)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1.23456, "1.23"), (0.012345, "0.0123"), (123.4, "123"), (1e-12, "0.000000"), (float("nan"), "\u2013")],
)
def test_numbers_have_three_digits(value, text):
    assert finding.number(value) == text
