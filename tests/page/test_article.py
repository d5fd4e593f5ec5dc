"""What docs/article.md says: of every formula by an exact denoiser, of every claim by the tables it names."""

import json
import math
import re

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_claims import fabricated
from test_compare import save

from diffbench import cli, runs
from diffbench.claims.judge import judge_all
from diffbench.claims.load import load
from diffbench.compare.locate import reference_of
from diffbench.data.vocabulary import VOCABULARY
from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.samplers import ddim, euler
from diffbench.diffusion.targets import recover, target
from diffbench.diffusion.times import trailing
from diffbench.report import article
from diffbench.report.finding import UNTESTED
from diffbench.runtime.places import REFERENCES
from diffbench.tables import store

BETA = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
ABAR = torch.cumprod(1 - BETA, 0)


@pytest.fixture(scope="module")
def facts():
    return article.formula_values()


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def draws(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 64, 1, 4, 4, dtype=torch.float64, generator=generator).unbind()


# The formulas


def test_one_step_alphas_hardly_add_noise(facts):
    """sqrt(1 - alpha_t) with alpha_t = 1 - beta_t is sqrt(beta_t); with the product nothing but noise is left."""
    assert facts["per_step"] == pytest.approx(math.sqrt(0.02), abs=1e-12) and facts["per_step"] < 0.15
    path, one = PATHS["vp-linear"](), scalar(1.0)
    assert float(path.sigma(one)) == pytest.approx(float((1 - ABAR[-1]).sqrt())) and float(path.sigma(one)) > 0.9999


def test_the_printed_update_loses_a_mode_or_the_scale(facts):
    """15% at -1 and 85% at 1 under the exact denoiser: DDIM keeps both; the printed update does under no reading."""
    shown = facts["printed"]
    assert shown["ddim"]["low"] == pytest.approx(0.15, abs=0.01) and shown["ddim"]["off"] == 0
    assert shown["ddim"]["std"] == pytest.approx(facts["std"], abs=0.02)
    for reading in ("ratio", "beta"):
        assert shown[reading]["low"] == 0 and shown[reading]["std"] < 0.01, "one and the same sample"
    assert shown["step"]["off"] > 0.3 and abs(shown["step"]["low"] - 0.15) > 0.1
    # DDPM's posterior mean is (x - beta / sqrt(1 - abar) eps) / sqrt(1 - beta): the printed one lacks the root.
    x0, eps = draws()
    path, i = PATHS["vp-linear"](), 399
    x = ABAR[i].sqrt() * x0 + (1 - ABAR[i]).sqrt() * eps
    posterior = (
        ABAR[i - 1].sqrt() * BETA[i] / (1 - ABAR[i]) * x0 + (1 - BETA[i]).sqrt() * (1 - ABAR[i - 1]) / (1 - ABAR[i]) * x
    )
    torch.testing.assert_close(posterior, (x - BETA[i] / (1 - ABAR[i]).sqrt() * eps) / (1 - BETA[i]).sqrt())
    # And its eps counts about 2 sigma times what it does in DDIM's step, which the page says in two numbers.
    for name, level in (("noise", 1000), ("data", 10)):
        sigma = float(path.sigma(scalar(level / 1000)))
        assert facts["eps"][name] == pytest.approx(2 * sigma, rel=0.06)


def test_the_corrected_update_is_the_benchmarks_ddim():
    """The two lines that the page gives instead, with abar from the betas."""
    path, x = PATHS["vp-linear"](), draws(1)[0]
    network = lambda x, t: 0.7 * torch.tanh(x + 0.3) + 0.1 * t  # noqa: E731
    ts = trailing(10, 1000)
    expected = x
    for t, s in zip((ts[:-1] * 1000).round().long(), (ts[1:] * 1000).round().long(), strict=True):
        abar_t, abar_s = ABAR[t - 1], ABAR[s - 1] if s > 0 else scalar(1.0)
        eps = network(expected, t / 1000)
        x0 = (expected - (1 - abar_t).sqrt() * eps) / abar_t.sqrt()
        expected = abar_s.sqrt() * x0 + (1 - abar_s).sqrt() * eps
    found = ddim(lambda x, t: recover("eps", path, network(x, t), x, t), path, x, ts)
    torch.testing.assert_close(found, expected)


