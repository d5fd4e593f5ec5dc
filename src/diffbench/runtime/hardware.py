"""What this machine has. Without torch, because both engines and every command ask."""

import ctypes
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device_name(device: "torch.device") -> str:
    """The device in words, "NVIDIA H200" or "cpu (Intel(R) Xeon(R) Processor @ 2.70GHz)"."""
    import torch

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
