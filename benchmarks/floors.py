"""What the arithmetic says a step must take, what it takes, and what the whole run follows to.

    python benchmarks/floors.py                              # this device, digits without CUDA
    python benchmarks/floors.py --plan mnist                 # the full run on an H200, by arithmetic alone
    python benchmarks/floors.py --plan mnist --measured      # the same from kernels that were timed on an H200
    python benchmarks/floors.py --scoring mnist              # what scoring one of its cells takes here

For each network of a preset: FLOPs of a training step and of a guided sampling step (matrix products, convolutions and
attention, forward and backward, by torch's own counter), and the bytes that its operations read and write as they are
written, one after the other. Divided by this device's measured matrix and copy rates these give two times: the
arithmetic floor, which no code goes below, and the traffic, which a cache or fused operations do go below. Beside them
the measured time, and the share of it that the arithmetic floor is.

From it follows the run, stage by stage: the same counts times the steps, cells and images of the preset, at the
measured time of each or, with ``--plan``, at an H200's peaks. ``--measured`` scales what was timed on an H200 to
other sizes of the same networks.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from common import add_arguments, circumstances, dataset, setting, write
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from diffbench import design, device, meters, runs
from diffbench.config.models import Paradigm, Params
from diffbench.data import splits
from diffbench.data.sources import SOURCES, image_side
from diffbench.design import Cell
from diffbench.diffusion import generate, model
from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.targets import target_and_loss
from diffbench.evaluation import classifier as judge
from diffbench.evaluation import metrics
from diffbench.evaluation.metrics.sets import Real, Samples
from diffbench.pipeline import jobs
from diffbench.training.snapshots import images_at_snapshots
from diffbench.training.trainer import Trainer

TEST = {"mnist": 10_000, "fashion-mnist": 10_000, "digits": 400}  # images of the sources' test splits
SCALE = 2.0  # guidance of the timed sampling step
H200 = {"bf16": 989e12, "float32": 67e12, "float64": 67e12, "bytes": 4.8e12}  # dense peaks of NVIDIA's data sheet


@dataclass(frozen=True)
class Timed:
    """Seconds of a network on an H200 in bf16 and uncompiled, and the size and the commit that it was timed at.

    Attributes:
        step: a training step of 256 images, recorded, or its kernels alone.
        evaluation: one evaluation of 5,000 images.
        called: a training step that is not recorded, so that the GPU waits for the interpreter.
    """

    commit: str
    size: dict
    step: float
    evaluation: float
    called: float


# From README.md, "First look at an H200". The U-Net was called at dd87db1, at other widths with the same operations.
TIMED_BATCH, TIMED_IMAGES = 256, 5000
TIMED = {
    "unet": Timed(
        "5532c76",
        {"channels": [32, 64, 80], "blocks": 2, "attention": 2, "heads": 2, "context": 64},
        step=0.0234,
        evaluation=0.125,
        called=0.0729,
    ),
    "dit": Timed(
        "dd87db1", {"width": 128, "depth": 6, "heads": 4, "patch": 2}, step=0.0107, evaluation=0.055, called=0.0308
    ),
    "mmdit": Timed(
        "dd87db1", {"width": 96, "depth": 6, "heads": 4, "patch": 2}, step=0.0116, evaluation=0.057, called=0.0423
    ),
}
LIKE = {"dit-interval": "dit"}  # networks that differ from a timed one by next to nothing
# FLOP/s of products this small, assumed: a fifth and a half of the peaks. The first look had a U-Net's convolutions at
# more than a third.
PRODUCTS = {"bf16": 200e12, "float32": 33e12}
KERNELS = 3500 / 1235  # of each operation: 3,000 to 4,000 in the U-Net's step, of which 1,235 are counted here
KERNEL = 3e-6  # seconds that a kernel takes at least in a recorded step, assumed
START, TOGETHER = 8.0, 4  # seconds that a job takes to start on that machine, and jobs that share its GPU


class Traffic(TorchDispatchMode):
    """Counts operations, and the bytes of what each reads and writes; views move nothing and do not count."""

    def __init__(self):
        super().__init__()
        self.bytes, self.operations = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not (func.is_view or func is torch.ops.aten._unsafe_view.default):
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
            self.operations += 1
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return out


class Fused(TorchFunctionMode):
    """Attention as the one operation that it is on a GPU; on nothing but shapes torch would write out its scores."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is scaled_dot_product_attention:
            return torch.ops.aten._scaled_dot_product_efficient_attention(*args, None, torch.is_grad_enabled())[0]
        return func(*args, **(kwargs or {}))


