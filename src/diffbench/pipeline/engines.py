"""What this project knows of the engines' insides: their locks, what they take for current, DVC's cache.

Everything else goes through the commands and files that Snakemake and DVC document.
"""

import atexit
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

import yaml

from diffbench.config.models import Params
from diffbench.config.presets import is_own
from diffbench.errors import UserError
from diffbench.runtime import file_lock
from diffbench.runtime.places import Places

FOLDER = Path(".snakemake/folder.lock")
DVC_LOCK = Path("dvc.lock")
DVC_LIST = Path(".dvc/tmp/rwlock")  # who reads and writes what, as DVC keeps it
OURS = ("results", "reports")  # what Snakemake writes
READ_ONLY = {"-n", "--dry-run", "--dryrun", "--lint", "-l", "--nolock", "--unlock", "--report", "--summary", "-S"}
# `dvc commit` with two options that its command line lacks: relink would copy every file anew, and sampled images may
# have been deleted after scoring.
COMMIT = """
import shutil, sys
from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.repo import Repo
from dvc.scm import SCMError
from dvc.utils.serialize import ParseError
from dvc.utils.strictyaml import YAMLValidationError
try:
    repo = Repo()
    without = repo.config["core"].get("no_scm")
    repo.scm
except SCMError:
    sys.exit(4)
if not without and shutil.which("git") is None:
    sys.exit(5)
try:
    Lockfile(repo, LOCK_FILE).load()
except (ParseError, YAMLValidationError):
    sys.exit(3)
repo.commit(force=True, allow_missing=True, relink=False)
"""
UNTOLD = {
    4: "no Git repository here or above, and DVC's core.no_scm is off",
    5: "git is not installed",
}


def _half_written() -> UserError:
    way = "delete it and give the last command again"
    return UserError(f"{DVC_LOCK}: half-written, as by a DVC that was killed; {way}")


def _refuse_half_written() -> None:
    """Refuse the rest of a dvc.lock before hours of work that would end with it. All but its last bytes stays unread.

    Raises:
        UserError: it does not end as DVC ends it.
    """
    with suppress(FileNotFoundError), DVC_LOCK.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        if file.read() != b"\n":
            raise _half_written()


def one_engine(arguments: list[str]) -> IO | None:
    """Let one Snakemake at a time work in this folder, and never beside DVC; clear what a killed one left.

    Snakemake's own lock outlives a kill, and then asks for another command before it goes on.

    Args:
        arguments: Snakemake's, of which some mean that nothing is made or that DVC called.

    Raises:
        UserError: another engine is at work here, or DVC was killed while it wrote its lock file.
    """
    if any(word in READ_ONLY or re.fullmatch(r"-[a-z]*n[a-z]*", word) for word in arguments):
        return None
    _refuse_half_written()
    handle = file_lock.hold(FOLDER)
    if handle is None:
        raise UserError(
            f"another Snakemake (process {file_lock.holder(FOLDER)}) is at work here; wait until it has ended and give "
            "the command again"
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


def has_record(path: str) -> bool:
    """Whether Snakemake has made, taken over or begun a file: what it plans by lies under the file's name."""
    name = urlsafe_b64encode(path.encode()).decode()
    return any(Path(".snakemake", kind, name).exists() for kind in ("metadata", "incomplete"))


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
def _dvc_let_in() -> Iterator[None]:
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


def _busy() -> UserError:
    return UserError(
        f"Snakemake (process {file_lock.holder(FOLDER)}) is at work here; wait until it has ended and give the "
        "command again"
    )


def refuse_beside_snakemake() -> None:
    """Refuse what would write beside a Snakemake that works in this folder: each would spoil the other's files.

    Raises:
        UserError: a Snakemake is at work here.
    """
    if file_lock.held(FOLDER):
        raise _busy()


@contextmanager
def without_snakemake() -> Iterator[None]:
    """Keep Snakemake from starting in this folder for a block.

    Raises:
        UserError: a Snakemake is at work here.
    """
    handle = file_lock.hold(FOLDER)
    if handle is None:
        raise _busy()
    with handle:
        yield


@cache
def _in_dvc_lock() -> dict[str, str]:
    """The MD5 under which DVC keeps each output."""
    try:
        text = DVC_LOCK.read_text(encoding="utf-8")
        stages = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"].values()
        return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", ())}
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}


def damaged_copy(path: str) -> Path | None:
    """DVC's cached copy of a file, if that is damaged too: DVC restores it unread, and keeps it beside a whole one."""
    md5 = _in_dvc_lock().get(path, "")
    copy = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    if not copy.is_file():
        return None
    with copy.open("rb") as file:
        return copy if hashlib.file_digest(file, "md5").hexdigest() != md5 else None


def _call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the engines by Python's arguments, as no part of the stage that calls."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DVC_STAGE")}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment | _cache())


def _cache() -> dict[str, str]:
    """A folder for Snakemake's cache where the one of the user's home cannot be had: it would not even start."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return {}
    except (OSError, RuntimeError):  # no home at all, as for a container's nameless user
        pass
    return {"XDG_CACHE_HOME": str(Path(".snakemake/cache").absolute())}


def _reason(said: str) -> str:
    """The line of an engine's output that says why it failed: the last that is an error, else the last."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no output"]
    errors = (
        n for n, line in reversed([*enumerate(lines)]) if re.match(r"(?i)error: |[\w.]*(Error|Exception)\b", line)
    )
    found = next(errors, len(lines) - 1)
    return " ".join(lines[found : found + (2 if lines[found].endswith(":") else 1)])


def _failure(what: str, done: subprocess.CompletedProcess[str]) -> UserError:
    reason = _reason(f"{done.stdout}\n{done.stderr}")
    return UserError(f"'{what}' failed: {reason}; mend what it names and give the last command again")


def tell_snakemake(params: Params) -> str:
    """Make Snakemake take the run's files for its own work of now; gives its name, or nothing where it is not used.

    Raises:
        UserError: Snakemake failed.
    """
    if not Path("Snakefile").exists():
        return ""
    target = Places(params.name).manifest.as_posix()
    # Not --quiet all: that hides errors too.
    arguments = ["--touch", "--forceall", "--cores", "1", "--quiet", "progress", "--nolock", "--", target]
    done = _call("-m", "snakemake", *arguments)
    if done.returncode:
        raise _failure(f"snakemake {' '.join(arguments)}", done)
    return "Snakemake"


def tell_dvc(params: Params) -> str:
    """Write the run's files into dvc.lock and the cache, where that applies; otherwise say why not.

    Gives DVC's name, or nothing where it was not told: of a run that is not params.yaml's it knows nothing.

    Raises:
        UserError: DVC failed, or dvc.lock was left half-written by a DVC that was killed.
    """
    if not is_own(params.name):
        return ""
    if not Path(".dvc").is_dir():
        print("no DVC here: dvc.lock is not written")
        return ""
    with _dvc_let_in():
        done = _call("-c", COMMIT)
    if done.returncode == 3:
        raise _half_written()
    if done.returncode in UNTOLD:
        print(f"{UNTOLD[done.returncode]}: dvc.lock is not written")
        return ""
    if done.returncode:
        raise _failure("dvc commit", done)
    return "DVC"
