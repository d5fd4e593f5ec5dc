"""The curve of FID against images: an exact power law is found again, and what is not one is said to be none."""

import sys

import pandas as pd
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import curve


def test_a_power_law_is_carried_on_to_the_bound():
    images = [1000, 2000, 4000]
    fid = [10 + 3e6 * n**-1.5 for n in images]
    found = curve.curve("a", images, fid, floor=10, bound=15)
    assert found.exponent == pytest.approx(1.5)
    assert 10 + 3e6 * found.needed**-1.5 == pytest.approx(15)


def test_what_does_not_fall_has_no_number_and_what_is_reached_no_exponent():
    assert curve.curve("a", [1, 2], [20.0, 21.0], floor=10, bound=15).needed is None
    assert curve.curve("a", [1, 2], [20.0, 9.0], floor=10, bound=15).needed == 2
    assert curve.curve("a", [1, 2], [20.0, 9.0], floor=10, bound=15).exponent is None


def test_seeds_are_averaged_and_a_failed_training_is_left_out():
    rows = [
        ("a", seed, images, "ok", fid)
        for seed, shift in ((0, 0.5), (1, 2.0))
        for images, fid in ((100, 40 * shift), (200, 20 * shift))
    ] + [("b", 0, 100, "failed", None)]
    frame = pd.DataFrame(rows, columns=["paradigm", "seed", "images", "status", "fid"])
    (found,) = curve.curves(frame, floor=0, bound=10)
    assert found.fid == pytest.approx([40, 20]) and found.exponent == pytest.approx(1)
    assert found.needed == pytest.approx(400)


def test_the_command_prints_a_row_for_every_paradigm(capsys):
    folder = ROOT / "reports/reference/digits-cpu"
    assert curve.main([str(folder)]) == 0
    out = capsys.readouterr().out
    assert all(f"| `{row}` |" in out for row in ("ddpm", "sd1", "unet-velocity")) and "images for the bound" in out