class Counts(NamedTuple):
    """What one batch costs a network."""

    flops: int
    bytes: int
    operations: int


def counts(row: Paradigm, side: int, batch: int, *, training: bool, fused: bool) -> Counts:
    """One batch through a network, and back where it trains; in float32, on nothing but shapes."""
    with torch.device("meta"):
        net = model.build(row, side).net
        x, t = torch.zeros(batch, 1, side, side), torch.zeros(batch)
        prompt = torch.zeros(batch, 3, dtype=torch.long) if row.conditional else None
        with (
            Fused() if fused else nullcontext(),
            Traffic() as traffic,
            FlopCounterMode(display=False) as flops,
            torch.set_grad_enabled(training),
        ):
            out = net(x, t, prompt)
            if training:
                out.square().mean().backward()
    return Counts(flops.get_total_flops(), traffic.bytes, traffic.operations)


def counted(row: Paradigm, side: int, batch: int, *, training: bool) -> tuple[int, int]:
    """FLOPs and bytes of one batch, each operation a pass of its own."""
    return counts(row, side, batch, training=training, fused=False)[:2]


def fastest(call: Callable[[], object], where: torch.device, rounds: int) -> float:
    """The least seconds of several calls: what the device can do when nothing disturbs it."""
    times = []
    for _ in range(rounds + 1):
        meters.synchronise(where)
        started = time.perf_counter()
        call()
        meters.synchronise(where)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def middle(call: Callable[[], object], where: torch.device, rounds: int) -> float:
    """The median seconds of several calls, after two that settle."""
    times = []
    for _ in range(rounds + 2):
        meters.synchronise(where)
        started = time.perf_counter()
        call()
        meters.synchronise(where)
        times.append(time.perf_counter() - started)
    return statistics.median(times[2:])


def training_images(params: Params) -> int:
    """Images of the training split."""
    return SOURCES[params.data.source].count - TEST[params.data.source] - params.data.validation


def rates(where: torch.device, precision: str, rounds: int = 5) -> tuple[float, float]:
    """FLOP/s of a large square matrix product in this precision, and bytes/s of a copy, read and written."""
    size = 8192 if where.type == "cuda" else 1536
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(size, size, device=where).to(kind)
    out = torch.empty_like(a)
    matrix = 2 * size**3 / fastest(lambda: torch.mm(a, a, out=out), where, rounds)
    x = torch.zeros(2**28 if where.type == "cuda" else 2**25, device=where)
    y = torch.zeros_like(x)
    return matrix, 2 * x.nbytes / fastest(lambda: y.copy_(x), where, rounds)


class Still(Denoiser):
    """A denoiser of a path that computes nothing, to count evaluations."""

    def __init__(self, path: str, target: str):
        super().__init__(torch.nn.Linear(1, 1), PATHS[path](), target_and_loss(target)[0])

    def output(self, x_t: Tensor, t: Tensor, prompt: Tensor | None, end: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x_t)


def evaluations(row: Paradigm, cell: Cell, seen: dict) -> int:
    """Network evaluations of one image of a cell, counted by sampling with nothing."""
    guided = row.conditional and cell.guidance not in (0, 1)
    key = (row.path, cell.sampler, cell.steps, guided, cell.interval, cell.spacing)
    if key not in seen:
        prompt = torch.zeros(1, 3, dtype=torch.long) if row.conditional else None
        with torch.inference_mode():
            x = torch.zeros(1, 1, 2, 2)
            seen[key] = generate.draw(Still(row.path, row.target), cell, prompt, x, 0, 0, "count", clip=True)[1]
    return seen[key]


