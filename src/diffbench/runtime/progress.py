"""Progress of one job: a rewritten line on a terminal, newline heartbeats in a log."""

import sys
import time
from collections.abc import Callable
from typing import TextIO


def clock(seconds: float) -> str:
    """Seconds as 1:05 or 2:03:04."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Report ``update(done)`` of ``total`` with rate and time left.

    Args:
        label: what is running.
        total: units to do.
        unit: their name.
        done: units an earlier, interrupted process has done.
        stream: where to write; standard error by default.
        every: seconds between heartbeats where the stream is not a terminal; every 10% too.
    """

    def __init__(
        self,
        label: str,
        total: int,
        unit: str,
        *,
        done: int = 0,
        stream: TextIO | None = None,
        every: float = 30.0,
        now: Callable[[], float] = time.monotonic,
    ):
        self.label, self.total, self.unit, self.first = label, total, unit, done
        self.stream, self.every, self.now = stream or sys.stderr, every, now
        self.started = self.last = now()
        self.tenth = 10 * done // max(total, 1)

    def update(self, done: int, note: str = "") -> None:
        """Say where the job stands, if it is time to."""
        now, tenth = self.now(), 10 * done // max(self.total, 1)
        terminal = self.stream.isatty()
        due = now - self.last >= (0.2 if terminal else self.every) or done == self.total
        if not due and (terminal or tenth == self.tenth):
            return
        self.last, self.tenth = now, tenth
        elapsed = now - self.started
        rate = (done - self.first) / elapsed if elapsed > 0 else 0.0
        left = clock((self.total - done) / rate) if rate > 0 else "?"
        line = (
            f"{self.label} {done}/{self.total} {self.unit} ({100 * done // max(self.total, 1)}%) "
            f"{rate:.1f}/s elapsed {clock(elapsed)} eta {left} {note}"
        ).rstrip()
        end = "\n" if not terminal or done == self.total else ""
        self.stream.write((f"\r\x1b[2K{line}" if terminal else line) + end)
        self.stream.flush()
