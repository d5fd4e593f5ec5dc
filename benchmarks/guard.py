"""Every ratio this project promises in one table, and an exit code that says whether one of them was lost.

    python benchmarks/guard.py                    # a few minutes on a CPU; on a CUDA device the CUDA targets
    python benchmarks/guard.py --json guard.json
    python benchmarks/guard.py --run digits       # and what orchestration cost in this finished run

Training and sampling against diffusers, evaluation against torchmetrics and prdc, and, where a finished run is named,
the share of its slots that its jobs kept busy. Ratios are of times taken in turns in one process, so they hold on a
machine that is otherwise busy better than any time does. What is not installed is skipped and said; run it where
``pip install -e .[test]`` was.
"""

import argparse
import sys
from pathlib import Path

import against_diffusers
import evaluation
import overhead
import torch
from common import Ratio, add_arguments, circumstances, setting, show, write


def ratios(options: argparse.Namespace) -> tuple[dict[str, str], list[Ratio]]:
    """The circumstances and all ratios."""
    params, where = setting(options.preset)
    facts = circumstances(params, where)
    found = against_diffusers.run(params, where, options.rounds)
    # 10,000 images are a cell of the full benchmark, whose shapes and threads these are on any device.
    scored, where = setting(options.preset or "mnist")
    evaluation.threads(scored, None)
    facts["threads of evaluation"] = str(torch.get_num_threads())
    found += evaluation.run(scored, where, max(2, options.rounds // 3), options.images)
    if options.run:
        found.append(overhead.measure(options.folder, options.run)[0])
    return facts, found


def main(argv: list[str] | None = None) -> int:
    """Print the table; the exit code is 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, rounds=15)
    parser.add_argument("--images", type=int, help="of the evaluation; by default a cell of the preset")
    parser.add_argument("--run", help="a finished run whose orchestration is judged too")
    parser.add_argument("--folder", type=Path, default=Path(), help="the clone that run was made in")
    options = parser.parse_args(argv)
    options.folder = options.folder.resolve()  # before the working directory changes
    facts, found = ratios(options)
    show(facts, found)
    write(options.json, facts, found)
    missed = [ratio.name for ratio in found if not ratio.holds]
    print(f"\n{len(found) - len(missed)} of {len(found)} hold" + (f"; missed: {', '.join(missed)}" if missed else ""))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