@dataclass
class Stage:
    """One stage of a run: its jobs, network evaluations by network (a training step has a batch of them), and cells."""

    jobs: int
    training_steps: Counter
    evaluations: Counter
    cells: int = 0


def planned(params: Params) -> dict[str, Stage]:
    """What each stage of a run computes; the counters' keys are paradigms."""
    stages = {
        name: Stage(0, Counter(), Counter()) for name in ("train", "sample", "evaluate", "convergence", "probe", "rest")
    }
    for job in jobs.jobs(params):
        stages[job.name.split("@")[0] if job.name.split("@")[0] in stages else "rest"].jobs += 1
    stages["rest"].jobs += 1  # the manifest
    seen: dict = {}
    sampling, training, probe = params.sampling, params.training, params.probe
    for key, row in params.paradigms.items():
        one = Cell(sampler=params.convergence.sampler, steps=params.convergence.steps, guidance=float(row.conditional))
        for seed in params.seeds:
            stages["train"].training_steps[key] += -(-training.images // training.batch_size)
            for steps in design.step_values(params, key):
                cells, selecting = design.cells(params, key, seed, steps), design.selecting(params, key, seed, steps)
                stages["sample"].evaluations[key] += sum(
                    count * evaluations(row, cell, seen)
                    for count, of in ((sampling.images, cells), (sampling.selection_images, selecting))
                    for cell in of
                )
                stages["evaluate"].cells += len(cells)
            marks = len(images_at_snapshots(training))
            stages["convergence"].evaluations[key] += marks * sampling.images * evaluations(row, one, seen)
            stages["convergence"].cells += marks
            bins = probe.bins + len(probe.log_snr) - 1
            stages["probe"].evaluations[key] += probe.images * (bins + probe.steps)
    return stages


def scoring(params: Params, where: torch.device, train_images: int, rounds: int) -> dict[str, float]:
    """Seconds each family of measures takes for one cell, and those of the classifier's features."""
    count, settings = params.sampling.images, params.classifier
    data, real_data = dataset(params, count), dataset(params, train_images)
    network = judge.Classifier(image_side(params), settings.channels, settings.features).to(where).eval()
    images = splits.to_float(data.test.images, where)
    features, logits = judge.apply(network, images)
    train = judge.apply(network, splits.to_float(real_data.train.images, where))[0]
    real = Real(
        train, train[:count], params.evaluation.neighbours, data.bounds, real_data.train.images,
        real_data.train.labels, data.test.images,
    )  # fmt: skip
    samples = Samples(data.test.images, features, logits, data.test.prompts)
    times = {"features": fastest(lambda: judge.apply(network, images), where, rounds)}
    for name, family in metrics.FAMILIES.items():
        measure = family(real)
        times[name] = fastest(lambda measure=measure: measure(samples), where, rounds)
    return times


def show_scoring(times: dict[str, float]) -> None:
    """One line of what the scoring of a cell takes, and of what."""
    parts = ", ".join(f"{name} {1e3 * value:.0f} ms" for name, value in times.items())
    print(f"\nscoring a cell: {1e3 * sum(times.values()):.0f} ms = {parts}")


def start_up() -> float:
    """Seconds from a job's command to its first line of work: interpreter, imports, params."""
    call = [sys.executable, "-c", "import diffbench.cli; from diffbench.stages import evaluate, sample, train"]
    times = []
    for _ in range(4):
        started = time.perf_counter()
        subprocess.run(call, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def steps_of(params: Params, key: str, where: torch.device, rounds: int) -> dict[str, float]:
    """Counts and measured seconds of a row's training step and of one guided sampling step of a whole batch."""
    row, batch = params.paradigms[key], params.training.batch_size
    images = min(params.sampling.images, params.sampling.batch_size)
    scale = SCALE if row.conditional else 0.0
    width = 2 * images if row.conditional else images  # both halves of guidance
    training, traffic = counted(row, image_side(params), batch, training=True)
    forward, read = counted(row, image_side(params), width, training=False)
    trainer = Trainer(params, row, 0, where, dataset(params))
    step = middle(trainer.step, where, rounds)
    denoiser = model.on_device(model.build(row, image_side(params)), where).eval().requires_grad_(False)
    model.fuse(denoiser, params.compute)
    prompt = trainer.prompts[torch.arange(images) % len(trainer.prompts)] if row.conditional else None
    start = generate.starts(images, image_side(params), 0, "scored", where)
    count = 4
    cell = Cell(sampler=row.samplers[0], steps=count, guidance=scale)

    def draw() -> None:
        with torch.no_grad(), device.autocast(where, params.compute.precision):  # as the sample stage
            generate.draw(denoiser, cell, prompt, start, 0, 0, "scored", clip=params.sampling.clip)

    taken = middle(draw, where, max(3, rounds // 3)) / count
    return {
        "batch": batch, "training_flops": training, "training_bytes": traffic, "training_seconds": step,
        "images": width, "sampling_flops": forward, "sampling_bytes": read, "sampling_seconds": taken,
    }  # fmt: skip


def kinds(params: Params) -> dict[str, str]:
    """The first row of each network and size, by row: rows that share both cost the same."""
    first: dict = {}
    return {
        key: first.setdefault((row.network, str(sorted(row.size.items())), row.conditional), key)
        for key, row in params.paradigms.items()
    }


def show_floors(steps: dict[str, dict[str, float]], matrix: float, copy: float) -> None:
    """The table of floors, one line a network and kind of step."""
    print(f"matrix rate {matrix / 1e9:,.0f} GFLOP/s, copy rate {copy / 1e9:,.1f} GB/s\n")
    head = f"{'':<28}{'batch':>7}{'GFLOP':>9}{'MB':>9}{'arithmetic':>12}{'traffic':>11}{'measured':>11}{'share':>8}"
    print(head, "-" * len(head), sep="\n")
    for key, row in steps.items():
        for kind, batch in (("training", "batch"), ("sampling", "images")):
            flops, moved, seconds = (row[f"{kind}_{what}"] for what in ("flops", "bytes", "seconds"))
            print(
                f"{key + ': ' + kind + ' step':<28}{row[batch]:>7}{flops / 1e9:>9.2f}{moved / 1e6:>9.0f}"
                f"{1e3 * flops / matrix:>9.2f} ms{1e3 * moved / copy:>8.2f} ms{1e3 * seconds:>8.2f} ms"
                f"{flops / matrix / seconds:>7.0%}"
            )


def predict(params: Params, steps: dict[str, dict[str, float]], cell: float, start: float, slots: int) -> list[dict]:
    """Seconds of each stage of a run at the measured times, if its jobs fill ``slots`` without a gap."""
    same, rows = kinds(params), []
    for name, stage in planned(params).items():
        work = stage.cells * cell
        work += sum(n * steps[same[key]]["training_seconds"] for key, n in stage.training_steps.items())
        work += sum(
            n * steps[same[key]]["sampling_seconds"] / steps[same[key]]["images"]
            for key, n in stage.evaluations.items()
        )
        rows.append({"stage": name, "jobs": stage.jobs, "work": work, "start": stage.jobs * start})
    head = f"{'stage':<14}{'jobs':>6}{'work':>10}{'start-up':>10}{'on ' + str(slots) + ' at a time':>17}"
    print("\n" + head, "-" * len(head), sep="\n")
    for row in rows:
        wall = (row["work"] + row["start"]) / slots
        print(f"{row['stage']:<14}{row['jobs']:>6}{row['work']:>8.0f} s{row['start']:>8.0f} s{wall:>15.0f} s")
    total = sum(row["work"] + row["start"] for row in rows) / slots
    print(f"{'all':<14}{sum(row['jobs'] for row in rows):>6}{'':>20}{total:>15.0f} s")
    return rows


def plan(params: Params) -> list[dict]:
    """FLOPs and bytes of each stage's networks, and the seconds that either takes at least at an H200's peaks.

    The bytes are those that unfused operations move in float32. Mixed precision halves some and adds casts and
    float32 norms: on a CPU's autocast 0.6 to 0.7 of these are left.
    """
    same, batch = kinds(params), params.training.batch_size
    cost = {  # of a training step, and of one image's evaluation in a batch
        key: (
            counted(params.paradigms[key], image_side(params), batch, training=True),
            tuple(n / batch for n in counted(params.paradigms[key], image_side(params), batch, training=False)),
        )
        for key in set(same.values())
    }
    rows = []
    for name, stage in planned(params).items():
        flops, moved = (
            sum(n * cost[same[key]][0][what] for key, n in stage.training_steps.items())
            + sum(n * cost[same[key]][1][what] for key, n in stage.evaluations.items())
            for what in (0, 1)
        )
        peak = H200["float32" if name == "probe" else params.compute.precision]
        rows.append({
            "stage": name, "jobs": stage.jobs, "cells": stage.cells, "flops": flops, "bytes": moved,
            "arithmetic_seconds": flops / peak, "traffic_seconds": moved / H200["bytes"],
        })  # fmt: skip
    head = f"{'stage':<14}{'jobs':>6}{'cells':>7}{'PFLOP':>10}{'PB':>8}{'arithmetic':>13}{'traffic':>11}"
    print(head, "-" * len(head), sep="\n")
    total = {name: sum(row[name] for row in rows) for name in rows[0] if name != "stage"}
    for row in [*rows, {"stage": "all", **total}]:
        print(
            f"{row['stage']:<14}{row['jobs']:>6}{row['cells']:>7}{row['flops'] / 1e15:>10.1f}"
            f"{row['bytes'] / 1e15:>8.1f}{row['arithmetic_seconds']:>11.0f} s{row['traffic_seconds']:>9.0f} s"
        )
    print(
        f"\nAt the peaks of {H200['bf16'] / 1e12:.0f} TFLOP/s in bf16, {H200['float32'] / 1e12:.0f} in float32", end=""
    )
    print(f" and {H200['bytes'] / 1e12:.1f} TB/s.")
    print("Scoring and the starts of jobs, not counted here, run on the CPU's cores beside the GPU's work.")
    return rows


class Seconds(NamedTuple):
    """What a network takes on an H200."""

    step: float  # of training
    image: float  # of one image's evaluation in a batch
    exact: float  # the same in float32


def scaled(row: Paradigm, params: Params) -> Seconds:
    """The seconds that were timed, taken to the size of a row.

    What matrix products and convolutions do not take of a timed step goes with the bytes that operations move:
    "Most of an evaluation is not convolutions but norms in float32 and copies". Smaller maps do not make a kernel
    shorter than KERNEL, nor the interpreter faster, which calls each operation of sampling anew.

    Raises:
        SystemExit: a network that was not timed.
    """
    network = timed_as(row)
    if network not in TIMED:
        sys.exit(f"{row.network}: not timed on an H200; known: {', '.join(TIMED)}")
    timed, batch = TIMED[network], params.training.batch_size
    known = replace(row, network=network, size=timed.size, conditional=True)
    call = timed.called / counts(known, image_side(params), TIMED_BATCH, training=True, fused=True).operations
    side = image_side(params)
    seconds = {}
    for training, whole in ((True, timed.step), (False, timed.evaluation * TIMED_BATCH / TIMED_IMAGES)):
        old, new = (counts(each, side, TIMED_BATCH, training=training, fused=True) for each in (known, row))
        moved = (whole - old.flops / PRODUCTS["bf16"]) * new.bytes / old.bytes
        least = new.operations * (KERNEL * KERNELS if training and params.compute.graphs else call)
        # float32 moves at most twice the bytes.
        seconds[training] = [new.flops / PRODUCTS["bf16"] + moved, new.flops / PRODUCTS["float32"] + 2 * moved, least]
    (step, _, short), (image, exact, wait) = seconds[True], seconds[False]
    images = min(params.sampling.batch_size, params.sampling.images)
    return Seconds(
        max(step * batch / TIMED_BATCH, short), max(image / TIMED_BATCH, wait / images),
        max(exact / TIMED_BATCH, wait / params.probe.images),
    )  # fmt: skip


def timed_as(row: Paradigm) -> str:
    """The network that stands for a row's in TIMED."""
    return LIKE.get(row.network, row.network)


def plan_measured(params: Params) -> list[dict]:
    """Seconds of the GPU that each stage takes on an H200, from what was timed there."""
    same = kinds(params)
    taken = {key: scaled(params.paradigms[key], params) for key in dict.fromkeys(same.values())}
    head = f"{'network':<14}{'size':<74}{'step':>10}{'5,000 images':>15}"
    print(head, "-" * len(head), sep="\n")
    for key, each in taken.items():
        size = ", ".join(f"{name} {value}" for name, value in params.paradigms[key].size.items())
        step, images = f"{1e3 * each.step:.1f} ms", f"{5e6 * each.image:.1f} ms"
        print(f"{key:<14}{size:<74}{step:>10}{images:>15}")
    rows = []
    for name, stage in planned(params).items():
        work = Counter()
        for key, n in stage.training_steps.items():
            work[timed_as(params.paradigms[key])] += n * taken[same[key]].step
        for key, n in stage.evaluations.items():
            each = taken[same[key]]
            work[timed_as(params.paradigms[key])] += n * (each.exact if name == "probe" else each.image)
        seconds = {network: work[network] for network in TIMED}
        rows.append({"stage": name, "jobs": stage.jobs, "cells": stage.cells, **seconds, "gpu": sum(work.values())})
    head = f"{'stage':<14}{'jobs':>6}{'cells':>7}" + "".join(f"{network:>10}" for network in TIMED) + f"{'GPU':>10}"
    print("\n" + head, "-" * len(head), sep="\n")
    total = {name: sum(row[name] for row in rows) for name in rows[0] if name != "stage"}
    for row in [*rows, {"stage": "all", **total}]:
        print(
            f"{row['stage']:<14}{row['jobs']:>6}{row['cells']:>7}"
            + "".join(f"{row[network]:>8.0f} s" for network in (*TIMED, "gpu"))
        )
    commits = ", ".join(f"{network} at {timed.commit}" for network, timed in TIMED.items())
    starts = total["jobs"] * START / TOGETHER
    print(f"\nScaled from an H200 in bf16, uncompiled, training steps recorded: {commits}.")
    print(f"Beside it {total['jobs']} starts of {START:.0f} s, {TOGETHER} at a time {starts:.0f} s. No scoring.")
    print(
        "Every objective is taken for a regression: the derivative of mean-flow and the kernel of drift are left out."
    )
    return rows


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, rounds=15)
    parser.add_argument("--plan", metavar="PRESET", help="count a preset's run instead of measuring anything")
    parser.add_argument("--measured", action="store_true", help="with --plan: from kernels timed on an H200")
    parser.add_argument("--scoring", metavar="PRESET", help="only time the scoring of a cell of this preset")
    parser.add_argument("--slots", type=int, default=2, help="jobs at a time that the prediction assumes")
    options = parser.parse_args(argv)
    if options.measured and not options.plan:
        parser.error("--measured needs --plan")
    if options.plan:
        params, _ = setting(options.plan)
        params = runs.load(options.plan)  # in its own precision, whatever device is here
        made = plan_measured(params) if options.measured else plan(params)
        write(options.json, {"preset": params.name}, {"plan": made})
        return 0
    params, where = setting(options.scoring or options.preset)
    torch.set_num_threads(min(params.compute.threads, len(os.sched_getaffinity(0))))
    facts = circumstances(params, where)
    print("\n".join(f"{key}: {value}" for key, value in facts.items()), end="\n\n")
    if options.scoring:
        scored = scoring(params, where, training_images(params), 1)
        show_scoring(scored)
        write(options.json, facts, {"scoring": scored})
        return 0
    matrix, copy = rates(where, params.compute.precision)
    steps = {key: steps_of(params, key, where, options.rounds) for key in dict.fromkeys(kinds(params).values())}
    show_floors(steps, matrix, copy)
    scored = scoring(params, where, training_images(params), 1 if training_images(params) > 10_000 else 3)
    show_scoring(scored)
    start = start_up()
    print(f"start of a job: {start:.2f} s")
    rows = predict(params, steps, sum(scored.values()), start, options.slots)
    rated = {"matrix_flops": matrix, "copy_bytes": copy, "start_seconds": start}
    write(options.json, facts, {"rates": rated, "steps": steps, "scoring": scored, "stages": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
