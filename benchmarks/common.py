"""What the benchmarks share: timing two things side by side, made-up data of a preset's shapes, and printing."""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from diffbench import config, device, meters, runs  # noqa: E402
from diffbench.cli import complain  # noqa: E402
from diffbench.data import splits, vocabulary  # noqa: E402
from diffbench.data.sources import image_side  # noqa: E402
from diffbench.errors import UserError  # noqa: E402
from diffbench.runtime import hardware  # noqa: E402
from diffbench.tables import provenance  # noqa: E402


@dataclass(frozen=True)
class Ratio:
    """How many times as fast ours is as theirs: the median over rounds, and the quartiles.

    Attributes:
        target: what it should reach on this device, or None where nothing is promised.
        ours, theirs: median seconds, of this machine as busy as it was.
        skipped: why there is no number.
    """

    name: str
    target: float | None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    ours: float | None = None
    theirs: float | None = None
    note: str = ""
    skipped: str = ""

    @property
    def holds(self) -> bool:
        """Whether the target is reached; what was skipped or has no target breaks nothing."""
        return self.ratio is None or self.target is None or self.ratio >= self.target


def measured(name: str, target: float | None, pairs: Sequence[tuple[float, float]], note: str = "") -> Ratio:
    """The ratio of pairs (ours, theirs) of seconds, each pair taken one right after the other."""
    ratios = [theirs / ours for ours, theirs in pairs]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75]).tolist()
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Ratio(name, target, middle, low, high, ours, theirs, note)


def alternate(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, where: torch.device, warm_up: int = 2
) -> list[tuple[float, float]]:
    """Seconds of both, ``rounds`` times in turn, so that a busy or throttled machine slows both alike."""
    for _ in range(warm_up):
        ours(), theirs()
    pairs = []
    for _ in range(rounds):
        taken = []
        for call in (ours, theirs):
            meters.synchronise(where)
            started = time.perf_counter()
            call()
            meters.synchronise(where)
            taken.append(time.perf_counter() - started)
        pairs.append((taken[0], taken[1]))
    return pairs


def arguments(description: str, argv: list[str] | None = None, *, rounds: int = 15) -> argparse.Namespace:
    """The command line of a benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, rounds)
    return parser.parse_args(argv)


def add_arguments(parser: argparse.ArgumentParser, rounds: int) -> None:
    """The options that benchmarks share."""
    parser.add_argument("--preset", help="whose shapes; by default mnist where there is a CUDA device, else digits")
    parser.add_argument("--rounds", type=int, default=rounds, help="times each side is measured")
    parser.add_argument("--json", type=Path, help="also write the result here")


def setting(preset: str | None) -> tuple[config.Params, torch.device]:
    """A preset's params for the device at hand, and the device, set up as a job sets it up.

    A preset made for CUDA runs on a CPU in float32.
    """
    os.chdir(ROOT)
    found = bool(hardware.cuda_devices())
    params = runs.load(preset or ("mnist" if found else "digits"))
    own = params.compute
    compute = replace(own, device="auto", precision=own.precision if found else "float32")
    params = replace(params, compute=compute)
    return params, device.prepare(params.compute)


def dataset(params: config.Params, count: int = 2000) -> splits.Dataset:
    """A data set of a preset's shapes, made up: speed does not depend on what the images show."""
    generator = np.random.default_rng(0)
    labels = np.arange(count) % 10
    images = generator.integers(0, 256, (count, image_side(params), image_side(params)), dtype=np.uint8)
    bounds = np.stack([np.tile([1.0, 2.0], (10, 1))] * 2)
    captions = np.stack([labels, np.full(count, vocabulary.ANY_WEIGHT), np.full(count, vocabulary.ANY_SLANT)], axis=1)
    split = splits.Split(images, labels, captions)
    return splits.Dataset(split, split, split, bounds, 256, tuple("0123456789"), np.zeros((10, 3, 3), bool))


def circumstances(params: config.Params, where: torch.device) -> dict[str, str]:
    """What a figure depends on beside the code."""
    return {
        "commit": provenance.commit(),
        "device": hardware.processor() if where.type == "cpu" else hardware.device_name(where),
        "torch": torch.__version__,
        "preset": params.name,
        "precision": params.compute.precision,
        "threads": str(torch.get_num_threads()),
    }


def show(facts: dict[str, str], ratios: Sequence[Ratio]) -> None:
    """Print the circumstances and a table of ratios."""
    print("\n".join(f"{key}: {value}" for key, value in facts.items()), end="\n\n")
    head = f"{'':<44}{'ours':>11}{'theirs':>11}{'ratio':>8}  {'quartiles':<15}{'target':>7}"
    print(head, "-" * len(head), sep="\n")
    for row in ratios:
        if row.ratio is None:
            print(f"{row.name:<44}skipped: {row.skipped}")
            continue
        numbers = f"{1e3 * row.ours:>8.1f} ms{1e3 * row.theirs:>8.1f} ms" if row.ours else f"{'':>22}"
        spread = f"{row.low:.2f} to {row.high:.2f}" if row.low is not None else ""
        target = "" if row.target is None else f"{row.target:g}"
        verdict = "" if row.holds else "  MISSED"
        print(f"{row.name:<44}{numbers}{row.ratio:>8.2f}  {spread:<15}{target:>7}{verdict}  {row.note}".rstrip())


def write(path: Path | None, facts: dict[str, str], rows: Sequence[Ratio] | dict) -> None:
    """Write circumstances and results as JSON, if there is a path."""
    if path is not None:
        body = rows if isinstance(rows, dict) else {"ratios": [asdict(row) | {"holds": row.holds} for row in rows]}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"circumstances": facts} | body, indent=1) + "\n", encoding="utf-8")


def ends(main: Callable[[], int]) -> None:
    """End the process with the exit code of ``main``; what its user can mend is told in one line."""
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(complain(str(error)))