def test_zeroing_a_label_asks_for_a_zero(facts):
    label = np.array([7, 3, 9])
    assert {VOCABULARY[token] for token in label * ~np.array([True, True, True])} == {"0"} == {facts["zero"]}
    assert VOCABULARY.index("null") > 9, "the null of this benchmark is a token of its own"


def test_the_printed_v_is_right_only_for_square_roots_of_abar():
    x0, eps = draws(2)
    path = PATHS["vp-linear"]()
    for level in (50, 400, 900):
        abar, t = ABAR[level - 1], torch.full((64,), level / 1000, dtype=torch.float64)
        x = abar.sqrt() * x0 + (1 - abar).sqrt() * eps
        torch.testing.assert_close(target("v", path, x0, eps, t), abar.sqrt() * eps - (1 - abar).sqrt() * x0)
        for alpha, right in ((abar.sqrt(), True), (abar, False), (1 - BETA[level - 1], False)):
            sigma = (1 - abar).sqrt() if right else (1 - alpha).sqrt()
            v = alpha * eps - sigma * x0  # as printed, with this alpha_t
            assert torch.allclose(abar.sqrt() * x - (1 - abar).sqrt() * v, x0) == right
            assert bool((alpha**2 + sigma**2 - 1).abs() < 1e-9) == right


def test_eps_is_never_small_and_its_errors_grow_in_x0(facts):
    path, (x0, eps) = PATHS["vp-linear"](), draws(3)
    for level in (1, 500, 1000):
        t = torch.full((64,), level / 1000, dtype=torch.float64)
        assert float(target("eps", path, x0, eps, t).std()) == pytest.approx(1, abs=0.05)
    t = torch.ones(64, dtype=torch.float64)
    x = path.alpha(t[0]) * x0 + path.sigma(t[0]) * eps
    assert float((x - eps).abs().max()) < 0.05, "at the last level x_t is all but eps"
    for kind, expected in (("eps", facts["linear"]), ("v", 1.0)):
        out = target(kind, path, x0, eps, t)
        growth = (recover(kind, path, out + 0.01, x, t).x0 - x0).abs().mean() / 0.01
        assert float(growth) == pytest.approx(expected, rel=1e-3)
    assert facts["linear"] > 10 * facts["scaled"] > 100


def test_the_flow_samplers_sign_works_with_a_positive_step_only(facts):
    """x + v dt with v = x0 - z: Euler on the linear path for dt = 1 / S, and away from the data for dt = -1 / S."""
    path, x = PATHS["linear"](), article.noise()
    denoise = article.two_modes(path)
    right = article.flow(x, denoise, 50, 1.0)
    torch.testing.assert_close(right, euler(denoise, path, x, trailing(50, None)))
    assert facts["flow"]["right"] == pytest.approx(facts["std"], abs=0.02)
    assert facts["flow"]["wrong"] > 5 * facts["std"]


def test_one_step_of_the_exact_flow_is_the_mean_and_its_path_is_curved(facts):
    own = facts["flow"]
    assert own["one"] == pytest.approx(0.85 - 0.15) and own["one_std"] < 1e-9, "the same from every noise"
    assert own["ratio"] > 1.2
    # One image only: then every line ends there, none cross, and the flow is straight.
    path = PATHS["linear"]()
    alone = article.mixture(path, torch.ones(1, 2, dtype=torch.float64), torch.ones(1, dtype=torch.float64), width=0.0)
    points, _, _ = article.trajectory(alone, path, draws(4)[0][:, :, :1, :2], trailing(50, None))
    length, chord = (points[1:] - points[:-1]).norm(dim=-1).sum(), (points[-1] - points[0]).norm(dim=-1).sum()
    assert float(length / chord) == pytest.approx(1, abs=1e-9)


