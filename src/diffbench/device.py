"""The device a job runs on, set up so that the same job gives the same bytes there."""

import ctypes
import os

import torch

from diffbench.config.models import Compute
from diffbench.errors import UserError
from diffbench.runtime.hardware import cuda_devices


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors instead of returning it to the system.

    Tensors of a few MiB otherwise cost a page fault for each 4 KiB at every operation: keeping it gave 1 to 10%
    more training steps and 17 to 48% more sampling steps a second on a CPU. At MNIST's size, where maps are larger, a
    limit of 16 MiB took 28 s of CPU for 100 steps of the classifier instead of 16, and 14 s for scoring 20,000 images
    instead of 7; one of 64 MiB was no faster and its peak no lower.

    With this limit and with glibc's own the heap can break up: a small result that is kept where a large block was
    freed leaves a hole too small for the next such block. Code that works in chunks therefore writes its results into
    one tensor made beforehand.

    A C library without ``mallopt`` is left as it is.
    """
    trim_threshold, mmap_threshold = -1, -3  # from malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, 1 << 30)


def choose(compute: Compute) -> torch.device:
    """The device that the params mean on this machine."""
    return torch.device("cpu" if compute.device == "cpu" or not cuda_devices() else "cuda")


def prepare(compute: Compute) -> torch.device:
    """Fix the threads, switch on deterministic algorithms and return the device.

    Raises:
        UserError: the params ask for CUDA and there is none.
    """
    if compute.device == "cuda" and not cuda_devices():
        raise UserError(
            "compute.device: cuda, but no CUDA device is found; use a machine with one, or run "
            "'python -m diffbench params --preset digits --write' for the benchmark that needs none"
        )
    torch.set_num_threads(compute.threads)
    keep_freed_memory()
    if choose(compute).type == "cpu":
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    # Errors, not warnings: with warnings only, attention keeps its nondeterministic backward, and cuDNN's is chosen.
    torch.use_deterministic_algorithms(True)
    # It would also fill every new tensor with NaN, one more kernel for each. Nothing here reads what it did not write.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    # Compiled kernels are not chosen by a stopwatch, so sums keep their order from job to job.
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")
    os.environ.setdefault("TORCHINDUCTOR_MIX_ORDER_REDUCTION", "0")  # wrong gradients in torch 2.10 to 2.13
    torch.backends.cudnn.allow_tf32 = False  # the classifier and every metric are promised float32
    return torch.device("cuda")


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision for a network's forward pass where "bf16" asks for it; "float32" has none, in any context."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
