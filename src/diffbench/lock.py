"""Locks that end with the process that holds them, however it ends."""

import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import UserError

FOLDER = Path(".snakemake/folder.lock")
READ_ONLY = {"-n", "--dry-run", "--dryrun", "--lint", "-l", "--nolock", "--unlock", "--report", "--summary", "-S"}


def hold(path: Path) -> IO | None:
    """Take a lock and return what keeps it while it lives, or None if another process has it.

    The kernel drops the lock when its holder dies, so there is nothing to clean up after a kill. The file stays: taking
    it away would let two processes lock two files of one name.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); free space or fix permissions"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    with suppress(OSError):  # a courtesy to whoever waits; a full disk shows where it matters
        os.ftruncate(handle.fileno(), 0)
        os.write(handle.fileno(), str(os.getpid()).encode())
    return handle


def holder(path: Path) -> str:
    """The number of the process that holds a lock, for people."""
    try:
        return path.read_text().strip() or "?"
    except OSError:
        return "?"


@contextmanager
def waiting(path: Path, what: str) -> Iterator[None]:
    """Hold a lock for a block; wait for the process that has it, and say so.

    A killed engine may leave a job running. The next run does not disturb it, and makes the same files again after it.
    """
    handle = hold(path)
    if handle is None:
        print(f"waiting for process {holder(path)}, which makes {what} too", flush=True)
        with path.open("a+") as patient:
            fcntl.flock(patient, fcntl.LOCK_EX)
            yield
        return
    with handle:
        yield


def one_engine(arguments: list[str]) -> IO | None:
    """Let one Snakemake at a time work in this folder, and never beside DVC; clear what a killed one left.

    Snakemake's own lock outlives a kill, and then asks for another command before it goes on.

    Args:
        arguments: Snakemake's, of which some mean that nothing is made or that DVC called.

    Raises:
        UserError: another engine is at work here.
    """
    if any(word in READ_ONLY or re.fullmatch(r"-[a-z]*n[a-z]*", word) for word in arguments):
        return None
    for process in _dvc_at_work():
        raise UserError(f"DVC (process {process}) is at work here; wait until it has ended and give the command again")
    handle = hold(FOLDER)
    if handle is None:
        raise UserError(
            f"another Snakemake (process {holder(FOLDER)}) is at work here; wait until it has ended and give the "
            "command again"
        )
    stale = list(Path(".snakemake/locks").glob("*"))
    if stale:
        print("note: the last Snakemake here was killed; its lock is removed and its work taken up", file=sys.stderr)
    for path in stale:
        path.unlink(missing_ok=True)
    return handle


def _dvc_at_work() -> list[int]:
    """Processes of DVC that make files here, from the list in which DVC keeps them."""
    try:
        held = json.loads(Path(".dvc/tmp/rwlock").read_text())
        own = [held.get("write", {}).values(), *held.get("read", {}).values()]
        found = {int(entry["pid"]) for entries in own for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # no list, or one that DVC is just writing
    return sorted(number for number in found if _alive(number))


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def refuse_beside_snakemake() -> None:
    """Refuse a job of DVC's while a Snakemake works in this folder: each would delete the other's files.

    Raises:
        UserError: a Snakemake is at work here.
    """
    if not FOLDER.exists():
        return
    handle = hold(FOLDER)
    if handle is None:
        raise UserError(
            f"Snakemake (process {holder(FOLDER)}) is at work here; wait until it has ended and run 'dvc repro' again"
        )
    handle.close()
