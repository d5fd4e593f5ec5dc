"""The page in a real browser: what it loads, whom it serves, and what its script does."""

import csv
import itertools
import json
import math
import os
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from clones import cloned, run
from conftest import ROOT
from invented import invented

from diffbench import config, design, runs
from diffbench.report import effects, figures, finding
from diffbench.report.charts import cell_id
from diffbench.runtime.places import Places
from diffbench.stages import claims, report
from diffbench.tables import schema, store

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update")
NASTY = "<script>alert(1)</script>"

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
NEEDED = os.environ.get("DIFFBENCH_NEEDS_BROWSER")  # set in CI, where a missing browser is a failure


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium of the system's, or the one that ``playwright install chromium`` brought."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as playwright:
        if path is None and not Path(playwright.chromium.executable_path).exists():
            (pytest.fail if NEEDED else pytest.skip)(
                "no Chromium: install the system's, or give 'playwright install chromium'"
            )
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root otherwise
        started = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *sandbox])
        yield started
        started.close()


def page_in(folder: Path, spoil: set[str] | None = None):
    """The digits preset's page with made-up numbers and a nasty label, in ``folder``; its path, its frames, its params.

    Args:
        spoil: the paradigms that failed; all of them by default.
    """
    (folder / "workflow").mkdir()
    for name in ("presets", "schemas"):
        shutil.copytree(ROOT / "workflow" / name, folder / "workflow" / name)
    shutil.copy(ROOT / "workflow/claims.yaml", folder / "workflow/claims.yaml")
    shutil.copy(ROOT / "workflow/presets/mnist.yaml", folder / "params.yaml")
    preset = folder / "workflow/presets/digits.yaml"
    changes = yaml.safe_load(preset.read_text())
    changes["paradigms"]["sd2"]["label"] = NASTY
    preset.write_text(yaml.safe_dump(changes))
    before = Path.cwd()
    os.chdir(folder)
    try:
        params = runs.load("digits")
        frames = invented(params, spoil=set(params.paradigms) if spoil is None else spoil)
        claims.run(params)
        report.run(params)
        places = Places(params.name)
        frames |= {name: store.read(places.tables, name) for name in ("claims", "claim_parts")}
        return places.report.resolve(), frames, params
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A page on which one paradigm failed; its path, its frames and its params."""
    return page_in(tmp_path_factory.mktemp("browser"), spoil={"dit"})


@pytest.fixture(scope="module")
def barren(tmp_path_factory):
    """The path of a page on which every training failed."""
    return page_in(tmp_path_factory.mktemp("barren"))[0]


class Opened:
    """A page with what went wrong on it."""

    def __init__(self, browser, url: str, **options):
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.troubles: list[str] = []
        self.page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", self._request)
        self.page.goto(url)

    def _request(self, request) -> None:
        if not request.url.startswith(("file://", "data:", "about:")):
            self.troubles.append(f"asks for {request.url}")


@pytest.fixture
def opened(browser, built):
    """Opens the page; every context is closed at the end."""
    contexts = []

    def open_(fragment: str = "", path: Path | None = None, **options) -> Opened:
        options = {"viewport": {"width": 1280, "height": 860}} | options
        found = Opened(browser, (path or built[0]).as_uri() + fragment, **options)
        contexts.append(found.context)
        return found

    yield open_
    for context in contexts:
        context.close()


def violations(page, opened: bool = True) -> list[str]:
    """What axe finds, by default with every detail open; charts apart, whose labels have a test of their own."""
    if opened:
        page.evaluate("for (const element of document.querySelectorAll('details')) element.open = true")
    found = axe_api.Axe().run(page, context={"exclude": [["figure svg"]]}).response["violations"]
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in found]


def overflow(page) -> int:
    """Pixels by which the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


def unlabelled(page) -> int:
    """Pictures and figures without a name."""
    return page.evaluate(
        "[...document.querySelectorAll('[role=img], [role=group], figure svg:not([aria-hidden])')]"
        ".filter((e) => !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby')).length"
    )


def test_nothing_leaves_the_page_and_nothing_fails(opened):
    shown = opened()
    assert shown.page.evaluate("document.querySelectorAll('.script:not([hidden])').length") > 0, "the script ran"
    assert shown.troubles == []
    assert unlabelled(shown.page) == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}],
    ids=["light", "dark", "phone"],
)
def test_axe_finds_nothing_and_the_page_never_scrolls_sideways(opened, options):
    shown = opened(**options)
    assert overflow(shown.page) <= 0
    assert violations(shown.page, opened=False) == []
    assert violations(shown.page) == []
    assert overflow(shown.page) <= 0


def test_the_first_screen_has_question_answer_effects_samples_and_verdicts(opened):
    """At 1280 x 860, with the banner of a failed row."""
    page = opened().page
    for place in (".asked", "h1", "header a[href='#article']", "header a[href='#claims']", "nav", ".effects-short",
                  ".strips tr:nth-child(3)", "#use"):  # fmt: skip
        box = page.locator(place).first.bounding_box()
        assert box["y"] >= 0 and box["y"] + min(box["height"], 300) <= 860, place
    assert page.locator(".effects-short [data-mark]").count() >= 4
    assert "not testable here" in page.inner_text("header")


