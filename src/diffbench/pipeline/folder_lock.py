"""Locks that end with the process that holds them, however it ends."""

import atexit
import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from diffbench.errors import UserError

FOLDER = Path(".snakemake/folder.lock")
DVC_LIST = Path(".dvc/tmp/rwlock")  # who reads and writes what, as DVC keeps it
OURS = ("results", "reports")  # what Snakemake writes
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
    handle = hold(FOLDER)
    if handle is None:
        raise UserError(
            f"another Snakemake (process {holder(FOLDER)}) is at work here; wait until it has ended and give the "
            "command again"
        )
    try:
        keep_dvc_out(" ".join(["snakemake", *arguments]))
    except UserError:
        handle.close()
        raise
    atexit.register(let_dvc_in)
    stale = list(Path(".snakemake/locks").glob("*"))
    if stale:
        print("note: the last Snakemake here was killed; its lock is removed and its work taken up", file=sys.stderr)
    for path in stale:
        path.unlink(missing_ok=True)
    return handle


@contextmanager
def _dvc_list() -> Iterator[dict]:
    """DVC's list of its processes, to change in a block, under the lock that DVC takes for that."""
    DVC_LIST.parent.mkdir(parents=True, exist_ok=True)
    with DVC_LIST.with_suffix(".lock").open("a+") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        try:
            held = json.loads(DVC_LIST.read_text())
        except (FileNotFoundError, ValueError):  # a DVC killed while it wrote leaves half a list
            held = {}
        held = held if isinstance(held, dict) else {}
        yield held
        temporary = DVC_LIST.with_suffix(".new")
        temporary.write_text(json.dumps(held))
        temporary.replace(DVC_LIST)


def keep_dvc_out(command: str) -> None:
    """Enter this process in DVC's list as writing all results, unless DVC is at work.

    DVC deletes a stage's outputs before the stage's command could refuse, and looks at nothing but its own list before.
    It strikes a process off the list that has ended, so a killed Snakemake leaves nothing that blocks.

    Raises:
        UserError: DVC is at work here, or the list cannot be written.
    """
    if not DVC_LIST.parent.parent.is_dir():
        return
    try:
        with _dvc_list() as held:
            for process in _dvc_at_work(held):
                raise UserError(
                    f"DVC (process {process}) is at work here; wait until it has ended and give the command again"
                )
            own = {"pid": os.getpid(), "cmd": command}
            held["write"] = held.get("write", {}) | {str(Path.cwd() / name): own for name in OURS}
    except OSError as error:
        raise UserError(
            f"{DVC_LIST}: cannot be written ({error.strerror or error}); free space or fix permissions"
        ) from None


def let_dvc_in() -> None:
    """Strike this process off DVC's list."""
    if not DVC_LIST.exists():
        return
    with suppress(OSError), _dvc_list() as held:
        entries = held.get("write", {})
        held["write"] = {path: entry for path, entry in entries.items() if entry.get("pid") != os.getpid()}


@contextmanager
def dvc_let_in() -> Iterator[None]:
    """Let DVC write for a block of a Snakemake's last job, which tells it what was made."""
    if not DVC_LIST.exists():
        yield
        return
    own = {str(Path.cwd() / name) for name in OURS}
    with _dvc_list() as held:
        entries = {path: entry for path, entry in held.get("write", {}).items() if path in own}
        held["write"] = {path: entry for path, entry in held.get("write", {}).items() if path not in own}
    try:
        yield
    finally:
        with _dvc_list() as held:
            held["write"] = held.get("write", {}) | entries


def _dvc_at_work(held: dict) -> list[int]:
    """Processes of DVC that make files here, by its list."""
    try:
        writing = {path: entry for path, entry in held.get("write", {}).items() if Path(path).name not in OURS}
        own = [writing.values(), *held.get("read", {}).values()]
        return sorted({int(entry["pid"]) for entries in own for entry in entries if _alive(entry)})
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _alive(entry: dict) -> bool:
    """Whether the process of an entry is at work; after a power cut its number may be another's."""
    try:
        os.kill(int(entry["pid"]), 0)
        words = Path(f"/proc/{entry['pid']}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's, or a system without /proc
    return str(entry["cmd"]).partition(" ")[2] in " ".join(words)  # without its first word, which Python may change


def refuse_beside_snakemake() -> None:
    """Refuse what would write beside a Snakemake that works in this folder: each would spoil the other's files.

    Raises:
        UserError: a Snakemake is at work here.
    """
    if not FOLDER.exists():
        return
    handle = hold(FOLDER)
    if handle is None:
        raise UserError(
            f"Snakemake (process {holder(FOLDER)}) is at work here; wait until it has ended and give the command again"
        )
    handle.close()
