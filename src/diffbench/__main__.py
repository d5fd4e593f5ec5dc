"""``python -m diffbench``."""

import gc
import sys

# A job imports half a million objects of torch and ends minutes later. Collections while they are made, and the last
# ones over all of them when the interpreter ends, take a fifth of a short job's time and free nothing.
gc.set_threshold(100_000)

from .cli import main  # noqa: E402

code = main()
gc.freeze()
sys.exit(code)