# The page


@pytest.fixture(scope="module")
def frames():
    """Made-up tables of the digits run, with its real claims judged on them."""
    import os

    before = os.getcwd()
    os.chdir(ROOT)
    try:
        params = runs.load("digits")
        own = fabricated(params)
        judged = judge_all(load(), own, params)
    finally:
        os.chdir(before)
    names = {"run": "digits", "data": "digits", "seeds": "0, 1, 2", "device": "cpu", "commit": "abc"}
    provenance = store.frame("provenance", [{"key": key, "value": value} for key, value in names.items()])
    return own | {"claims": judged[0], "claim_parts": judged[1], "provenance": provenance}


def template() -> str:
    return (ROOT / article.TEMPLATE).read_text(encoding="utf-8")


def test_every_claim_stands_on_the_page_with_its_verdict(frames):
    page = article.render(frames, template())
    for row in frames["claims"].to_dict("records"):
        assert f"**Claim {row['number']}: {row['verdict']}" in page
        assert f"| {row['number']} | {row['title']} | {row['verdict']} |" in page
        assert all(f"> {quote}" in page for quote in json.loads(row["quotes"]))
    part = frames["claim_parts"].query("claim == 'flow-few-steps' and part == 'quality at 8 steps'").iloc[0]
    assert f"quality at 8 steps, fid: {article.effect_text(part.effect, part.unit)} (90% interval" in page
    assert "which `snakemake --cores all digits` makes" in page
    committed = article.render(frames, template(), REFERENCES / "digits-cpu")
    assert "committed under [`reports/reference/digits-cpu`](../reports/reference/digits-cpu)" in committed


def test_a_run_without_some_claims_says_so(frames):
    few = frames | {
        name: frames[name][frames[name].number != 11].reset_index(drop=True) for name in ("claims", "claim_parts")
    }
    few["cost"] = store.frame("cost", [])
    few["cells"] = store.frame("cells", [])
    page = article.render(few, template())
    assert "Claim 11 is not in this run." in page and "with a clock" not in page and "7.5 (table" not in page


def test_no_measured_number_is_typed_into_the_template():
    """Decimals are of arXiv ids, of the article's own scale, or of the definition of the null."""
    text = re.sub(r"arXiv:\d{4}\.\d{5}|\{\{.*?\}\}|\{%.*?%\}", "", template(), flags=re.DOTALL)
    assert set(re.findall(r"\d+\.\d+", text)) <= {"7.5", "0.1"}


def test_every_proof_that_the_page_names_is_a_test_here():
    named = set(re.findall(r'proof\("(\w+)"\)', template()))
    assert len(named) >= 7 and all(callable(globals().get(name)) for name in named), named


def test_code_on_the_page_is_the_articles_but_for_the_correction():
    printed = (
        "xt = sqrt(alpha_t) * x0 + sqrt(1 - alpha_t) * eps", "x = (x - eps * dt) / sqrt(1 - dt)",
        "return uncond_pred + cfg_scale * (cond_pred - uncond_pred)",
        "cond = cond * ~mask  # Zero out conditioning randomly",
        "v_target = alpha_t * eps - sigma_t * x0", "v_target = x0 - z\nx = x + v * dt",
    )  # fmt: skip
    blocks = re.findall(r"```python\n(.*?)\n```", template(), flags=re.DOTALL)
    assert [block for block in blocks if block not in printed] == [
        "x0 = (x - sqrt(1 - abar_t) * eps) / sqrt(abar_t)\nx = sqrt(abar_s) * x0 + sqrt(1 - abar_s) * eps"
    ], "the only code that is not the article's is the corrected update"


