"""What Snakemake says to people: the jobs at work, how many are done and the time left, no lists of files.

A plugin for Snakemake, which finds it by its name; the profiles turn it on. On a terminal the jobs stand at the foot of
the screen while they run; in a log each start and each end is a short line. Snakemake's own log under .snakemake/log
still holds the reasons and the files of every job.
"""

import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake.logging import DefaultFormatter, format_percentage
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from diffbench.runtime.progress import clock

LONGEST_LINE = 160
LAST_LINES = 20  # of a failed job's log
ROUTINE = (  # the same in every run, or said again after every job
    "Assuming unrestricted shared filesystem",
    "Conda environments: ignored",
    "Execute ",
    "Provided resources",
    "Rules claiming more threads",
    "Select jobs to execute",
    "Using shell",
)


def cut(line: str) -> str:
    """A line without the end of a long list in it."""
    kept, *others = line.split(", ")
    while others and len(kept) + len(others[0]) < LONGEST_LINE:
        kept += f", {others.pop(0)}"
    return f"{kept} and {len(others)} more" if others else kept


class Tally:
    """The jobs at work, and how long the others will take by those of their kind that are done."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self.now, self.started = now, now()
        self.done = self.total = 0
        self.planned: dict[str, int] = {}
        self.names: dict[int, tuple[str, str]] = {}
        self.running: dict[int, float] = {}
        self.took: dict[str, list[float]] = defaultdict(list)

    def plan(self, counts: Mapping[str, int]) -> None:
        self.planned = {rule: count for rule, count in counts.items() if rule != "total"}
        self.total = sum(self.planned.values())

    def begin(self, job: int, rule: str, wildcards: Mapping[str, str]) -> None:
        if not self.names:
            self.started = self.now()
        values = ", ".join(f"{key}={value}" for key, value in wildcards.items())
        self.names[job] = rule, f"rule {rule}{values and ': '}{values} (job {job})"
        self.running[job] = self.now()

    def end(self, job: int, well: bool) -> None:
        began = self.running.pop(job, None)
        if well and began is not None:
            self.took[self.names[job][0]].append(self.now() - began)

    def name(self, job: int) -> str:
        return self.names.get(job, ("", f"job {job}"))[1]

    @property
    def elapsed(self) -> float:
        return self.now() - self.started

    def left(self) -> str:
        """The time left, a lower bound as long as jobs of some kind are still to be timed."""
        ran = {job: self.now() - began for job, began in dict(self.running).items()}  # a copy: another thread writes
        work, known = 0.0, True
        for rule, count in self.planned.items():
            took = self.took.get(rule, [])
            if count > len(took) and took:
                mean = sum(took) / len(took)
                begun = sum(min(seconds, mean) for job, seconds in ran.items() if self.names[job][0] == rule)
                work += (count - len(took)) * mean - begun
            known = known and bool(took or not count)
        busy = sum(map(sum, list(self.took.values()))) + sum(ran.values())
        left = work * self.elapsed / busy if busy else 0.0
        return f", {'about' if known else 'over'} {clock(left)} left" if left >= 1 and self.done < self.total else ""

    def summary(self) -> str:
        return f"{self.done} of {self.total} steps ({format_percentage(self.done, self.total)}) done"


class Brief(DefaultFormatter):
    """Snakemake's messages without lists of files."""

    def __init__(self, tally: Tally, show_failed_logs: bool, dryrun: bool):
        super().__init__(show_failed_logs=show_failed_logs)
        self.tally, self.dryrun = tally, dryrun
        self.ended: list[int] = []

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno <= logging.INFO and str(record.msg).startswith(ROUTINE):
            return ""
        text = super().format(record) or ""
        text = text.replace("\n    (check individual jobs above for details)", "")  # which do not tell their reasons
        return text if record.levelno > logging.INFO else "\n".join(map(cut, text.split("\n")))

    def stamp(self) -> str:
        return "" if self.dryrun else time.strftime("[%H:%M:%S] ")

    def format_workflow_started(self, msg: dict[str, Any]) -> str:
        return ""

    def format_job_info(self, msg: dict[str, Any]) -> str:
        return f"{self.stamp()}{self.tally.name(msg['jobid'])}"

    def format_job_finished(self, msg: dict[str, Any]) -> str:
        self.ended.append(msg["job_id"])  # said with the progress, which follows
        return ""

    def format_progress(self, msg: dict[str, Any]) -> str:
        names, self.ended = "; ".join(map(self.tally.name, self.ended)), []
        return f"{self.stamp()}finished {names}\n{self.tally.summary()}{self.tally.left()}"

    def format_job_error(self, msg: dict[str, Any]) -> str:
        lines = [f"{self.stamp()}Error in {self.tally.name(msg['jobid'])}"]
        lines += [f"    {key}: {value}" for key, value in msg["aux"].items()]
        if msg["shellcmd"]:
            lines.append(f"    command: {msg['shellcmd']}")
        for path in msg["log"]:
            lines.append(f"    log: {path}")
            if self.show_failed_logs:
                lines += [f"    | {line}" for line in last_lines(Path(path))]
        return "\n".join(lines)