def test_the_headline_agrees_with_the_numbers_and_the_verdicts(opened, built):
    """What it says that one objective needs, that its rows' cells have; and the verdicts it counts are the claims'."""
    _, frames, params = built
    page = opened().page
    said = re.fullmatch(
        r"In the same U-Net, (\w+) reaches FID ([\d.]+) in (\d+) evaluations?; (\w+) gets no lower than ([\d.]+), "
        r"in (\d+)(.*)\.",
        page.inner_text("h1"),
    )
    better, first, least, other, second, most, doubt = said.groups()
    rows = {
        row.target: row for row in frames["paradigms"].itertuples() if row.paradigm in ("unet-eps", "unet-velocity")
    }
    cells, best = frames["cells"], {}
    for name, fid, nfe in ((better, first, least), (other, second, most)):
        row = rows[name]
        own = cells[(cells.paradigm == row.paradigm) & (cells.guidance == row.guidance) & (cells.arm == "")]
        own = own[(own.sampler == params.paradigms[row.paradigm].samplers[0]) & (own.nfe == int(nfe))]
        assert len(own) == len(params.seeds) and float(fid) == pytest.approx(own.fid.mean(), rel=6e-3)
        best[name] = own.set_index("seed").fid
    assert float(first) <= float(second)
    assert (doubt == "") == (finding.unproved(best[better], best[other]) is False)
    groups = page.eval_on_selector("header .also:has(.count)", "(one) => one.textContent")
    for words, later in (
        (r"Of the article's (\d+) claims: (.*?)\.", False),
        (r"Of (\d+) claims of other .*?: (.*?)\.", True),
    ):
        own = frames["claims"][(frames["claims"].number > finding.ARTICLE) == later]
        number, counted = re.search(words, groups).groups()
        assert int(number) == len(own)
        counted = dict(reversed(one.split(" ", 1)) for one in counted.split(", "))
        assert {name: int(count) for name, count in counted.items()} == dict(own.verdict.value_counts())
    heads_, *rows_ = texts(page, "#claims .counts tr")
    for later in (False, True):
        own = frames["claims"][(frames["claims"].number > finding.ARTICLE) == later]
        if (own.verdict == finding.UNTESTED).all():
            continue
        title, alone, together, *rows_ = rows_
        assert title == [f"{'Other papers' if later else 'The article'}, {len(own)} claims"]
        for name, before, after in zip(heads_[1:], alone[1:], together[1:], strict=True):
            assert (int(before), int(after)) == ((own.verdict == name).sum(), (own.verdict_holm == name).sum())
    assert not rows_


def test_the_advice_is_that_of_the_cells(opened, built):
    """With a prompt: at every budget the row of the lowest mean, by cells chosen on validation, and its cost fits."""
    _, frames, _ = built
    page = opened().page
    rows = page.eval_on_selector_all(
        ".use tbody:first-of-type tr[data-p]",
        "(rows) => rows.map((row) => [row.dataset.p, ...[...row.cells].map((cell) => cell.innerText)])",
    )
    assert rows
    cells = frames["cells"]
    for key, budget, _, fid, how, _ in rows:
        sampler, steps = re.match(r"([\w-]+), (\d+) step", how).groups()
        own = cells[(cells.paradigm == key) & (cells.sampler == sampler) & (cells.steps == int(steps))]
        guidance = float(re.search(r"guidance ([\d.]+)", how)[1])
        own = own[(own.guidance == guidance) & (own.arm == "")]
        assert float(fid) == pytest.approx(own.fid.mean(), rel=6e-3)
        assert budget == "any number" or own.nfe.max() <= int(budget.split()[0])


def test_text_from_params_is_text(opened):
    shown = opened()
    shown.page.on("dialog", lambda dialog: shown.troubles.append("a dialog"))
    assert NASTY in shown.page.inner_text("#summary")
    shown.page.select_option("#left-paradigm", "sd2")
    assert shown.page.inner_text("#left .pane-name") == NASTY and shown.troubles == []


