"""The report: safe, deterministic, self-contained, and true to its tables."""

import base64
import hashlib
import math
import re

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from invented import invented

from diffbench import runs
from diffbench.report import charts, effects, figures, finding, page
from diffbench.runtime.places import REFERENCES
from diffbench.tables import schema, store

NASTY = "<script>alert(1)</script>"


@pytest.fixture
def named(workplace):
    """Smoke params with two seeds and a paradigm whose label is a script."""
    path = workplace / "workflow/presets/smoke.yaml"
    changes = yaml.safe_load(path.read_text())
    changes["seeds"] = [0, 1]
    changes["paradigms"]["sd2"]["label"] = NASTY
    path.write_text(yaml.safe_dump(changes))
    return runs.load("smoke")


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
    for column in schema.SCORES:
        assert f"<em>Blind to {column.blind}.</em>" in html, column.name
    assert "0.0432" in html, "the floor of the second opinion"
    assert "puts the means in the same order" in html
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


def test_cells_that_failed_alone_carry_a_banner_too(named):
    frames = invented(named, spoil={"dit"})
    assert "Some cells failed" not in page.render(frames, named), "all that failed lost their training"
    some = frames["cells"].index[(frames["cells"].paradigm == "sd3") & (frames["cells"].steps == 2)][:3]
    frames["cells"].loc[some, "status"] = "failed"
    html = page.render(frames, named)
    banner = re.search(r"Some cells failed.*?</p>", html, re.DOTALL)[0]
    assert "SD3-style, 3." in banner and "DiT-style" not in banner


def test_rows_without_samples_are_named_where_they_are_not_drawn(named):
    html = page.render(invented(named, spoil={"dit"}), named)
    parts = dict(re.findall(r'<section id="([\w-]+)"(.*?)</section>', html, re.DOTALL))
    for name in ("cost", "guidance-trade", "effects", "confusion"):
        assert "Without samples, so not shown here: DiT-style." in parts[name], name
    assert re.search(r"<h3>DiT-style</h3>\s*<p class=\"note\">Nothing to show", parts["failures"])


def test_real_images_stand_beside_the_values(named):
    """In the tables of the summary, of the side experiments and of all cells, whatever else is sorted or filtered."""
    frames = invented(named)
    html = page.render(frames, named)
    floor = store.real_test_row(frames["floors"])
    rows = re.findall(r'<tr class="floor"><th scope="row">real test images.*?</tr>', html, re.DOTALL)
    arms = frames["arms"].paradigm.nunique()
    assert len(rows) == 3 + arms, "the last is that of all cells"
    for column in schema.SCORES:
        assert f"<td>{finding.number(floor[column.name])}</td>" in rows[-1], column.name
    assert "real images 0.500" in html, "beside the cells that Explore opens with"


def test_charts_label_their_marks(named):
    html = page.render(invented(named), named)
    marks = re.findall(r'aria-label="(DDPM(?:, [^"]*)?: FID[^"]*)"', html)
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
    floors = store.frame("floors", [{"split": "test", "fid": 1.0}])
    return store.frame("paradigms", rows), store.frame("cells", cells), floors


