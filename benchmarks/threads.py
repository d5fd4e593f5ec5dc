"""Whether the cores of this machine train more as several jobs of few threads or as fewer jobs of more.

    python benchmarks/threads.py

Every way of filling the cores with equal jobs, each a process of its own that takes training steps for as long as the
others do: steps a second of all jobs together. Taken in turns, so that a busy machine slows every way alike.
"""

import os
import statistics
import subprocess
import sys
import time

import torch
from common import arguments, circumstances, dataset, setting, write

from diffbench.training.trainer import Trainer

ROWS = ("sd1", "dit", "sd3")
WARM_UP, SECONDS = 1.0, 3.0


def child(preset: str, row: str, threads: int, start: float) -> None:
    """Print the steps a second between ``start`` and SECONDS later, in the clock of ``time.time``."""
    params, where = setting(preset)
    torch.set_num_threads(threads)
    trainer = Trainer(params, params.paradigms[row], 0, where, dataset(params))
    while time.time() < start:
        trainer.step()
    done = trainer.done
    while time.time() < start + SECONDS:
        trainer.step()
    print((trainer.done - done) / SECONDS)


def rate(preset: str, row: str, jobs: int, threads: int) -> float:
    """Steps a second of ``jobs`` processes of ``threads`` threads together."""
    start = time.time() + 4 + WARM_UP  # of the interpreters
    call = [sys.executable, __file__, "--child", preset, row, str(threads), str(start)]
    running = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(jobs)]
    return sum(float(process.communicate()[0]) for process in running)


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    if sys.argv[1:2] == ["--child"]:
        preset, row, threads, start = sys.argv[2:]
        child(preset, row, int(threads), float(start))
        return 0
    options = arguments(__doc__, argv, rounds=3)
    params, where = setting(options.preset)
    cores = len(os.sched_getaffinity(0))
    ways = [(cores // threads, threads) for threads in range(1, cores + 1) if cores % threads == 0]
    facts = circumstances(params, where) | {"cores": str(cores)}
    print("\n".join(f"{key}: {value}" for key, value in facts.items() if key != "threads"), end="\n\n")
    found = {}
    for row in ROWS:
        taken = [[rate(params.name, row, *way) for way in ways] for _ in range(options.rounds)]
        found[row] = {f"{jobs} x {threads}": statistics.median(each) for (jobs, threads), each in
                      zip(ways, zip(*taken, strict=True), strict=True)}  # fmt: skip
        print(f"{row:<8}" + "   ".join(f"{way} threads: {steps:.1f} steps/s" for way, steps in found[row].items()))
    write(options.json, facts, {"steps_per_second": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
