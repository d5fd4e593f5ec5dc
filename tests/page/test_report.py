"""The report: safe, deterministic, self-contained, and true to its tables."""

import base64
import hashlib
import itertools
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from invented import invented
from markupsafe import escape

from diffbench import runs
from diffbench.claims.judge import judge_all
from diffbench.claims.load import load
from diffbench.report import charts, effects, figures, finding, page, sections, sprites
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
    charts_ = (
        "nfe",
        "seconds",
        "solvers",
        "guidance",
        "guidance_words",
        "convergence",
        "training",
        "noise",
        "confusion",
    )
    found = figures.figures(invented(named), named)
    assert set(found) == set(charts_) and html.count('<svg role="group"') == sum(map(len, found.values()))
    assert html.count("data:image/png;base64,") == 4 * len(named.paradigms) + 1, "and that of real images"


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
    strips = len(arms) + 2 * len(named.paradigms)
    assert html.count('<span class="strip s') == strips, (
        "one for each arm, each row, and each row beside its neighbours"
    )
    assert len(arms) and all(f'<th scope="row">{arm}<' in html for arm in arms.arm)
    assert "Smoke run: do not cite" in html
    assert "not comparable with Inception FID" in html


def test_every_score_says_on_the_page_what_it_is_blind_to(named):
    frames = invented(named)
    html = page.render(frames, named)
    for column in schema.SCORES:
        assert f"<em>Blind to {escape(column.blind)}.</em>" in html, column.name
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
    for name in ("cost", "guidance-trade", "effects", "failures"):
        assert "Without samples, so not shown here: DiT-style." in parts[name], name
    assert re.search(r"<h3>DiT-style</h3>\s*<p class=\"note\">Nothing to show", parts["failures"])


