"""``python -m diffbench``."""

import sys

from .cli import main

sys.exit(main())
