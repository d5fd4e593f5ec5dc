"""``python -m diffbench``, and the command ``diffbench``."""

import atexit
import gc
import os
import sys

from diffbench.cli import complain, main
from diffbench.errors import UserError
from diffbench.runs import experiments_own, refuse_another_package

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


def run() -> None:
    """Run the command line with the code of the checkout that it is given in, and end the process."""
    if source := experiments_own():
        others = [path for path in [os.environ.get("PYTHONPATH")] if path]
        os.environ["PYTHONPATH"] = os.pathsep.join([str(source), *others])
        os.execv(sys.executable, [sys.executable, "-m", "diffbench", *sys.argv[1:]])
    try:
        refuse_another_package()
    except UserError as error:
        leave(complain(str(error)))
    leave(main())


if __name__ == "__main__":
    run()
