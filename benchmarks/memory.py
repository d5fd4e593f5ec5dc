"""The most memory that each stage's jobs held in a finished run, by the last line of their logs.

    python benchmarks/memory.py digits
    python benchmarks/memory.py mnist-small --limit

Every job says at its end how long it took and how much it held resident, interpreter and libraries included. Snakemake
keeps that in logs/RUN, so nothing is run again. A stage's jobs differ by network and step count, so the largest of them
is named. Jobs that run at the same time hold their memory at the same time: S jobs may need S times the largest.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import ends, write

from diffbench.errors import UserError

MOST = 2000  # MB of one job
LINE = re.compile(r"^(\w+): ([\d.]+) s, at most (\d+) MB resident", re.MULTILINE)


@dataclass(frozen=True)
class Peak:
    """What one job held: its stage, its log (which names it), its time in seconds, and MB (1e6 bytes) resident."""

    stage: str
    log: str
    seconds: float
    megabytes: int


def recorded(folder: Path, run: str) -> tuple[list[Peak], list[str]]:
    """The peaks in a run's logs, and the logs that hold none: of jobs that did not end, or of older code.

    Raises:
        UserError: no log holds one.
    """
    logs, found, without = folder / "logs" / run, [], []
    for path in sorted(logs.rglob("*.log")):
        name, lines = path.relative_to(logs).as_posix(), LINE.findall(path.read_text(encoding="utf-8"))
        if lines:
            stage, seconds, megabytes = lines[-1]
            found.append(Peak(stage, name, float(seconds), int(megabytes)))
        else:
            without.append(name)
    if not found:
        raise UserError(f"{logs}: no log says how much memory a job held")
    return found, without


def largest(peaks: Sequence[Peak]) -> list[tuple[int, Peak]]:
    """For each stage the number of its jobs and the one that held most, the largest first."""
    stages: dict[str, list[Peak]] = defaultdict(list)
    for peak in peaks:
        stages[peak.stage].append(peak)
    rows = [(len(jobs), max(jobs, key=lambda job: job.megabytes)) for jobs in stages.values()]
    return sorted(rows, key=lambda row: -row[1].megabytes)


def main(argv: list[str] | None = None) -> int:
    """Print the table; the exit code is 1 where a job held more than ``--limit``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the name of a run that 'snakemake' finished")
    parser.add_argument("--folder", type=Path, default=Path(), help="the clone it ran in")
    parser.add_argument("--limit", type=int, nargs="?", const=MOST, metavar="MB", help=f"of a job; {MOST} if unnamed")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args(argv)
    peaks, without = recorded(options.folder, options.run)
    rows = largest(peaks)
    above = [] if options.limit is None else [peak for peak in peaks if peak.megabytes > options.limit]
    head = f"{'stage':<14}{'jobs':>6}{'largest':>11}  which"
    print(head, "-" * (len(head) + 20), sep="\n")
    for jobs, peak in rows:
        verdict = "  ABOVE THE LIMIT" if peak in above else ""
        print(f"{peak.stage:<14}{jobs:>6}{peak.megabytes:>8} MB  {peak.log}{verdict}")
    if without:
        print(f"\n{len(without)} logs say nothing, as {without[0]}: those jobs did not end, or older code ran them")
    if options.limit is not None:
        print(f"\n{len(above)} of {len(peaks)} jobs held more than {options.limit} MB")
    found = [{"stage": peak.stage, "jobs": jobs, "megabytes": peak.megabytes, "log": peak.log} for jobs, peak in rows]
    write(options.json, {"run": options.run}, {"stages": found, "above": [peak.log for peak in above]})
    return int(bool(above))


if __name__ == "__main__":
    ends(main)
