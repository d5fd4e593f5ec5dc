"""The lock of a GPU that several jobs share: what is timed has it to itself.

Jobs of this benchmark are short and their networks small, so one at a time leaves a GPU waiting for interpreters to
start, for launches and for scores on the CPU. Several at once fill those gaps, and would slow each other's clocks.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffbench.runtime.hardware import cuda_devices


def place() -> Path:
    """The lock of this user's jobs on this machine's GPU."""
    return Path(tempfile.gettempdir(), f"diffbench-gpu-{os.getuid()}.lock")


@contextmanager
def hold(device: str, *, alone: bool) -> Iterator[None]:
    """Use the GPU beside others that do not time it, or alone; wait until that is possible. Free on a CPU.

    A process that ends in any way gives it back. Jobs that time nothing may keep one that does waiting; trainings
    start first, so by the time most cells are sampled there are none.

    Args:
        device: as params say, "cpu", "cuda" or "auto".
        alone: for work that is timed.

    Raises:
        OSError: the folder for temporary files cannot be written.
    """
    if device == "cpu" or not cuda_devices():
        yield
        return
    with place().open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield  # closing the file gives it back