def test_the_command_prints_or_writes_the_page(frames, tmp_path, monkeypatch, capsys):
    (tmp_path / "docs").mkdir()
    (tmp_path / article.TEMPLATE).write_text(template(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "reports/reference/digits-cpu", frames)
    assert cli.main(["article", "digits-cpu"]) == 0
    printed = capsys.readouterr().out
    assert cli.main(["article", "reports/reference/digits-cpu", "--write", "docs/article.md"]) == 0
    assert (tmp_path / article.PAGE).read_text(
        encoding="utf-8"
    ) == printed and "reports/reference/digits-cpu" in printed
    assert capsys.readouterr().out == "wrote docs/article.md\n"
    assert cli.main(["article", "nowhere"]) == 2 and "no tables found" in capsys.readouterr().err
    (tmp_path / article.TEMPLATE).unlink()
    assert cli.main(["article", "digits-cpu"]) == 2
    assert capsys.readouterr().err.startswith("error: docs/article.md.j2: cannot be read")


def test_the_committed_page_is_that_of_the_committed_tables(at_root):
    """Nobody edits the page by hand: where its run is committed, it is what the tables give."""
    page = (ROOT / article.PAGE).read_text(encoding="utf-8")
    found = re.search(r"committed under \[`(reports/reference/[^`]+)`\]", page)
    if found is None:
        pytest.skip("the page is of a run whose tables are not committed")
    folder = ROOT / found.group(1)
    named = re.search(r"marked with another run's name are from (.*)\.$", page, re.MULTILINE)
    beside = [reference_of(run) for run in re.findall(r"`([^`]+)`", named[1])] if named else []
    own, *others = ({name: store.read(each / "tables", name) for name in article.READS} for each in (folder, *beside))
    assert article.render(own, template(), folder.relative_to(ROOT), others) == page


def test_a_claim_that_a_run_cannot_test_is_taken_from_one_beside_it(frames):
    """With that run's name; what the run tests itself stays."""
    other = runs.load("mnist-after")
    tables = fabricated(other)
    tables |= dict(zip(("claims", "claim_parts"), judge_all([*load()], tables, other), strict=True))
    tables["provenance"] = store.frame("provenance", [{"key": "run", "value": "mnist-after"}])
    alone, both = article.claims(frames), article.claims(frames, [tables])
    verdicts = tables["claims"].set_index("number").verdict
    taken = [number for number, own in both.items() if own["run"]]
    assert taken and all(both[number]["run"] == "mnist-after" for number in taken)
    assert all(alone[number]["verdict"] == UNTESTED != both[number]["verdict"] == verdicts[number] for number in taken)
    assert all(str(both[number]) == str(alone[number]) for number in both if number not in taken)  # NaN is not itself
    page = article.render(frames | {"effects": store.frame("effects", [])}, template(), None, [tables])
    assert "marked with another run's name are from `mnist-after`." in page and "On `mnist-after`." in page
    claims = tables["claims"].assign(preset=lambda data: data.preset.mask(data.number == 22, "made-for-it"))
    named = store.frame("provenance", [{"key": "run", "value": "made-for-it"}])
    made = tables | {"claims": claims, "provenance": named}
    assert {number: own["run"] for number, own in article.claims(frames, [tables, made]).items()} == {
        number: "made-for-it" if number == 22 else own["run"] for number, own in both.items()
    }


def test_what_a_factor_does_to_flow_is_that_of_the_cells():
    """The geometric mean over seeds of the ratios of FID, worked out from the committed tables by hand."""
    folder = REFERENCES / "digits-cpu/tables"
    frames = {name: store.read(folder, name) for name in article.READS}
    cells = frames["cells"]
    own = cells[(cells.steps == 8) & (cells.sampler == "euler") & (cells.guidance == 1) & (cells.arm == "")]
    fid = own.pivot(index="seed", columns="paradigm", values="fid")
    for found, newer, older in (
        (article.effect(frames, "density", with_network="unet"), "unet-velocity", "unet-velocity-vp-levels"),
        (article.effect(frames, "network", older="unet", newer="mmdit"), "sd3", "unet-velocity"),
    ):
        ratio = math.exp(np.log(fid[newer] / fid[older]).mean())
        assert found["ratio"] == pytest.approx(ratio) and found["low"] < ratio < found["high"]
    assert article.effect(frames, "density", with_network="none") is None
