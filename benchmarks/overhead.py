"""What orchestration costs: the wall time of a finished Snakemake run over the sum of its jobs' time.

    python benchmarks/overhead.py digits
    python benchmarks/overhead.py digits --folder ../another-clone

Read from what Snakemake recorded (.snakemake/metadata: when each job was started, and when its last file was written)
and from its log (the whole call, planning included), so nothing is run again. With S jobs at a time,

    overhead = S wall / (sum of the jobs' times) - 1.

It holds the planning of the DAG, the gaps between jobs, their ends after the last file, and the time in which slots are
empty because only one job can run (data, classifier, reference at the start; tables and page at the end), which is
listed apart: no scheduler could fill it. Each job's own start (interpreter and imports, about the same for all) counts
as its time in this figure. The second one takes it off: what a training job spends outside its loop, times the jobs.
"""

import argparse
import json
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from common import Ratio, ends, write

from diffbench.errors import UserError

MOST = 0.10  # overhead
PATIENCE = 60  # seconds without any job that tell one call of Snakemake from the next


@dataclass(frozen=True)
class Job:
    """One job: its stage, its log (which names it), and when it ran, in seconds since the epoch."""

    stage: str
    log: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def recorded(folder: Path, run: str) -> list[Job]:
    """The jobs of a run that Snakemake has records of, by start.

    Raises:
        UserError: there are none, or several calls of Snakemake made them.
    """
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for path in (folder / ".snakemake" / "metadata").glob("*"):
        record = json.loads(path.read_text(encoding="utf-8"))
        logs = record.get("log") or []
        if logs and logs[0].startswith(f"logs/{run}/"):
            found[record["rule"], logs[0]].append((record["starttime"], record["endtime"]))
    jobs = [
        Job(stage, log, min(start for start, _ in times), max(end for _, end in times))
        for (stage, log), times in found.items()
    ]
    jobs.sort(key=lambda job: job.start)
    if not jobs:
        raise UserError(f"{folder}: Snakemake has no records of a run called {run}")
    last = jobs[0].end
    for job in jobs:
        if job.start - last > PATIENCE:
            raise UserError(f"{folder}: the run was made by several calls, {job.start - last:.0f} s apart")
        last = max(last, job.end)
    return jobs


def call(folder: Path, jobs: Sequence[Job]) -> float | None:
    """Seconds of the whole call that ran these jobs, by its log; None where no log covers them."""
    first, last = min(job.start for job in jobs), max(job.end for job in jobs)
    for path in sorted((folder / ".snakemake" / "log").glob("*.log")):
        elapsed = re.findall(r"^Elapsed time: (?:(\d+) days?, )?(\d+):(\d+):([\d.]+)", path.read_text(), re.MULTILINE)
        if not elapsed:
            continue
        days, hours, minutes, seconds = elapsed[-1]
        taken = 86400 * int(days or 0) + 3600 * int(hours) + 60 * int(minutes) + float(seconds)
        ended = path.stat().st_mtime
        if ended >= last - 1 and ended - taken <= first + 1:
            return taken
    return None


def filling(jobs: Sequence[Job]) -> list[tuple[float, list[Job]]]:
    """The stretches of time in which the same jobs run: (seconds, jobs), gaps included."""
    edges = sorted({edge for job in jobs for edge in (job.start, job.end)})
    return [
        (high - low, [job for job in jobs if job.start <= low and job.end >= high]) for low, high in pairwise(edges)
    ]


def accounts(jobs: Sequence[Job], wall: float) -> dict[str, float]:
    """Where the time of all slots went, in seconds: the keys but ``slots`` and ``wall`` add up to their product."""
    stretches = filling(jobs)
    slots = max(len(running) for _, running in stretches)
    alone = {stage for stage, count in Counter(job.stage for job in jobs).items() if count == 1}
    single = sum(
        seconds * (slots - len(running)) for seconds, running in stretches if any(job.stage in alone for job in running)
    )
    work = sum(job.seconds for job in jobs)
    return {
        "slots": slots, "wall": wall, "jobs": work, "one job only": single,
        "between jobs, planning and end": slots * wall - work - single,
    }  # fmt: skip


def own_start(folder: Path, run: str, jobs: Sequence[Job]) -> float | None:
    """Seconds a training job spends outside its loop, the median; None where the run's files are gone."""
    outside = []
    for job in jobs:
        if job.stage == "train":
            paradigm, seed = Path(job.log).stem.rsplit("-", 1)
            cost = folder / "results" / run / "train" / paradigm / seed / "cost.json"
            if cost.exists():
                outside.append(job.seconds - json.loads(cost.read_text(encoding="utf-8"))["seconds"])
    return statistics.median(outside) if outside else None


def measure(folder: Path, run: str) -> tuple[Ratio, dict]:
    """The overhead as a share of busy slots to be held against a target, and all it was computed from."""
    jobs = recorded(folder, run)
    span = max(job.end for job in jobs) - min(job.start for job in jobs)
    wall = call(folder, jobs)
    totals = accounts(jobs, wall or span)
    slots = totals["slots"]
    overhead = slots * totals["wall"] / totals["jobs"] - 1
    stages: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        stages[job.stage].append(job.seconds)
    rows = [
        {"stage": stage, "jobs": len(times), "seconds": sum(times), "median": statistics.median(times)}
        for stage, times in stages.items()
    ]
    facts = {"totals": totals, "overhead": overhead, "stages": rows, "call_in_log": wall is not None}
    start = own_start(folder, run, jobs)
    if start is not None:
        facts |= {
            "start": start,
            "overhead_with_starts": slots * totals["wall"] / (totals["jobs"] - start * len(jobs)) - 1,
        }
    note = f"overhead {overhead:.1%} of the jobs' time; {slots} at a time, {len(jobs)} jobs"
    return Ratio(f"orchestration of {run}: busy share", 1 / (1 + MOST), 1 / (1 + overhead), note=note), facts


def main(argv: list[str] | None = None) -> int:
    """Print the tables; the exit code is 1 where the overhead is above MOST."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the name of a run that 'snakemake' finished in one call")
    parser.add_argument("--folder", type=Path, default=Path(), help="the clone it ran in")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args(argv)
    ratio, facts = measure(options.folder, options.run)
    totals, whole = facts["totals"], sum(row["seconds"] for row in facts["stages"])
    head = f"{'stage':<14}{'jobs':>6}{'core-seconds':>14}{'share':>8}{'a job':>10}"
    print(head, "-" * len(head), sep="\n")
    for row in facts["stages"]:
        share = row["seconds"] / whole
        print(f"{row['stage']:<14}{row['jobs']:>6}{row['seconds']:>12.1f} s{share:>8.1%}{row['median']:>8.2f} s")
    print()
    for name, seconds in totals.items():
        print(f"{name:<32}{seconds:>9.1f}{'' if name == 'slots' else ' s'}")
    if not facts["call_in_log"]:
        print("no log of the call covers these jobs: wall is from the first job's start to the last one's end")
    print(f"\noverhead {facts['overhead']:.1%}, at most {MOST:.0%}{'' if ratio.holds else '  MISSED'}")
    if "start" in facts:
        print(
            f"a job's own start {facts['start']:.2f} s; overhead with all of them {facts['overhead_with_starts']:.1%}"
        )
    write(options.json, {"run": options.run}, facts | {"ratio": asdict(ratio)})
    return int(not ratio.holds)


if __name__ == "__main__":
    ends(main)
