"""The README's finding, the results in the documentation and pictures: made from a run, and those of the reference."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from invented import invented
from PIL import Image

from diffbench import cli, design, runs
from diffbench.errors import UserError
from diffbench.report import film, posters, readme
from diffbench.report.finding import number, pairs
from diffbench.runtime.places import REFERENCES, Places
from diffbench.stages import claims
from diffbench.tables import store

MARKS = {
    name: (f"<!-- {name}: made by `python -m diffbench readme` -->", f"<!-- /{name} -->")
    for names in readme.MARKED.values()
    for name in names
}


def between(text: str, name: str) -> str:
    first, last = MARKS[name]
    return text.split(first)[1].split(last)[0].strip()


def invent(name, data):
    """Made-up tables of a preset, judged, in the folder of a run."""
    params = runs.load(name)
    frames = invented(params)
    facts = {"run": name, "data": data, "seeds": "0, 1, 2"}
    more = store.frame("provenance", [{"key": key, "value": value} for key, value in facts.items()])
    frames["provenance"] = pd.concat([more, frames["provenance"]], ignore_index=True)
    store.write(Places(name).tables, frames)
    claims.run(params)
    return params, frames


@pytest.fixture
def digits(workplace, monkeypatch):
    """The digits preset with made-up tables, in a folder that has the files with marks and their templates."""
    (workplace / "docs").mkdir()
    for path in (*readme.TEMPLATES.values(), *readme.MARKED):
        (workplace / path).write_text((ROOT / path).read_text())
    (workplace / "workflow/claims.yaml").write_text((ROOT / "workflow/claims.yaml").read_text())
    return invent("digits", "digits")


def test_readme_and_results_are_filled_from_the_tables(digits, capsys):
    _, frames = digits
    before = {path: path.read_text() for path in readme.MARKED}
    assert cli.main(["readme", "digits"]) == 0
    assert "wrote README.md, docs/results.md from reports/digits/tables" in capsys.readouterr().out
    after = {path: path.read_text() for path in readme.MARKED}
    results = between(after[readme.RESULTS], "results")
    for row in frames["paradigms"].itertuples():
        line = f"| `{row.paradigm}` | {row.network}, {row.target}, {row.path} | {number(row.few_fid)} |"
        assert (line in results) == (row.role != "factor"), "the table of factors has those"
    assert "(../reports/digits/samples.png)" in results and "not MNIST" in results
    assert between(after[readme.RESULTS], "claims").startswith("Of the article's 20 claims: ")
    finding = between(after[readme.README], "finding")
    assert "With the same U-Net, velocity reaches FID" in finding
    assert "(reports/digits/quality.png)" in finding and readme.FILM.name not in finding, "this run has no page"
    assert not readme.FILM.exists()
    for path, names in readme.MARKED.items():
        texts = [after[path], before[path]]
        for index, text in enumerate(texts):
            for name in names:
                texts[index] = texts[index].replace(between(text, name), "")
        assert texts[0].split() == texts[1].split(), "what stands outside the marks is untouched"
    assert cli.main(["readme", "digits"]) == 0 and after == {path: path.read_text() for path in readme.MARKED}


def test_rows_are_compared_only_where_the_network_is_the_same():
    names = ("paradigm", "network", "target", "path", "times", "conditional", "best_fid")
    rows = [
        ("a", "unet", "eps", "vp-linear", "uniform", True, 4.0),
        ("b", "unet", "velocity", "linear", "logit-normal", True, 2.0),
        ("c", "dit", "velocity", "linear", "logit-normal", True, 3.0),
        ("d", "dit", "eps", "vp-scaled-linear", "uniform", True, 5.0),
        ("e", "mmdit", "eps", "vp-linear", "uniform", False, 5.0),
    ]
    frame = store.frame("paradigms", [dict(zip(names, row, strict=True)) for row in rows])
    found = pairs(frame)
    assert [(p["network"], p["eps"].paradigm, p["velocity"].paradigm) for p in found] == [("unet", "a", "b")]
    assert [row["paradigm"] for row in readme.short(frame, 2.0)] == ["a", "d", "e"], "more than 1.5 times, not exactly"


@pytest.mark.parametrize("path", readme.MARKED, ids=str)
def test_files_without_their_marks_are_left_alone(digits, path, capsys):
    path.write_text("# mine\n")
    before = {path: path.read_text() for path in readme.MARKED}
    assert cli.main(["readme", "digits"]) == 2
    assert f"error: {path}: needs the lines" in capsys.readouterr().err
    assert before == {path: path.read_text() for path in readme.MARKED}
    with pytest.raises(UserError, match="no tables found"):
        readme.run("nothing")


def test_a_run_beside_adds_the_factors_in_its_network(digits):
    """Once, and only where the run itself has them in another one."""
    _, frames = invent("dit-factors", "mnist")
    assert cli.main(["readme", "digits", "--beside", "dit-factors", "dit-factors"]) == 0
    results, finding = readme.RESULTS.read_text(), between(readme.README.read_text(), "finding")
    assert results.count("The same in the DiT ([report](../reports/dit-factors/report.html)):") == 1
    effects = frames["effects"]
    path = effects[(effects.factor == "path") & (effects.steps == 20) & (effects.arm == "")]
    assert len(path) == 1 and f" {number(path.ratio.iloc[0], 2)} (" in results.split("The same in the DiT")[1]
    assert finding.count("In the [DiT](reports/dit-factors/report.html), in 20 steps: ") == 1
    assert cli.main(["readme", "digits", "--beside", "digits"]) == 0
    assert "The same in the" not in readme.RESULTS.read_text()


def test_runs_beside_add_later_rows_and_the_claims_that_they_test(digits, capsys):
    _, frames = invent("mnist-after", "mnist")
    assert cli.main(["readme", "digits", "--beside", "mnist-after"]) == 0
    results = readme.RESULTS.read_text()
    finding = between(readme.README.read_text(), "finding")
    for row in frames["paradigms"].itertuples():
        later = row.role == "after"
        assert (f"| `{row.paradigm}` ([`mnist-after`](../reports/mnist-after/report.html)) |" in results) == later
        assert not later or f"| {row.label} | {number(row.best_fid)} |" in finding
    assert "`python -m diffbench readme digits --beside mnist-after`" in results
    both = {
        name: store.read(Places(name).tables, "claims").set_index("number").verdict
        for name in ("digits", "mnist-after")
    }
    expected = [
        count for count, verdict in both["digits"].items()
        if verdict == readme.UNTESTED and both["mnist-after"][count] != readme.UNTESTED
    ]  # fmt: skip
    named = [int(count) for count in re.findall(r"\| (\d+)\. [^|]*\(tested in `mnist-after`\) \|", results)]
    assert sorted(named) == expected and len(expected) >= 2


def test_a_claim_is_taken_from_the_run_made_for_it_and_brings_what_explains_it(digits):
    """mnist-after comes first and can test claim 22 too: it keeps the row, whose settings are more."""
    invent("mnist-after", "mnist")
    invent("edm-levels", "mnist")
    assert cli.main(["readme", "digits", "--beside", "mnist-after", "edm-levels"]) == 0
    results = readme.RESULTS.read_text()
    assert "| `edm` ([`mnist-after`](../reports/mnist-after/report.html)) |" in results
    lines = [line for line in results.splitlines() if "| 22. " in line and "(tested in `edm-levels`)" in line]
    assert len(lines) == 4, "the verdict, and three changes"
    assert sum("| noise levels in training alone |" in line for line in lines) == 1
    assert "| 11. Flow matching is good in fewer steps | grid in sampling alone |" in results, "of the run itself"


def test_holm_is_over_all_claims_of_a_page_and_not_those_of_each_run():
    """Two claims of p = 0.04, each alone in its run, are one too many for 5% together."""

    def run(name: str, tested: str) -> dict[str, pd.DataFrame]:
        rows = [
            {"claim": claim, "number": number, "combine": "all", "part": "", "unit": "difference"}
            | ({"verdict": "supported", "verdict_holm": "supported", "p_supported": 0.04, "p_partly": 0.04,
                "p_contradicted": 1.0, "p_equivalent": 1.0}
               if claim == tested else {"verdict": readme.UNTESTED, "verdict_holm": readme.UNTESTED})
            for number, claim in ((1, "a"), (2, "b"), (3, "c"))
        ]  # fmt: skip
        return {
            "claims": store.frame("claims", rows), "claim_parts": store.frame("claim_parts", []),
            "provenance": store.frame("provenance", [{"key": "run", "value": name}]),
        }  # fmt: skip

    one, other = run("one", "a"), run("other", "b")
    alone = readme.tested(readme.judged(one["claims"], one["claim_parts"]), [])
    assert [row["verdict_holm"] for row in alone] == ["supported", readme.UNTESTED, readme.UNTESTED]
    both = readme.tested(readme.judged(one["claims"], one["claim_parts"]), [(other, Path("other"))])
    assert [row["verdict"] for row in both] == ["supported", "supported", readme.UNTESTED]
    assert [row["verdict_holm"] for row in both] == ["inconclusive", "inconclusive", readme.UNTESTED]


def committed() -> tuple[Path, list[Path]]:
    """The reference that the README and the results show, and those beside it."""
    command = re.search(r"`python -m diffbench readme (\S+)(?: --beside ([^`]+))?`", readme.RESULTS.read_text())
    return REFERENCES / command[1], [REFERENCES / name for name in (command[2] or "").split()]


def test_the_committed_readme_and_results_are_those_of_the_reference(at_root):
    """And no number between their marks was typed by hand."""
    folder, beside = committed()
    frames, *more = ({name: store.read(each / "tables", name) for name in readme.READS} for each in (folder, *beside))
    found = readme.blocks(frames, folder, list(zip(more, beside, strict=True)))
    for path in readme.MARKED:
        assert readme.filled(path, path.read_text(), found) == path.read_text()
    for name in ("samples.png", "quality.png", "report.html"):
        assert (folder / name).stat().st_size > 10_000


def test_the_moving_picture_is_the_references_denoising(at_root):
    """Frame by frame, of pairs that differ in their objective only, and small enough for a README."""
    folder, _ = committed()
    rows = readme.film_rows({"paradigms": store.read(folder / "tables", "paradigms")}, folder)
    assert len(rows) >= 2 and [label.split()[-1] for label, _ in rows] == ["eps", "velocity"] * (len(rows) // 2)
    top, right = film.TOP, film.LEFT + len(film.SHOWN) * film.SIDE + film.GAP
    with Image.open(readme.FILM) as picture:
        assert picture.n_frames == len(rows[0][1]) // 2 and picture.info["loop"] == 0
        for index in (0, picture.n_frames - 1):
            picture.seek(index)
            grey = np.asarray(picture.convert("L")).astype(int)
            for place, (_, strips) in enumerate(rows):
                side = strips.shape[1]
                own = strips[picture.n_frames + index][:, :side].astype(int)  # the estimate of the first digit
                corner = top + place * (film.SIDE + 6)
                shown = grey[corner : corner + film.SIDE, right : right + film.SIDE]
                assert np.abs(shown[:: film.SIDE // side, :: film.SIDE // side][:side, :side] - own).max() <= 8
    assert readme.FILM.stat().st_size < 1_000_000


def test_a_page_without_denoising_gives_no_moving_picture(tmp_path):
    assert film.strips(tmp_path / "report.html") == {}
    (tmp_path / "report.html").write_text("<p>nothing</p>")
    assert film.strips(tmp_path / "report.html") == {}


def test_the_posters_show_the_very_samples(digits):
    """Each paradigm's strip, enlarged, is that of its cell in the sheet; the same tables give the same bytes."""
    params, frames = digits
    posters.run(frames, params)
    places = Places("digits")
    first = [path.read_bytes() for path in (places.samples_poster, places.quality_poster)]
    posters.run(frames, params)
    assert first == [path.read_bytes() for path in (places.samples_poster, places.quality_poster)]
    row = frames["paradigms"].set_index("paradigm", drop=False).loc["sd3"]
    strip = np.asarray(posters.strip(params, row))
    assert strip.shape == (64, 640)
    order = [tuple(cell.key.values()) for cell in design.all_cells(params, "sd3", 0)]
    place = order.index((row.few_sampler, row.few_steps, row.guidance, ""))
    with Image.open(places.evaluation("sd3", 0).with_suffix(".png")) as sheet:
        grey = np.asarray(sheet.convert("L"))
    assert (strip[::8, ::8] == grey[2 * place * 8 : 2 * place * 8 + 8]).all()
    with Image.open(places.samples_poster) as poster:
        poster = np.asarray(poster.convert("L"))
    assert (
        poster[12 : 12 + 64, 300 : 300 + 640] == np.asarray(posters.strip(params, frames["paradigms"].iloc[0]))
    ).all()
    with Image.open(places.quality_poster) as chart:
        assert chart.width > 1200


def test_posters_of_a_run_that_failed_are_there_all_the_same(workplace):
    params = runs.load("smoke")
    posters.run(invented(params, spoil=set(params.paradigms)), params)
    assert Places("smoke").samples_poster.exists() and Places("smoke").quality_poster.exists()