def test_real_images_stand_beside_the_values(named):
    """In the tables of the summary, of the side experiments and of all cells, whatever else is sorted or filtered."""
    frames = invented(named)
    html = page.render(frames, named)
    floor = store.real_test_row(frames["floors"])
    rows = re.findall(r'<tr class="floor"><th scope="row">real test images.*?</tr>', html, re.DOTALL)
    arms = frames["arms"].paradigm.nunique()
    assert len(rows) == 4 + arms, "the last is that of all cells"
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
        (
            {"a": [1.0, 3.0, 2.0], "b": [2.0, 1.5, 3.0]},
            "No row is proved best: A has the lowest mean, FID 2.00 with 10 network evaluations. 3 seeds are too few "
            "to rank it above B (2.17; better on 2 of 3 seeds, p = 0.78); real test digits score 1.00.",
        ),
        ({"a": [1.0], "b": [9.0]}, "A has the lowest FID, 1.00, on one seed, which decides nothing; "),
        # one row that kept a single seed hides nothing of what the others decide, be it behind or in front of them
        (
            {"a": [1.0, 1.1, 1.05], "b": [9.0, 9.9, 9.4], "c": [9.0]},
            "A comes closest to the real digits: FID 1.05 with 10 network evaluations; real test digits score 1.00; "
            "C has too few seeds to compare.",
        ),
        (
            {"a": [1.0, 3.0, 2.0], "b": [2.0, 1.5, 3.0], "c": [0.5]},
            "No row is proved best: A has the lowest mean, FID 2.00 with 10 network evaluations. 3 seeds are too few "
            "to rank it above B (2.17; better on 2 of 3 seeds, p = 0.78); real test digits score 1.00; C has too few "
            "seeds to compare.",
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
    monkeypatch.setattr(figures.charts, "lines", lambda data, looks, x, *rest, **options: drawn.setdefault(x, data))
    figures.cost_charts(invented(params), params, 0.5, "nfe", 100, 100)
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


def test_effects_in_words_give_the_numbers_of_the_table():
    rows = pd.DataFrame(
        {"steps": [8, 8], "ratio": [0.51234, 2.0], "low": [0.4, None], "high": [0.6, None], "seeds": "{}"}
    )
    found = effects.shown(rows, ["one thing", "another"])
    assert list(found.comparison) == ["one thing", "another"] and list(found.ratio) == [0.51234, 2.0]
    assert list(found.text) == [
        "one thing, 8 steps: FID times 0.512, 95% interval 0.4 to 0.6", "another, 8 steps: FID times 2",
    ]  # fmt: skip


def test_the_grid_of_networks_and_objectives_shows_the_best_cells_of_the_table(workplace):
    params = runs.load("digits")
    frames = invented(params)
    found = sections.objectives(frames, params)
    by_id = frames["paradigms"].set_index("paradigm")
    assert found["rows"]["unet"]["eps"]["best"] == by_id.best_fid["unet-eps"]
    assert found["rows"]["dit"]["velocity"]["few"] == by_id.few_fid["dit-velocity"]


def looks_of(name):
    params = runs.load(name)
    return params, charts.looks(params)


@pytest.mark.parametrize("name", ["digits", "mnist-small", "mnist-after", "mnist"])
def test_colour_is_the_output_outline_the_network_and_no_two_rows_look_alike(name, workplace):
    params, found = looks_of(name)
    for one, row in params.paradigms.items():
        for other, that in params.paradigms.items():
            same = charts.output(row) == charts.output(that)
            assert (found[one]["colour"] == found[other]["colour"]) == same
            assert (found[one]["dash"] == found[other]["dash"]) == (row.network == that.network)
            alike = all(found[one][part] == found[other][part] for part in ("colour", "path"))
            both = {row.role, that.role}
            assert not alike or one == other or "factor" in both or name == "mnist", (one, other)


def test_long_names_lose_the_words_that_all_share():
    assert charts.shortened(["U-Net + eps, rate 0.0005", "U-Net + v, rate 0.01"]) == [
        "eps, rate 0.0005",
        "v, rate 0.01",
    ]
    assert charts.shortened(["DiT + x0, loss on velocity", "DiT + eps, loss on velocity"]) == ["x0", "eps"]
    assert charts.shortened(["U-Net + eps", "U-Net + velocity"]) == ["U-Net + eps", "U-Net + velocity"], "room for both"
    assert charts.shortened(["U-Net + eps at flow's noise levels", "DDPM"])[0].startswith("U-Net"), "nothing shared"
    assert charts.shortened(["U-Net + eps at flow's noise levels"])[0].startswith("U-Net")


@given(st.lists(st.floats(0, 200), min_size=1, max_size=14))
def test_labels_are_spread_without_changing_their_order(wanted):
    found = charts.spread(wanted, 15, 0, 230)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [found[index] for index in order]
    assert all(after - before >= 15 - 1e-6 for before, after in itertools.pairwise(placed))
    assert placed[0] >= -1e-6 and placed[-1] <= 230 + 1e-6
    if all(b - a >= 15 for a, b in itertools.pairwise(sorted(wanted))):
        assert found == pytest.approx(wanted), "what has room stays where it is"


def test_a_bad_cell_leaves_the_frame_and_says_so(named):
    frames = invented(named)
    bad = (frames["cells"].paradigm == "sd1") & (frames["cells"].steps == 2)
    frames["cells"].loc[bad, "fid"] = 9999.0
    html = page.render(frames, named)
    assert re.search(r"SD1-style, [^\"]*: FID 9999 at network evaluations \d+, above the frame", html)
    assert "\u25b2" in html


def test_the_nearest_training_image_is_found_and_a_copy_shows_itself():
    generator = np.random.default_rng(3)
    among = generator.integers(0, 256, (60, 8, 8), np.uint8)
    wanted = np.array([5, 59, 0])
    assert list(sprites._nearest(sprites.greys(among[wanted]), among, chunk=7)) == list(wanted)


def test_a_run_is_not_held_against_its_own_copy(named):
    frames = invented(named)
    named_run = store.frame("provenance", [{"key": "run", "value": "smoke"}])
    frames["provenance"] = pd.concat([named_run, frames["provenance"]], ignore_index=True)
    store.write(REFERENCES / "smoke-somewhere/tables", frames)
    html = page.render(frames, named)
    assert "This run is the committed reference smoke-somewhere itself" in html
    assert "to the last digit" not in html
    again = frames | {"cost": frames["cost"].assign(seconds_per_1000=frames["cost"].seconds_per_1000 * 1.01)}
    assert "are the same to the last digit" in page.render(again, named), "another run that agrees"


def test_confusion_is_shares_of_what_was_asked(named, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures.charts, "confusion", lambda data, name: drawn.append((name, data)))
    monkeypatch.setattr(figures.charts, "svg", lambda chart, name: "")
    figures.confusion_figure(invented(named), named)
    assert len(drawn) == sum(row.conditional for row in named.paradigms.values())
    for _, data in drawn:  # nine of ten fours come out as fours, in each of two seeds
        assert dict(zip(data.shown, data.share, strict=True)) == pytest.approx({4: 0.9, 9: 0.1})
        assert list(data.images) == [18, 2]
        assert any(text.endswith("of 4 asked for, 10.0% seen as 9") for text in data.text)


def test_claims_of_later_papers_are_not_counted_as_the_articles(workplace):
    found = counted([(1, "supported"), (20, "not testable here"), (21, "supported"), (25, "supported")])
    assert [(group["words"], [(row["before"], row["verdict"]) for row in group["counts"]]) for group in found] == [
        ("Of the article's 2 claims", [(1, "supported"), (1, "not testable here")]),
        ("Of 2 claims of other papers", [(2, "supported")]),
    ]
    one, later = found
    assert [[(row["before"], row["verdict"]) for row in group["every"]] for group in found] == [
        [(1, "supported"), (1, "not testable here")],
        [(2, "supported"), (0, "not testable here")],
    ]
    assert one["tested"] and later["tested"]
    assert not counted([(1, "not testable here")])[0]["tested"]
    assert len(counted([(1, "supported")])) == 1, "a kind without claims is not named"


def test_a_run_made_for_one_claim_opens_with_its_verdict(workplace):
    """On the rates of stability, with the chart of what its rows differ in; a preset of many claims does neither."""
    shutil.copy(ROOT / "workflow/claims.yaml", workplace / "workflow/claims.yaml")
    params = runs.load("stability")
    frames = invented(params)
    frames["claims"], frames["claim_parts"] = judge_all(load(), frames, params)
    html = page.render(frames, params)
    verdict = frames["claims"].set_index("number").verdict[7]
    assert f"<h1>v is more stable: {verdict}.</h1>" in html and "each step buy?" not in html
    assert len(figures.series_figure(frames, params, 1.0)["series"]) == 2, "wide and narrow"
    assert "The rows of a line differ in nothing else. In 20 steps" in html and "FID against learning rate" in html
    apart = runs.load("patches")
    html = page.render(invented(apart), apart)
    assert "nothing else, but each has its own learning rate. In 20" in html and "FID against pixels of a patch" in html
    many = runs.load("digits")
    assert "each step buy?" in page.render(invented(many), many) and not figures.series_figure(
        invented(many), many, 1.0
    )


def test_a_row_without_settings_of_few_evaluations_shows_its_best(workplace):
    params = runs.load("stability")
    html = page.render(invented(params), params)
    assert "no samples" not in html and "and the network evaluations (NFE) they took" in html


def test_withheld_combinations_stand_beside_the_others(workplace):
    params = runs.load("composition")
    frames = invented(params)
    cells = frames["cells"]
    own = cells[(cells.guidance == 1) & (cells.steps == 20) & (cells.arm == "") & ~cells.native.astype(bool)]
    rows = {row["key"]: row for row in sections.combinations(frames, params)}
    assert list(rows) == ["sd3", "unet-velocity", "dit-velocity"]
    for key, row in rows.items():
        mine = own[own.paradigm == key]
        assert len(mine) == len(params.seeds)
        assert row["new"] == pytest.approx(mine.joint_error_withheld.mean())
        assert row["other"] == pytest.approx((mine.joint_error_withheld - mine.joint_error_gap).mean())
        assert row["low"] < row["gap"] < row["high"]
    assert "Prompts that no network was trained on" in page.render(frames, params)
    assert sections.combinations(invented(runs.load("smoke")), runs.load("smoke")) == []


def counted(verdicts):
    rows = [{"number": number, "verdict": verdict, "verdict_holm": verdict} for number, verdict in verdicts]
    return finding.counted(store.frame("claims", rows))


def test_weights_and_slants_are_shares_of_what_was_asked(named):
    """Bold was asked for twelve times in each of two seeds: one light, two regular, three bold of every six."""
    found = sections.word_shares(invented(named), named)
    assert [row["key"] for row in found] == [
        key for key, row in named.paradigms.items() if row.conditional and row.role != "factor"
    ]
    for row in found:
        assert row["axes"]["weight"][2] == {"asked": "bold", "shares": pytest.approx([1 / 6, 2 / 6, 3 / 6])}
        assert row["axes"]["weight"][0] == {"asked": "light", "shares": [0, 0, 0]}, "nothing was asked, nothing fails"
        assert row["axes"]["slant"][2]["asked"] == "right-slanted"


def test_samples_along_training_stand_in_the_order_of_images(named):
    frames = invented(named, {"sd1"})
    found = sections.growth(frames, named, {key: sprites.album(named, key) for key in named.paradigms})
    assert found["marks"] == ["100 images", "200 images"]
    by_key = {row["key"]: row for row in found["rows"]}
    assert list(by_key) == [key for key, row in named.paradigms.items() if row.role != "factor"]
    assert [cell["failed"] for cell in by_key["sd1"]["cells"]] == [True, True]
    index = list(named.paradigms).index("sd2")
    assert [cell["fid"] for cell in by_key["sd2"]["cells"]] == [f"{index + 1:.2f}", f"{index + 0.5:.2f}"]
    assert by_key["sd2"]["sprite"].id == f"g{index}"


def test_failures_of_words_name_them(named):
    frames = invented(named)
    found = sections.failures(frames, named, {key: sprites.album(named, key) for key in named.paradigms})
    row = next(row for row in found if row["key"] == "sd1")
    items = [item for kind in row["kinds"] for item in kind["items"]]
    assert [item["short"] for item in items] == [
        "4 \u2192 9, 80%",
        "9, 80%",
        "bold \u2192 regular",
        "right-slanted \u2192 upright",
    ]
    assert items[2]["words"].endswith("4, asked to be bold, is regular")


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
