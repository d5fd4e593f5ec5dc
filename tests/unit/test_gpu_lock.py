"""The lock of a shared GPU, held by real processes on a machine that claims to have one."""

import select
import subprocess
import sys

import pytest

from diffbench.runtime import gpu_lock

HOLD = """
import sys, time
from pathlib import Path
from diffbench.runtime import gpu_lock
gpu_lock.cuda_devices, gpu_lock.place = lambda: 1, lambda: Path(sys.argv[1])
with gpu_lock.hold("cuda", alone=sys.argv[2] == "alone"):
    print("has it", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """Start a process that has the GPU, alone or not, and return once it has it."""
    monkeypatch.setattr(gpu_lock, "cuda_devices", lambda: 1)
    monkeypatch.setattr(gpu_lock, "place", lambda: tmp_path / "gpu.lock")
    started = []

    def start(how: str) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(tmp_path / "gpu.lock"), how]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("first", ["alone", "shared"])
def test_who_times_has_the_gpu_alone_and_a_killed_one_gives_it_back(holder, first):
    process = holder(first)
    assert process.stdout.readline() == "has it\n"
    for how in ("alone", "shared"):
        following = holder(how)
        assert not select.select([following.stdout], [], [], 4)[0], "it waits"
        process.kill()
        assert following.stdout.readline() == "has it\n"
        process = following


def test_who_does_not_time_shares(holder):
    assert holder("shared").stdout.readline() == "has it\n"
    with gpu_lock.hold("auto", alone=False):
        pass


def test_a_cpu_is_not_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_lock, "place", lambda: tmp_path / "gpu.lock")
    with gpu_lock.hold("cpu", alone=True):
        assert not (tmp_path / "gpu.lock").exists()