def figures_of(page, side: str) -> dict[str, str]:
    rows = page.eval_on_selector_all(
        f"#{side} .pane-figures tr", "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return {row[0]: row[1] for row in rows}


def test_each_sides_sliders_go_by_keyboard_and_show_the_cells_own_figures(opened, built):
    _, frames, params = built
    page = opened().page
    page.select_option("#left-paradigm", "sd1")
    page.select_option("#right-paradigm", "sd3")
    before = page.inner_text("#right .pane-what")
    page.focus("#left-steps")
    page.keyboard.press("Home")
    assert page.get_attribute("#left-steps", "aria-valuetext") == "2 steps"
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#left-steps", "aria-valuetext") == "8 steps"
    page.focus("#left-guidance")
    page.keyboard.press("End")
    assert page.inner_text("#left-guidance-value") == "7.5"
    assert page.inner_text("#right .pane-what") == before, "each side has its own controls"
    cells = frames["cells"]
    own = cells[(cells.paradigm == "sd1") & (cells.sampler == "ddim") & (cells.steps == 8) & (cells.guidance == 7.5)]
    assert own.arm.eq("").all() and len(own) == len(params.seeds)
    assert float(figures_of(page, "left")["FID"]) == pytest.approx(own.fid.mean(), abs=0.005)
    page.focus("#left-steps")
    page.keyboard.press("End")
    assert page.inner_text("#left .pane-what") == "ddim, 20 steps, guidance 1.25", "the nearest scale that exists"


def test_every_stop_of_explore_exists_and_rows_open_at_their_chosen_cell(opened, built):
    """Whatever is chosen of what the controls offer: no combination is missing, and every cell can be reached."""
    frames = built[1]
    page = opened().page
    reached, chosen = page.evaluate(
        """() => {
        const data = JSON.parse(document.getElementById("data").textContent), reached = [], chosen = {};
        const at = (name) => document.getElementById("left-" + name);
        const set = (name, value) => {
          at(name).value = value;
          at(name).dispatchEvent(new Event(name === "paradigm" ? "change" : "input"));
        };
        const what = () => document.querySelector("#left .pane-what").textContent;
        for (const key of Object.keys(data.paradigms)) {
          set("paradigm", key);
          chosen[key] = what();
          for (const sampler of [...at("sampler").options].map((option) => option.value)) {
            set("sampler", sampler);
            for (let i = 0; i <= Number(at("steps").max); i++) {
              set("steps", i);
              for (let j = 0; j <= Number(at("guidance").max); j++) {
                set("guidance", j);
                const name = [at("sampler").value, at("steps-value").value, at("guidance-value").value].join("/");
                reached.push([key + "/" + name, name in data.paradigms[key].cells && what().startsWith(sampler)]);
              }
            }
          }
        }
        return [reached, chosen]; }"""
    )
    assert all(exists for _, exists in reached)
    grid = frames["cells"][frames["cells"].arm == ""]
    names = {cell_id(r.paradigm, r.sampler, r.steps, r.guidance) for r in grid.itertuples()}
    assert {name for name, _ in reached} == names
    for row in frames["paradigms"].dropna(subset=["few_fid"]).itertuples():
        scale = f"guidance {row.guidance:g}" if row.conditional else "unconditional"
        assert chosen[row.paradigm] == f"{row.few_sampler}, {row.few_steps} steps, {scale}"


def test_explores_digits_are_64_pixels_wide(opened):
    page = opened().page
    box = page.locator("#left .piece").first.bounding_box()
    assert box["width"] == pytest.approx(64, abs=1) and box["height"] == pytest.approx(64, abs=1)
    phone = opened(viewport={"width": 390, "height": 844}).page
    assert phone.locator("#left .piece").first.bounding_box()["width"] == pytest.approx(64, abs=1)


def test_every_cell_of_the_grid_can_be_opened_and_says_how_to_make_it(opened, built):
    _, frames, params = built
    page = opened().page
    data = json.loads(page.inner_text("#data"))
    commands = page.evaluate(
        """() => {
        const data = JSON.parse(document.getElementById("data").textContent), said = {};
        for (const [key, row] of Object.entries(data.paradigms)) for (const name of Object.keys(row.cells)) {
          const [sampler, steps, guidance] = name.split("/");
          location.hash = "#explore?left=" + [key, sampler, steps, guidance].join("/");
          dispatchEvent(new HashChangeEvent("hashchange"));
          said[key + "/" + name] = document.querySelector("#left .pane-command").textContent;
        }
        return said; }"""
    )
    grid = frames["cells"][frames["cells"].arm == ""]
    names = {cell_id(r.paradigm, r.sampler, r.steps, r.guidance) for r in grid.itertuples()}
    assert set(commands) == names and data["run"] == "digits"
    outputs = {
        f"results/digits/samples/{key}/0/{steps}.npz"
        for key in params.paradigms
        for steps in design.step_values(params, key)
    }
    for name, command in commands.items():
        target = command.removeprefix("snakemake --cores all ")
        assert target in outputs and f"/{name.split('/')[0]}/" in target
        stage, cell = target.rsplit("/", 1)[1].removesuffix(".npz"), name.split("/", 1)[1]
        made = design.cells(params, name.split("/")[0], 0, stage)
        assert cell in {cell_id("x", c.sampler, c.steps, c.guidance).split("/", 1)[1] for c in made}


@pytest.mark.engines
def test_snakemake_takes_the_reproduce_commands(opened, built, tmp_path):
    """As they stand on the page, in a fresh clone: one of each kind of cells, then all of their files at once.

    Only a verbose plan names files.
    """
    clone = cloned(tmp_path / "clone")
    page = opened().page
    data = json.loads(page.inner_text("#data"))
    words = shlex.split(page.inner_text("#right .pane-command"))
    assert words[0] == "snakemake"
    plan = run(*words, "-n", "--verbose", cwd=clone)
    assert words[-1] in plan and re.search(r"^sample\s+1$", plan, re.MULTILINE)
    files = {
        f"results/{data['run']}/samples/{key}/{data['seed']}/{cell['stage']}.npz"
        for key, row in data["paradigms"].items()
        for cell in row["cells"].values()
    }
    assert words[-1] in files and any(name.endswith("native.npz") for name in files)
    plan = run(*words[:-1], *sorted(files), "-n", "--verbose", cwd=clone)
    counts = dict(re.findall(r"^(\w+)\s+(\d+)$", plan, re.MULTILINE))
    assert int(counts["sample"]) == len(files) and all(name in plan for name in files)


def panes(page) -> list:
    """What the two panes of Explore show: words, samples, figures and command."""
    return page.evaluate(
        """[...document.querySelectorAll(".pane")].map((pane) => [
            ...[".pane-name", ".pane-what", ".pane-command"].map((name) => pane.querySelector(name).textContent),
            pane.querySelector(".piece").className, pane.querySelector(".cell").getAttribute("aria-label"),
            pane.querySelector(".cell").style.getPropertyValue("--r").trim(),
            [...pane.querySelectorAll("tr")].map((row) => [...row.cells].map((cell) => cell.textContent)),
        ])"""
    )


def test_explore_opens_with_the_script_as_without_it(opened):
    live, still = opened(), opened(java_script_enabled=False)
    shown = panes(live.page)
    assert len(shown) == 2 and shown[0] != shown[1]
    assert panes(still.page) == shown


def test_a_mangled_address_takes_nothing_from_the_page(opened):
    shown = opened("#%")
    shown.page.locator("#summary .summary th[data-sort='few_fid']").get_by_role("button").click()
    shown.page.click(".chip[data-p='sd3']")
    shown.page.evaluate("location.hash = '#%E0%A4%A'")
    assert shown.page.get_attribute(".chip[data-p='sd3']", "aria-pressed") == "true"
    assert shown.troubles == []


def test_where_every_training_failed_rows_open_nothing_and_the_rest_works(opened, barren):
    shown = opened(path=barren)
    page = shown.page
    assert "every training failed" in page.inner_text("h1") and page.locator(".pane").count() == 0
    page.evaluate("document.getElementById('rows').open = true")
    page.locator("#rows tbody tr[data-cell] td").first.click()
    page.select_option("#only", "sd3")
    assert set(column(page, "#rows", "paradigm")) == {"sd3"}
    assert page.locator("button.go").count() == 0
    assert violations(page) == [] and shown.troubles == []


def test_the_address_keeps_the_view(opened):
    view = "#explore?left=unet-eps/dpmpp-2m/20/1.25&right=sd3/euler/20/1.25"
    page = opened(view).page
    assert page.input_value("#left-paradigm") == "unet-eps" and page.input_value("#left-sampler") == "dpmpp-2m"
    assert page.inner_text("#right .pane-what") == "euler, 20 steps, guidance 1.25"
    page.focus("#right-steps")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("location.hash") == view.replace("euler/20", "euler/8")
    older = opened("#explore?left=unet-eps/dpmpp-2m&right=sd3/euler&steps=20&guidance=1.25").page
    assert older.inner_text("#left .pane-what") == "dpmpp-2m, 20 steps, guidance 1.25", "links of older pages hold"
    nonsense = opened("#explore?left=nobody/ddim&right=sd3/nothing&steps=7&guidance=x")
    assert nonsense.troubles == [] and nonsense.page.input_value("#right-paradigm") == "sd3"
    assert nonsense.page.inner_text("#right .pane-what").startswith("euler, 8 steps"), "the nearest that exists"


def test_the_address_keeps_the_filter(opened):
    page = opened("#rows?only=sd3&holds=euler+20").page
    assert page.input_value("#only") == "sd3" and page.input_value("#holds") == "euler 20"
    assert set(column(page, "#rows", "paradigm")) == {"sd3"} and page.is_visible("#rows table")
    page.select_option("#only", "sd1")
    assert page.evaluate("location.hash") == "#rows?only=sd1&holds=euler+20"


def test_a_link_opens_what_it_names(opened, built):
    page = opened("#claim-4").page
    assert page.evaluate("document.getElementById('claim-4').open")
    nested = page.eval_on_selector_all("details.rest details.claim", "(rows) => rows.map((row) => row.id)")
    untested = built[1]["claims"].query("verdict == 'not testable here'")
    assert nested == [f"claim-{number}" for number in untested.number] and nested
    assert not page.is_visible(f"#{nested[0]} .c-body")
    # Without navigating, because Chromium then opens what the target lies in by itself; others may not.
    page.evaluate(
        "(id) => { history.replaceState(null, '', `#${id}`); dispatchEvent(new HashChangeEvent('hashchange')); }",
        nested[0],
    )
    assert page.is_visible(f"#{nested[0]} .c-body"), "a link opens what it lies in too"
    targets = page.eval_on_selector_all("a[href^='#']", "(links) => links.map((link) => link.getAttribute('href'))")
    assert len(targets) > 40
    assert [t for t in set(targets) if not page.evaluate("(id) => !!document.getElementById(id)", t[1:])] == []
    assert page.locator("#claims details.claim").count() == len(built[1]["claims"])


NAMES = {  # what the page calls the metrics of the claims
    "fid": "FID", "nfe": "network evaluations", "digit_error": "digit error", "joint_error": "any word wrong",
    "slant_error": "slant error", "weight_error": "weight error", "x0_error": "error of x0",
    "path_over_chord": "length / chord", "velocity_deviation": "deviation",
}  # fmt: skip


def test_every_claim_links_to_where_its_metric_is_shown(opened, built):
    page = opened().page
    parts = built[1]["claim_parts"]
    claims = built[1]["claims"]
    linked = page.eval_on_selector_all(
        "#claims details.claim",
        """(rows) => rows.map((row) =>
            [row.id, ...[...row.querySelectorAll('a')].map((a) => a.getAttribute('href').slice(1))])""",
    )
    linked.sort(key=lambda row: int(row[0].removeprefix("claim-")))  # those that were not tested come last
    for claim, (card, *where) in zip(claims.itertuples(), linked, strict=True):
        assert card == f"claim-{claim.number}"
        own = parts[parts.number == claim.number]
        if own.empty:
            assert not where
            continue
        shown = own[own.part == claim.part].iloc[:1] if claim.part else own.iloc[:1]
        (part,), (section,) = shown.itertuples(), where
        text = page.evaluate("(id) => document.getElementById(id).textContent", section)
        assert NAMES.get(part.metric, part.metric) in text, (claim.title, section)
        assert (section == "training") == (part.measure == "area"), claim.title
        assert (section == "arms") == part.arms, claim.title


def test_marks_are_labelled_reached_by_arrows_and_open_their_cell(opened, built):
    _, frames, _ = built
    page = opened().page
    labels = page.eval_on_selector_all(
        "#cost > figure .panel:first-child svg [data-cell]",
        "(marks) => marks.map((mark) => mark.getAttribute('aria-label'))",
    )
    cells = frames["cells"]
    alone = {key for key, row in built[2].paradigms.items() if row.role == "factor"}
    drawn = cells[(cells.arm == "") & (cells.status == "ok") & ~cells.paradigm.isin(alone)]
    points = {cell_id(r.paradigm, r.sampler, r.steps, r.guidance) for r in drawn.itertuples()}
    assert len(labels) == len(points) and all(re.search(r": FID [\d.]+ at network evaluations \d+", x) for x in labels)
    page.locator("#cost svg [data-cell][tabindex='0']").first.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    cell = page.evaluate("document.activeElement.dataset.cell")
    said = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    key, sampler, steps, _ = cell.split("/")
    assert page.input_value("#left-paradigm") == key and page.input_value("#left-sampler") == sampler
    assert f"{steps} step" in page.inner_text("#left .pane-what")
    assert float(figures_of(page, "left")["FID"]) == pytest.approx(float(re.search("FID ([0-9.]+)", said)[1]), rel=5e-3)
    assert page.locator(f"svg [data-cell='{cell}'].here").count() >= 1, "the cell is ringed where it is drawn"


def marks_wanted(frames: dict[str, pd.DataFrame], params: config.Params) -> dict[str, int]:
    """How many marks each chart should have, counted in the tables; rows for one factor alone stand in no chart."""
    keys = [key for key, row in params.paradigms.items() if row.role != "factor"]
    cells = frames["cells"][frames["cells"].paradigm.isin(keys)]
    grid = cells[(cells.arm == "") & (cells.status == "ok")]
    first = grid[grid.seed == 0]
    chosen = frames["paradigms"].set_index("paradigm").guidance
    solved = first[(first.guidance == first.paradigm.map(chosen)) & ~first.native.astype(bool)]
    own = {key: row.samplers[0] for key, row in params.paradigms.items()}
    swept = first[
        (first.steps == params.sampling.guidance.sweep_steps) & (first.sampler == first.paradigm.map(own))
        & ~first.native.astype(bool) & first.paradigm.map(lambda key: params.paradigms[key].conditional)
    ]  # fmt: skip
    steps = effects.STEPS
    pairs = sum(len(effects.comparisons(frames["effects"], count)) for count in steps)
    network = effects.chained(frames["effects"])
    links = sum(len(effects.chain(frames["effects"], count, network)) for count in steps)
    known = {name: frames[name][(frames[name].seed == 0) & frames[name].paradigm.isin(keys)].dropna(subset=[metric])
             for name, metric in (("convergence", "fid"), ("noise_error", "x0_error"))}  # fmt: skip
    asked = int((swept.guidance > 0).sum())
    by_target = frames["paradigms"][frames["paradigms"].paradigm.isin(keys)].groupby("target").size()
    words = {"t": "time t", "log_snr": "log-SNR"}
    confused = frames["confusion"][frames["confusion"].paradigm.isin(keys)]
    labels = {key: params.paradigms[key].label for key in keys}
    return {
        **dict.fromkeys(("FID against network evaluations", "FID against seconds per 1,000 images"), len(first)),
        **{
            f"FID against NFE by sampler, {labels[key]}": int((solved.paradigm == key).sum())
            for key in keys
            if len(params.paradigms[key].samplers) > 1 and (solved.paradigm == key).any()
        },
        **{f"{name} against guidance scale": len(swept) for name in ("FID", "recall")},
        **{f"{name} against guidance scale": asked for name in figures.ADHERENCE.values()},
        "Ratio of FID by factor": len(effects.in_short(frames["effects"], effects.SHORT)),
        "Ratios of FID as one factor after the other changes": links,
        "Ratios of FID between rows that differ in one factor": pairs,
        **{f"FID against training {x}": len(known["convergence"]) for x in ("images", "seconds")},
        **{
            f"Training loss of {target} against images seen": count for target, count in by_target.items()
        },  # a line each
        **{f"Error of x0 by {words[axis]}": len(rows) for axis, rows in known["noise_error"].groupby("axis")},
        **{
            f"{labels[key]}: digits seen by digits asked for": len(own.groupby(["asked", "shown"]))
            for key, own in confused.groupby("paradigm")
        },
    }


def test_every_figure_has_a_mark_for_each_number_that_says_which(opened, built):
    page = opened().page
    found = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll(".panel svg, .forest")].map((chart) => [
            chart.getAttribute("aria-label"),
            [...chart.querySelectorAll("[data-mark]")].map((mark) => mark.getAttribute("aria-label"))]))"""
    )
    assert {name: len(labels) for name, labels in found.items() if labels} == {
        name: count for name, count in marks_wanted(*built[1:]).items() if count
    }
    names = {row.label for row in built[2].paradigms.values()}
    for figure, labels in found.items():
        assert not any("[" in label for label in labels), figure
        assert len(set(labels)) == len(labels), figure
        if "by sampler" not in figure and "Ratio" not in figure:
            assert all(label.split(": ")[0].split(", ")[0] in names for label in labels), figure


# Of what is shown: Vega lays out every tick and makes those that would touch invisible.
LABELS = """(chart, name) => [...chart.querySelectorAll(name)]
    .filter((text) => text.textContent.trim() && getComputedStyle(text).opacity > 0).map((text) => {
    const box = text.getBoundingClientRect();
    return [text.textContent, box.x, box.y, box.width, box.height]; })"""


def collisions(labels: list[tuple[str, float, float, float, float]]) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes overlap by more than a hair."""
    found = []
    for index, (one, x, y, width, height) in enumerate(labels):
        for other, x2, y2, width2, height2 in labels[index + 1 :]:
            across = min(x + width, x2 + width2) - max(x, x2)
            down = min(y + height, y2 + height2) - max(y, y2)
            if across > 2 and down > 0.35 * min(height, height2):
                found.append((one, other))
    return found


