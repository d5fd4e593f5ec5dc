"""What this machine has, and what it used: nothing here decides a number."""

import ctypes
import platform
import resource
from pathlib import Path

import torch


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what was asked of it, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak so far, where the device can: a process's own peak cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Most bytes the device's allocator held; on a CPU the most the process held resident, interpreter included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts in KiB


def device_name(device: torch.device) -> str:
    """The device in words, "NVIDIA H200" or "cpu (Intel(R) Xeon(R) Processor @ 2.70GHz)"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({processor()})"


def processor() -> str:
    """The CPU's model, which decides the last digits of sums and so where a training ends; else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cuda_devices() -> int:
    """CUDA devices the driver sees, asked without importing torch (a second) or making a context."""
    try:
        driver, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
            return 0
    except OSError:
        return 0
    return count.value