def last_lines(path: Path) -> list[str]:
    """The end of a job's log; in place of a progress line that was rewritten, what it said last."""
    try:
        lines = path.read_bytes().decode(errors="replace").split("\n")
    except OSError as error:
        return [str(error)]
    return [line.split("\r")[-1] for line in lines if line.strip()][-LAST_LINES:]


class LogHandler(LogHandlerBase):
    """The plugin."""

    def __post_init__(self) -> None:
        settings = self.common_settings
        self.tally = Tally()
        if settings.verbose:
            self.setFormatter(DefaultFormatter(settings.quiet, settings.show_failed_logs))
        else:
            self.setFormatter(Brief(self.tally, settings.show_failed_logs, settings.dryrun))
        self.stream = sys.stdout if settings.stdout else sys.stderr
        self.screen = None
        terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        if terminal and not (settings.verbose or settings.quiet or settings.dryrun):
            self.console = Console(file=self.stream, force_terminal=True, no_color=settings.nocolor, highlight=False)
            self.screen = Live(
                get_renderable=self.at_work,
                console=self.console,
                transient=True,
                refresh_per_second=2,
                redirect_stdout=sys.stdout.isatty(),
            )

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = getattr(record, "event", None)
            self.follow(event, record)
            text = self.format(record)
            if self.screen is None:
                if text:
                    print(text, file=self.stream, flush=True)
                return
            if text and event not in (LogEvent.JOB_INFO, LogEvent.PROGRESS):
                style = "red" if record.levelno >= logging.ERROR else ""
                self.console.print(Text(text, style=style), soft_wrap=True)
            # Away whenever nothing runs: what the Snakefile prints at the end goes to the terminal by itself.
            self.screen.start(refresh=True) if self.tally.running else self.screen.stop()
        except Exception:
            self.handleError(record)

    def follow(self, event: LogEvent | None, record: Any) -> None:
        """Take down what an event says of the jobs."""
        tally = self.tally
        if event is LogEvent.RUN_INFO:
            tally.plan(record.stats)
        elif event is LogEvent.JOB_INFO:
            tally.begin(record.jobid, record.rule_name, record.wildcards)
        elif event is LogEvent.JOB_FINISHED:
            tally.end(record.job_id, well=True)
        elif event is LogEvent.JOB_ERROR:
            tally.end(record.jobid, well=False)
        elif event is LogEvent.PROGRESS:
            tally.done, tally.total = record.done, record.total

    def at_work(self) -> RenderableType:
        """The foot of the screen."""
        tally = self.tally
        running = sorted(tally.running.items(), key=lambda item: item[1])
        room = max(self.console.height - 4, 1)
        lines = [f"{clock(tally.now() - began):>8}  {tally.name(job)}" for job, began in running[:room]]
        if len(running) > room:
            lines.append(f"{'':8}  and {len(running) - room} more")
        foot = Table.grid(padding=(0, 1))
        words = f"{tally.summary()}, {clock(tally.elapsed)} elapsed{tally.left()}"
        foot.add_row(ProgressBar(max(tally.total, 1), tally.done, width=20), Text(words, no_wrap=True))
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines), foot)

    def close(self) -> None:
        if self.screen is not None:
            self.screen.stop()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        return True

    @property
    def writes_to_file(self) -> bool:
        return False

    @property
    def has_filter(self) -> bool:
        return False  # Snakemake's own, which knows what --quiet leaves out

    @property
    def has_formatter(self) -> bool:
        return True

    @property
    def needs_rulegraph(self) -> bool:
        return False