@pytest.mark.parametrize("width", [1280, 390])
def test_labels_in_charts_do_not_overlap_and_can_be_read(opened, width):
    """Text of at least 11 pixels, on a phone too, and no label on another."""
    page = opened(viewport={"width": width, "height": 860}).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    charts_ = [chart for chart in page.locator(".panel svg").all() if chart.is_visible()]
    assert len(charts_) > 10
    for chart in charts_:
        labels = [tuple(label) for label in chart.evaluate(LABELS, "text") if label[0] != "\u25b2"]  # which is a mark
        assert labels and collisions(labels) == [], chart.get_attribute("aria-label")
        scale = chart.evaluate("(svg) => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width")
        sizes = chart.evaluate(
            "(svg) => [...svg.querySelectorAll('text')].map((text) => parseFloat(getComputedStyle(text).fontSize))"
        )
        assert min(sizes) * scale >= 11, (chart.get_attribute("aria-label"), min(sizes), scale)
    for axis in page.locator(".f-axis").all():
        assert collisions([tuple(tick) for tick in axis.evaluate(LABELS, "i")]) == []
    small = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter((e) => [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())
                && !e.closest("svg, script, style") && e.checkVisibility())
            .map((e) => [parseFloat(getComputedStyle(e).fontSize), e.className]).filter(([size]) => size < 11)"""
    )
    assert small == []


def test_panels_of_a_phone_stand_one_under_the_other(opened):
    page = opened(viewport={"width": 390, "height": 844}).page
    for panels in page.locator(".panels:not(.small)").all():
        boxes = [panel.bounding_box() for panel in panels.locator(".panel").all() if panel.is_visible()]
        assert all(one["y"] + one["height"] <= other["y"] + 1 for one, other in itertools.pairwise(boxes))
        assert all(box["width"] <= 390 for box in boxes)
    page.evaluate("scrollTo(0, 5000)")
    assert page.locator("nav").bounding_box()["y"] == pytest.approx(0, abs=1), "the menu stays"


@pytest.mark.parametrize("section", ["cost", "guidance-trade", "effects", "training", "noise", "failures"])
def test_marks_are_reached_by_keyboard_and_show_their_name(opened, section):
    shown = opened()
    page = shown.page
    page.evaluate(f"document.querySelectorAll('#{section} details').forEach((one) => one.open = true)")
    chart = page.locator(f"#{section} .panel svg, #{section} .forest").first
    chart.locator("[data-mark][tabindex='0']").focus()
    said = set()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        label = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert page.inner_text(".tip") == label
        said.add(label)
    assert len(said) == min(3, chart.locator("[data-mark]").count()) > 1 and overflow(page) <= 0
    page.keyboard.press("Escape")
    assert page.is_hidden(".tip") and shown.troubles == []


def test_rows_open_their_cell(opened):
    page = opened().page
    row = page.locator("#summary .summary tr[data-cell]").nth(2)
    cell = row.get_attribute("data-cell")
    row.get_by_role("button").click()
    assert page.input_value("#left-paradigm") == cell.split("/")[0]
    assert page.evaluate("location.hash").startswith(f"#explore?left={cell}&")


def column(page, table: str, name: str) -> list[str]:
    index = page.eval_on_selector_all(
        f"{table} thead th", "(heads, name) => heads.findIndex((head) => head.dataset.sort === name)", name
    )
    return page.eval_on_selector_all(
        f"{table} tbody tr:not([hidden]):not(.floor)",
        "(rows, i) => rows.map((row) => row.cells[i].dataset.v ?? row.cells[i].textContent)",
        index,
    )


def test_tables_sort_both_ways_with_missing_values_last(opened):
    page = opened().page
    page.evaluate("document.getElementById('rows').open = true")
    head = page.locator("#rows th[data-sort='fid']")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    values = column(page, "#rows", "fid")
    known = [float(value) for value in values if value]
    assert (
        known == sorted(known)
        and len(known) < len(values)
        and values[len(known) :] == [""] * (len(values) - len(known))
    )
    head.get_by_role("button").click()
    values = [float(value) for value in column(page, "#rows", "fid") if value]
    assert values == sorted(known, reverse=True) and column(page, "#rows", "fid")[-1] == ""
    page.locator("#summary .summary th[data-sort='few_fid']").get_by_role("button").click()
    rows = page.locator("#summary .summary tbody tr")
    assert "real test images" in rows.last.inner_text(), "what is no row of the run stays below"


def test_rows_are_filtered_by_words_and_by_paradigm(opened, built):
    cells = built[1]["cells"]
    page = opened().page
    page.evaluate("document.getElementById('rows').open = true")
    page.fill("#holds", "dpmpp failed")
    wanted = cells[(cells.sampler == "dpmpp-2m") & (cells.status == "failed")]
    assert page.inner_text("#count") == f"{len(wanted)} rows" and len(wanted) > 0
    page.fill("#holds", "")
    page.select_option("#only", "sd3")
    assert set(column(page, "#rows", "paradigm")) == {"sd3"}
    assert page.inner_text("#count") == f"{(cells.paradigm == 'sd3').sum()} rows"


def test_downloads_are_the_tables_themselves(opened, built):
    page = opened().page
    for kind in ("csv", "parquet"):
        with page.expect_download() as waiting:
            page.click(f"a[download='cells.{kind}']")
        got = Path(waiting.value.path()).read_bytes()
        assert got == (built[0].parent / "tables" / f"cells.{kind}").read_bytes()


def texts(page, rows: str) -> list[list[str]]:
    """The visible text of the cells of some rows; a sprite and an arrow have none."""
    return page.eval_on_selector_all(rows, "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText))")


def heads(page, table: str) -> list[str | None]:
    return page.eval_on_selector_all(f"{table} thead th", "(heads) => heads.map((head) => head.dataset.sort)")


def close(said: str, value: str) -> bool:
    """Whether a printed number is that of the CSV to its three digits, and a missing one a dash."""
    if not value:
        return said == "\u2013"
    share = said.endswith("%")
    return float(said.rstrip("%")) / (100 if share else 1) == pytest.approx(
        float(value), rel=6e-3, abs=6e-4 if share else 1e-9
    )


def test_numbers_on_the_page_are_those_of_the_csv(opened, built):
    """What is printed, not only what the tables sort by, of every score of every cell."""
    with (built[0].parent / "tables/cells.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    page = opened().page
    page.evaluate("document.getElementById('rows').open = true")
    names, shown = heads(page, "#rows"), texts(page, "#rows tbody tr:not(.floor)")
    assert len(shown) == len(rows) and {column.name for column in schema.SCORES} <= set(names)
    for name in (column.name for column in schema.SCORES):
        index = names.index(name)
        wrong = [(cells[index], row[name]) for cells, row in zip(shown, rows, strict=True)
                 if not close(cells[index], row[name])]  # fmt: skip
        assert not wrong, (name, wrong[:3])
        sorted_by = column(page, "#rows", name)
        assert [float(v) if v else None for v in sorted_by] == [float(r[name]) if r[name] else None for r in rows], name
    index = names.index("status")
    assert [cells[index] for cells in shown] == [row["status"] for row in rows]


def test_the_summary_says_what_the_csv_does(opened, built):
    folder = built[0].parent / "tables"
    page = opened().page
    with (folder / "paradigms.csv").open(newline="") as handle:
        rows = {row["paradigm"]: row for row in csv.DictReader(handle)}
    cost, cells_ = pd.read_csv(folder / "cost.csv"), pd.read_csv(folder / "cells.csv")
    names = heads(page, "#summary .summary")
    keys = page.eval_on_selector_all("#summary .summary tr[data-p]", "(rows) => rows.map((row) => row.dataset.p)")
    shown = texts(page, "#summary .summary tr[data-p]")
    assert set(keys) == set(rows) and len(keys) == len(rows)
    for key, cells in zip(keys, shown, strict=True):
        row = rows[key]
        clock = cost[
            (cost.stage == "sample") & (cost.paradigm == key) & (cost.sampler == row["best_sampler"]) & cost.arm.isna()
            & (cost.steps == float(row["best_steps"] or -1)) & (cost.guidance == float(row["guidance"] or -1))
        ].seconds_per_1000.mean()  # fmt: skip
        row |= {"seconds": "" if pd.isna(clock) else str(clock)}
        best = cells_[
            (cells_.paradigm == key) & (cells_.sampler == row["best_sampler"]) & cells_.arm.isna()
            & (cells_.steps == float(row["best_steps"] or -1)) & (cells_.guidance == float(row["guidance"] or -1))
        ]  # fmt: skip
        row |= {"chance_error": str(best.joint_error_shuffled.mean())}
        for name, text in zip(names, cells, strict=True):
            if name:
                first, *low = text.split("\n")
                assert close(first.strip(), row[name]), (key, name, text)
                for number, end in zip(re.findall(r"[\d.]+", " ".join(low)), ENDS.get(name, ()), strict=bool(low)):
                    assert close(f"{number}%" if end.endswith("error") else number, row[end]), (key, end, text)
    assert any("NFE" in cells[1] for cells in shown)


ENDS = {  # the small print of a column of the summary
    "few_fid": ("few_fid_low", "few_fid_high", "few_nfe"),
    "best_fid": ("best_fid_low", "best_fid_high", "best_nfe"),
    "joint_error": ("digit_error", "chance_error"),
}


def test_the_claims_say_what_the_csv_does(opened, built):
    """Verdicts, effect and interval of every claim as printed; a log ratio as the factor that it stands for."""
    with (built[0].parent / "tables/claims.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    with (built[0].parent / "tables/claim_parts.csv").open(newline="") as handle:
        parts = list(csv.DictReader(handle))
    page = opened().page
    shown = page.eval_on_selector_all(
        "#claims details.claim",
        """(rows) => rows.map((row) => ["c-title", "c-effect", "c-alone", "c-holm", "c-criterion", "c-among"]
            .map((name) => (row.querySelector("." + name) || { textContent: "" }).textContent.trim()))""",
    )
    assert len(shown) == len(rows) > 10
    shown.sort(key=lambda row: int(row[0].split(".")[0]))  # those that were not tested come last

    def spelled(value: str, unit: str) -> float:
        return math.exp(float(value)) if unit == "log ratio" else float(value)

    for (title, effect, alone, holm, needs, among), row in zip(shown, rows, strict=True):
        assert title == f"{row['number']}. {row['title']}"
        verdict = alone.removesuffix(" fragile")
        assert verdict.split(maxsplit=1)[1] == row["verdict"]
        assert alone.endswith("fragile") == (row["fragile"] == "True"), title
        assert holm == "same" if row["verdict_holm"] == row["verdict"] else holm.endswith(row["verdict_holm"]), title
        deciding = sum(part["claim"] == row["claim"] and part["decides"] == "True" for part in parts)
        several = deciding > 1 and row["part"] != ""
        weakest = "weakest" if row["combine"] == "all" else "strongest"
        assert among == (f"{weakest} of {deciding}" if several else ""), title
        printed = [float(text) for text in re.findall(r"-?[\d.]+", effect)]
        values = [spelled(row[name], row["unit"]) for name in ("effect", "low", "high") if row[name]]
        assert printed == pytest.approx(values, rel=6e-3, abs=1e-6), (title, effect)
        assert ("\u00d7" in effect) == (row["unit"] == "log ratio" and bool(row["effect"]))
        if bar := re.fullmatch(r"above \u00d7?([-+]?[\d.]+)(, no worse)?", needs):
            margin = (-1 if bar[2] else 1) * float(row["margin"])
            assert float(bar[1]) == pytest.approx(spelled(margin, row["unit"]), rel=6e-3)
        else:
            assert needs == "" and not row["margin"], title


def test_the_forest_of_claims_shows_each_effect_on_its_side_of_the_margin(opened, built):
    page = opened().page
    claims_ = {row.number: row for row in built[1]["claims"].itertuples()}
    drawn = page.eval_on_selector_all(
        "#claims details.claim",
        """(rows) => rows.filter((row) => row.querySelector("summary .f-mean")).map((row) => {
            const places = (name) => [...row.querySelectorAll("summary " + name)].map((e) => parseFloat(e.style.left));
            return [row.id, places(".f-mean")[0], places(".f-one")[0], places(".f-bound").sort((a, b) => a - b)]; })""",
    )
    assert drawn
    for name, mean, zero, bounds in drawn:
        row = claims_[int(name.removeprefix("claim-"))]
        assert (mean > zero) == (row.effect > 0) or abs(row.effect) < 1e-3 * row.margin, name
        assert (mean < bounds[0]) == (row.effect < -row.margin), name


def test_a_paradigm_is_highlighted_everywhere_and_let_go(opened):
    page = opened().page
    chip = page.locator(".chip[data-p='sd3']")
    chip.click()
    assert chip.get_attribute("aria-pressed") == "true"
    dimmed = "[...document.querySelectorAll('[data-p]:not(.chip)')].filter((e) => getComputedStyle(e).opacity < 0.2)"
    page.wait_for_function(f"{dimmed}.length > 100")
    assert page.evaluate(f"new Set({dimmed}.map((e) => e.dataset.p)).has('sd3')") is False
    page.keyboard.press("Escape")
    assert chip.get_attribute("aria-pressed") == "false"


PLACE = "getComputedStyle(document.querySelector('.film .frame')).backgroundPositionY"


def test_the_denoising_plays_by_itself_and_can_be_stopped(opened):
    page = opened().page
    page.locator("#denoising").scroll_into_view_if_needed()
    first = page.evaluate(PLACE)
    page.wait_for_timeout(2500)
    assert page.evaluate(PLACE) != first
    assert page.inner_text("#play") == "Pause"
    page.click("#play")
    stopped = page.evaluate(PLACE)
    page.wait_for_timeout(600)
    assert page.evaluate(PLACE) == stopped and page.inner_text("#play") == "Play"


def test_the_denoising_stands_still_where_motion_is_not_wanted_and_is_scrubbed_by_hand(opened):
    page = opened(reduced_motion="reduce").page
    page.locator("#denoising").scroll_into_view_if_needed()
    page.focus("#frame")
    page.keyboard.press("Home")
    assert page.get_attribute("#frame", "aria-valuetext") == "t = 1"
    first = page.evaluate(PLACE)
    page.wait_for_timeout(700)
    assert page.evaluate(PLACE) == first, "no autoplay"
    page.keyboard.press("End")
    assert page.get_attribute("#frame", "aria-valuetext") == "t = 0" and page.evaluate(PLACE) != first
    assert "the training failed" in page.inner_text("#denoising .film[data-p='dit']")


def test_without_javascript_all_but_exploring_is_there(opened):
    shown = opened(java_script_enabled=False)
    page = shown.page
    assert page.locator("figure svg").count() >= 8 and page.is_visible("#cost figure svg")
    assert page.is_visible("#summary .strip") and page.is_visible("#denoising .still")
    assert page.locator(".forest").first.is_visible() and page.is_visible("#claims details.claim")
    assert page.is_visible("#left .cell") and page.is_hidden("#left form") and page.is_hidden(".chips")
    assert "needs JavaScript" in page.inner_text("#explore")


def test_on_paper_everything_is_open_and_nothing_is_a_control(opened, tmp_path):
    page = opened().page
    count = "document.querySelectorAll('details[open]').length"
    before = page.evaluate(count)
    paper = page.pdf(prefer_css_page_size=True)
    assert page.evaluate(count) == before, "what was closed before is closed again"
    assert paper.startswith(b"%PDF")
    pages = max(map(int, re.findall(rb"/Count (\d+)", paper)))
    assert 5 <= pages <= 60
    page.emulate_media(media="print")
    assert page.is_hidden("nav") and page.is_hidden("#left form") and page.is_visible("#denoising .still")
    assert "left out on paper" in page.inner_text("#cells"), "whose rows would be most of the pages"
    page.evaluate("document.querySelector('#rows').open = true")
    assert page.is_visible("#rows tbody tr") and page.is_hidden("#cells > .paper"), "who opened them wants them"
    page.set_viewport_size({"width": 1032, "height": 700})
    assert page.evaluate("document.querySelector('#rows table').scrollWidth") <= 1032, "A4 across holds every column"
    still = opened(java_script_enabled=False)
    still.page.emulate_media(media="print")
    part = still.page.locator(".claim .part").first
    assert part.bounding_box()["height"] > 20, "details are open on paper without the script too"


def test_motion_stops_where_it_is_not_wanted(opened):
    page = opened(reduced_motion="reduce").page
    assert page.evaluate("getComputedStyle(document.querySelector('tr[data-p]')).transitionDuration") in ("0s", "")


REAL = sorted((ROOT / "reports/reference").glob("*/report.html"))  # pages of real runs, as large as they get


@pytest.mark.parametrize("real", [None, *REAL], ids=lambda path: path.parent.name if path else "made up")
def test_it_is_small_and_paints_fast(opened, built, real):
    path = real or built[0]
    assert path.stat().st_size < 8e6
    paints = []
    for _ in range(3):
        page = opened(path=path).page
        paint = "performance.getEntriesByName('first-contentful-paint').map((entry) => entry.startTime)[0]"
        page.wait_for_function(f"{paint} !== undefined")
        paints.append(page.evaluate(paint))
    assert sorted(paints)[1] < 1000, paints


DEFECTS = {
    "contrast": ("</style>", ".note { color: #d8d8d8 !important; }</style>"),
    "alt": ('aria-label="DDPM: ten samples"', ""),
    "label": ('<label>Paradigm <select id="only">', '<span>Paradigm <select id="only">'),
    "image": ("<main>", '<main><img alt="" src="https://example.org/x.png">'),
    "error": ('"use strict";', '"use strict"; missing();'),
    "overflow": ("<main>", '<main><div style="width:3000px">wide</div>'),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_seeded_defects_are_caught(opened, built, tmp_path, defect):
    """The checks above can fail: each of these mistakes shows in one of them."""
    old, new = DEFECTS[defect]
    html = built[0].read_text()
    assert old in html
    html = html.replace(old, new, 1)
    html = html.replace("script-src 'sha256-", "script-src 'unsafe-inline' 'x-", 1)  # a changed script would not run
    path = tmp_path / "defect.html"
    path.write_text(html)
    shown = opened(path=path)
    found = {
        "contrast": lambda: any("color-contrast" in v for v in violations(shown.page)),
        "alt": lambda: unlabelled(shown.page) > 0,
        "label": lambda: any("select-name" in v for v in violations(shown.page)),
        "image": lambda: any("example.org" in trouble for trouble in shown.troubles),
        "error": lambda: any("missing" in trouble for trouble in shown.troubles),
        "overflow": lambda: overflow(shown.page) > 0,
    }
    assert found[defect]()


def test_an_injected_script_does_not_run(opened, built, tmp_path):
    path = tmp_path / "injected.html"
    path.write_text(built[0].read_text().replace("<main>", "<main><script>document.title = 'mine'</script>", 1))
    shown = opened(path=path)
    assert shown.page.title() == "diffbench: digits"
    assert any("Content Security Policy" in trouble for trouble in shown.troubles)
