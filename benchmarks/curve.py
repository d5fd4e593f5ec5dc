"""FID against training images, and how many more images a bound would take: from a finished run's tables.

    python benchmarks/curve.py mnist-small
    python benchmarks/curve.py reports/reference/mnist-small-cpu --times 1.6

The stage ``convergence`` scores each training's averaged weights at shares of its budget, every row with the same
sampler at guidance 1. What a row's FID lies above that of as many real test images falls about as a power of the images
seen. The exponent is taken from the last two scores, over seeds as a geometric mean, and carried on to the bound. That
is an extrapolation: it says whether a bound is near or far, not when it is met.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from common import ends

from diffbench.compare.locate import find
from diffbench.tables import store

TIMES = 2.5  # the bound, in multiples of the real test images' FID


@dataclass(frozen=True)
class Curve:
    """One row's FID at each number of training images, geometric means over seeds.

    Attributes:
        exponent: k where ``FID - floor`` falls as ``images^-k`` between the last two; None where it does not fall.
        needed: images at which it would reach the bound, the last number where it already has; None without a k.
    """

    paradigm: str
    images: list[int]
    fid: list[float]
    exponent: float | None
    needed: float | None


def curve(paradigm: str, images: Sequence[int], fid: Sequence[float], floor: float, bound: float) -> Curve:
    """The curve of one row.

    Args:
        images: rising, at least two.
        fid: at each of them.
        floor: FID of as many real test images as there are samples.
        bound: the FID asked for, above the floor.
    """
    above = [value - floor for value in fid[-2:]]
    if fid[-1] <= bound:
        return Curve(paradigm, list(images), list(fid), None, float(images[-1]))
    if not 0 < above[1] < above[0]:
        return Curve(paradigm, list(images), list(fid), None, None)
    k = math.log(above[0] / above[1]) / math.log(images[-1] / images[-2])
    return Curve(paradigm, list(images), list(fid), k, images[-1] * (above[1] / (bound - floor)) ** (1 / k))


def curves(convergence: pd.DataFrame, floor: float, bound: float) -> list[Curve]:
    """The curve of every row that has a score at each of its numbers of images, in the table's order."""
    found = []
    for paradigm, rows in convergence.groupby("paradigm", sort=False):
        if (rows.status != "ok").any():
            continue
        mean = rows.groupby("images").fid.apply(lambda fid: math.exp(fid.map(math.log).mean()))
        found.append(curve(str(paradigm), list(mean.index), list(mean), floor, bound))
    return found


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run's name, a reference's, or a folder of tables")
    parser.add_argument("--times", type=float, default=TIMES, help="the bound in multiples of the real images' FID")
    options = parser.parse_args(argv)
    folder = find(options.run)
    floor = float(store.real_test_row(store.read(folder, "floors")).fid)
    found = curves(store.read(folder, "convergence"), floor, options.times * floor)
    print(f"real test images: {floor:.3g}; bound: {options.times:g} times that, {options.times * floor:.3g}\n")
    marks = [f"{images:,}" for images in found[0].images]
    print(
        f"| row | {' | '.join(marks)} | exponent | images for the bound |",
        f"|---|{'---:|' * (len(marks) + 2)}",
        sep="\n",
    )
    for row in found:
        scores = " | ".join(f"{value:.3g}" for value in row.fid)
        exponent = "" if row.exponent is None else f"{row.exponent:.2f}"
        needed = "not falling" if row.needed is None else f"{row.needed:,.0f}" if row.exponent else "reached"
        print(f"| `{row.paradigm}` | {scores} | {exponent} | {needed} |")
    return 0


if __name__ == "__main__":
    ends(main)
