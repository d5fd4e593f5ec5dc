"""What a run rests on: code, params, data, versions, device."""

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path

from diffbench.config.presets import SUFFIXES, extension_files
from diffbench.runtime.files import sha256

PACKAGES = (
    "torch",
    "torchvision",
    "torchmetrics",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "safetensors",
)
GENERATED = ("dvc.lock", "results", "reports")


def git(*arguments: str) -> str | None:
    """The output of a git command, or None where there is no git or no repository."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def commit() -> str:
    """The commit, "(dirty)" where tracked or new files other than generated ones differ from it."""
    head = git("rev-parse", "HEAD")
    if head is None:
        return "unknown"
    changes = git("status", "--porcelain", "--", ".", *(f":(exclude){name}" for name in GENERATED))
    return f"{head} (dirty)" if changes else head


def params_hash(raw: dict) -> str:
    """A hash of the params' meaning: comments and the order of keys do not count."""
    return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()


def sources() -> dict[str, str]:
    """The SHA-256 of each of the package's source files and of the extensions, by its path in the repository."""
    root = Path(__file__).parent.parent
    own = {
        f"src/diffbench/{path.relative_to(root).as_posix()}": sha256(path)
        for path in sorted(root.rglob("*"))
        if path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()  # no editor's lock or swap file
    }
    return own | {path.as_posix(): sha256(path) for path in extension_files()}


def source_hash() -> str:
    """A hash of the package's source files, of the extensions, and of their names."""
    return hashlib.sha256(json.dumps(sources(), sort_keys=True).encode()).hexdigest()


def circumstances() -> dict[str, str]:
    """Commit, platform and versions of the packages that touch a number."""
    versions = {f"version {name}": importlib.metadata.version(name) for name in PACKAGES}
    return {
        "commit": commit(),
        "source sha256": source_hash(),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "algorithms": "deterministic; on CUDA an operation that has no such kernel is refused",  # device.prepare
        **versions,
    }