@pytest.mark.parametrize(
    ("fids", "said"),
    [
        ({"a": [1.0, 1.1, 1.05], "b": [9.0, 9.9, 9.4]}, "A comes closest to the real digits: FID 1.05 with 10 network"),
        ({"a": [1.0, 3.0, 2.0], "b": [2.0, 1.5, 3.0]}, "No clear winner: A and B tie for the lowest FID, 2.00 to 2.17"),
        ({"a": [1.0], "b": [9.0]}, "A has the lowest FID, 1.00, on one seed, which decides nothing; "),
        # one row that kept a single seed hides nothing of what the others decide, be it behind or in front of them
        (
            {"a": [1.0, 1.1, 1.05], "b": [9.0, 9.9, 9.4], "c": [9.0]},
            "A comes closest to the real digits: FID 1.05 with 10 network evaluations; real test digits score 1.00; "
            "C has too few seeds to compare.",
        ),
        (
            {"a": [1.0, 3.0, 2.0], "b": [2.0, 1.5, 3.0], "c": [0.5]},
            "No clear winner: A and B tie for the lowest FID, 2.",
        ),
        ({"a": [1.0, 1.1, 1.05]}, "A comes closest to the real digits"),
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


def test_only_the_pages_own_script_may_run(named):
    """The policy names the SHA-256 of the script as it stands in the page; another byte and no browser runs it."""
    html = page.render(invented(named), named)
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "unsafe" not in policy.split("script-src")[1].split(";")[0]


points = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=20)


@given(points)
def test_the_front_holds_what_nothing_beats_and_nothing_else(drawn):
    frame = pd.DataFrame(drawn, columns=["nfe", "fid"]).astype(float)
    front = {tuple(row) for row in figures.pareto(frame, "nfe", "fid").itertuples(index=False)}

    def beaten(point):
        return any(other[0] <= point[0] and other[1] <= point[1] and other != point for other in drawn)

    assert front == {point for point in drawn if not beaten(point)}


def test_the_front_leaves_out_what_has_no_value():
    frame = pd.DataFrame({"nfe": [1.0, 2.0, 3.0], "fid": [float("nan"), 2.0, 1.0]})
    assert list(figures.pareto(frame, "nfe", "fid").nfe) == [2.0, 3.0]


def test_cells_of_fewer_seeds_do_not_make_the_front():
    """The luckiest of many cells of one seed would."""
    params = runs.load("mnist")
    key = next(key for key, row in params.paradigms.items() if row.conditional)
    cells = pd.DataFrame([(key, seed, "full") for seed in params.seeds] + [(key, params.seeds[0], "lucky")])
    cells.columns = ["paradigm", "seed", "cell"]
    assert figures.contenders(cells, params) == {"full"}
    unconditional = next(key for key, row in params.paradigms.items() if not row.conditional)
    assert figures.contenders(cells.assign(paradigm=unconditional), params) == set()


def test_a_native_cell_of_another_sampler_stands_off_the_line(workplace, monkeypatch):
    params, drawn = runs.load("digits"), {}
    monkeypatch.setattr(figures.charts, "lines", lambda data, labels, x, *rest, **options: drawn.setdefault(x, data))
    figures.cost_charts(invented(params), params, 0.5)
    own = {key: row.samplers[0] for key, row in params.paradigms.items()}
    data = drawn["nfe"]
    assert (data.apart == (data.sampler != data.paradigm.map(own))).all() and data.apart.any()
    assert data[data.apart].native.all()


def test_a_sampler_may_be_called_what_python_allows():
    label = "X: FID 1 at network evaluations 4 [c:mine/My_Solver/4/1.3333333]"
    found = charts.TAG.sub(charts._attributes, f'<path aria-label="{label}"')
    assert found.endswith('evaluations 4" data-mark data-p="mine" data-cell="mine/My_Solver/4/1.3333333"')
    names = [charts.cell_id("a", "ddim", 8, scale) for scale in (0.0, 1.0, 7.5, 4 / 3, 100.0)]
    assert [name.rsplit("/", 1)[1] for name in names] == ["0", "1", "7.5", "1.3333333333333333", "100"]


def test_effects_are_ratios_of_rows_that_differ_in_one_thing(monkeypatch):
    """By hand: three networks and two objectives, FIDs that are powers of two by seed."""
    params = runs.load("digits")
    pairs = effects.comparisons(params)
    rows = params.paradigms
    for words, key, base in pairs:
        row, other = rows[key], rows[base]
        objective = (row.target, row.path, row.times) != (other.target, other.path, other.times)
        assert (row.network != other.network) != objective, (words, "exactly one of the two differs")
        assert words.startswith("objective: " if objective else "network: ")
    words, key, base = pairs[0]
    logs = {key: [1.0, 2.0, 4.0], base: [2.0, 2.0, 2.0]}
    paradigms, cells, _ = frames_for(logs)
    other = cells.assign(sampler="heun", fid=cells.fid / 100)  # a sampler that the other rows may not have
    native = cells.assign(steps=250, fid=cells.fid / 100, native=True)
    cells = pd.concat([cells, other, native], ignore_index=True)
    monkeypatch.setattr(effects, "comparisons", lambda _: pairs[:1])
    found = effects.ratios({"paradigms": paradigms, "cells": cells}, params, "best_")
    assert list(found.comparison) == [words]
    assert found.ratio[0] == pytest.approx(1.0), "the geometric mean of 1/2, 1 and 2"
    half = 4.302653 * math.log(2) / math.sqrt(3)  # t of 2 degrees of freedom; standard deviation log 2
    assert (found.low[0], found.high[0]) == pytest.approx((math.exp(-half), math.exp(half)), rel=1e-5)


def test_a_row_is_given_for_its_network_and_objective_by_its_own_sampler():
    """A lower FID under a sampler that only some rows have is the sampler's."""
    params = runs.load("digits")
    key = next(key for key, row in params.paradigms.items() if row.conditional and row.samplers[0] == "ddim")
    paradigms, cells, _ = frames_for({key: [2.0, 4.0]})
    cells = pd.concat(
        [cells, cells.assign(sampler="heun", fid=0.1), cells.assign(steps=20, nfe=20, fid=[1.0, 1.5])],
        ignore_index=True,
    )
    frames = {"paradigms": paradigms, "cells": cells}
    assert effects.own_seeds(frames, params, key, "best_").to_dict() == {0: 1.0, 1: 1.5}
    assert effects.own_seeds(frames, params, key, "few_").to_dict() == {0: 2.0, 1: 4.0}


def test_confusion_is_shares_of_what_was_asked(named, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures.charts, "confusion", lambda data, name: drawn.append((name, data)))
    monkeypatch.setattr(figures.charts, "beside", lambda parts, columns: None)
    monkeypatch.setattr(figures.charts, "svg", lambda chart, name: "")
    figures.confusion_figure(invented(named), named)
    assert len(drawn) == sum(row.conditional for row in named.paradigms.values())
    for _, data in drawn:  # nine of ten fours come out as fours, in each of two seeds
        assert dict(zip(data.shown, data.share, strict=True)) == pytest.approx({4: 0.9, 9: 0.1})
        assert list(data.images) == [18, 2]
        assert any(text.endswith("of 4 asked for, 10.0% seen as 9") for text in data.text)


def test_the_page_says_how_far_a_run_agrees_with_the_committed_reference(named):
    frames = invented(named)
    named_run = store.frame("provenance", [{"key": "run", "value": "smoke"}])
    frames["provenance"] = pd.concat([named_run, frames["provenance"]], ignore_index=True)
    assert "no reference of a run called smoke" in page.render(frames, named)
    other = frames | {"provenance": frames["provenance"].replace("abc", "<b>def</b>")}
    folder = REFERENCES / "smoke-somewhere/tables"
    store.write(folder, other)
    html = page.render(frames, named)
    assert "are the same to the last digit" in html and "the reference smoke-somewhere" in html
    assert "&lt;b&gt;def&lt;/b&gt;" in html and "<b>def" not in html
    worse = other["cells"].assign(pca_fid=other["cells"].pca_fid * (3 + other["cells"].seed / 100))
    store.write(folder, other | {"cells": worse})
    html = page.render(frames, named)
    assert re.search(r"The runs disagree: \d+ values of [\d,]+ in \d+ cells differ by more than seed noise", html)
    assert "By row and metric" in html and page.render(frames, named) == html
