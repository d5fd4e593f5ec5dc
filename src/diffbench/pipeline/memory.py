"""What the jobs of a run hold in memory at once, told before they start."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

from diffbench.config.models import Params
from diffbench.data.sources import SOURCES
from diffbench.pipeline.disk import gib, parameters
from diffbench.pipeline.jobs import jobs
from diffbench.runtime.hardware import cuda_devices

HELD = re.compile(r"^\w+: [\d.]+ s, at most (\d+) MB resident", re.MULTILINE)  # a log's last line, cli.spent
# Measured on a CPU with the presets digits, where the largest job held 961 MB, and mnist-small: 1,747 MB with 70,000
# images of 28 x 28 at hand, and 1,436 MB while 1,000 guided ones were sampled at once.
LEAST = 960_000_000  # bytes of any job: the interpreter, torch, and small data
DATA = 3.6  # bytes for each byte of all images in float32
BATCH = 170  # bytes for each byte of the images that are sampled at once in float32, by a network of
WEIGHTS = 250_000  # parameters; maps grow with the channels, and those as the root of the parameters
FLOAT = 4  # bytes


def measured(run: str, logs: Path = Path("logs")) -> int | None:
    """The most bytes that a job of a run held resident the last time, by the logs; None where they do not say."""
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in (logs / run).rglob("*.log"))
    return max((int(mb) * 10**6 for text in texts for mb in HELD.findall(text)), default=None)


def estimate(params: Params) -> int:
    """Bytes that the largest job of a run should hold on a CPU, from what was measured on the presets."""
    source = SOURCES[params.data.source]
    image = source.side**2 * FLOAT
    at_once = min(params.sampling.batch_size, params.sampling.images)
    wide = math.sqrt(max(parameters(params).values()) / WEIGHTS)
    return round(LEAST + max(DATA * source.count * image, BATCH * wide * at_once * image))


def _limits(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """Bytes still free by each limit that a container or a scheduler has set, as control groups of either version say.

    What the kernel keeps of files counts as used there, though it goes when memory is wanted.
    """
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        top, names = (
            (mounted / kinds, ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
            if kinds
            else (mounted, ("memory.max", "memory.current", "inactive_file"))
        )
        group = top / path.strip("/")
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(top))):
            try:
                limit, current = ((folder / name).read_text(encoding="utf-8").strip() for name in names[:2])
                kept = dict(
                    entry.split() for entry in (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
                )
                yield int(limit) - int(current) + int(kept.get(names[2], 0))
            except (OSError, ValueError):  # no such file, or "max"
                continue


def free() -> int:
    """Bytes that new processes can have on this machine, or in the container that it is seen from."""
    import psutil

    return max(0, min([psutil.virtual_memory().available, *_limits()]))


def summary(params: Params, cores: int) -> str:
    """One line: how many jobs run at once on so many cores, what they may hold together, and what is free.

    Empty for a first run on CUDA, where nothing was measured.
    """
    peak, how = measured(params.name), "by the last run's logs"
    if peak is None:
        if params.compute.device != "cpu" and cuda_devices():
            return ""
        peak, how = estimate(params), "by the presets' runs"
    threads = params.compute.threads
    at_once = max(1, min(cores // threads, len(jobs(params))))
    left = free()
    line = f"memory: {at_once} jobs at once" if at_once > 1 else "memory: 1 job at a time"
    line += f", of which the largest hold about {gib(peak)} ({how}): up to {gib(at_once * peak)}; {gib(left)} free"
    if at_once * peak <= left:
        return line
    if at_once == 1 or left < peak:
        return f"{line}; jobs may be killed: free some, or choose smaller batches in params"
    return f"{line}; jobs may be killed: '--cores {left // peak * threads}' holds fewer"
