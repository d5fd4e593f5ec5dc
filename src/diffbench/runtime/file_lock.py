"""Locks that end with the process that holds them, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from diffbench.errors import UserError


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


def held(path: Path) -> bool:
    """Whether a process has a lock. It is asked for shared and let go at once, so nobody is named as its holder."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def holder(path: Path) -> str:
    """The number of the process that holds a lock, for people."""
    try:
        return path.read_text().strip() or "?"
    except OSError:
        return "?"


@contextmanager
def waiting(path: Path, what: str) -> Iterator[bool]:
    """Hold a lock for a block; wait for the process that has it, say so, and give whether there was one.

    A killed engine may leave a job running. The next run does not disturb it, and takes over what it makes.
    """
    handle = hold(path)
    if handle is None:
        print(f"waiting for process {holder(path)}, which makes {what} too", flush=True)
        with path.open("a+") as patient:
            fcntl.flock(patient, fcntl.LOCK_EX)
            yield True
        return
    with handle:
        yield False
