"""``python -m diffbench``."""

import atexit
import gc
import os
import sys

from diffbench.cli import main

# A job imports half a million objects of torch and ends minutes later. Collections while they are made, and the last
# ones over all of them when the interpreter ends, take a fifth of a short job's time and free nothing.
gc.set_threshold(100_000)


def leave(code: int) -> None:
    """End the process without taking the interpreter apart; what was registered for its end is done."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # the log's disk is full, or its reader is gone: the exit code that Python gives for it
        code = code or 120
    os._exit(code)


if __name__ == "__main__":
    leave(main())
