"""The manifest stage: the last one, called by either engine."""

import os
import time
from pathlib import Path

import psutil

from diffbench.config.models import Params
from diffbench.pipeline.engines import tell_dvc, tell_snakemake
from diffbench.pipeline.manifest import tell, write
from diffbench.report.finding import of_run
from diffbench.runtime.progress import clock


def dvc_since() -> float | None:
    """When the DVC process that runs this one was started, in seconds; None where it cannot be found.

    A stage knows of no other, so the time that a whole ``dvc repro`` takes is its process's.
    """
    try:
        for process in psutil.Process().parents():
            if "dvc" in {Path(part).name for part in process.cmdline()[:3]}:  # dvc, python dvc or python -m dvc
                return process.create_time()
    except psutil.Error:
        pass
    return None


def run(params: Params) -> None:
    """The manifest stage, called by either engine."""
    path = write(params)
    print(f"wrote {path}")
    if os.environ.get("DVC_STAGE"):
        tell(params, tell_snakemake)
        print(of_run(params))  # DVC has no word of its own at the end; Snakemake says it with the time that it took
        if (since := dvc_since()) is not None:
            print(f"elapsed: {clock(time.time() - since)}")
    else:
        tell(params, tell_dvc)
