"""Progress: heartbeats in a log, one line on a terminal."""

import io

from diffbench.runtime.progress import Progress, clock


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drive(stream, seconds, total=100, done=0):
    now = Clock()
    progress = Progress("train sd1", total, "steps", stream=stream, now=now, done=done)
    for step in range(done + 1, total + 1):
        now.time += seconds
        progress.update(step, "loss 0.1")
    return stream.getvalue()


def test_a_fast_job_beats_every_tenth():
    lines = drive(io.StringIO(), 0.01).splitlines()
    assert len(lines) == 10
    assert lines[4] == "train sd1 50/100 steps (50%) 100.0/s elapsed 0:00 eta 0:00 loss 0.1"


def test_a_slow_job_beats_every_thirty_seconds():
    lines = drive(io.StringIO(), 11).splitlines()
    assert len(lines) >= 100 * 11 / 33
    assert "0.1/s elapsed" in lines[0] and "eta " in lines[0]


def test_a_terminal_line_is_rewritten():
    text = drive(Terminal(), 0.3)
    assert text.count("\n") == 1 and text.count("\r") == 100


def test_a_resumed_job_counts_its_own_rate():
    assert "5.0/s" in drive(io.StringIO(), 0.2, done=50).splitlines()[0]


def test_clock():
    assert [clock(s) for s in (0, 65, 3600)] == ["0:00", "1:05", "1:00:00"]
