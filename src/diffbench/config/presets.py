"""params.yaml and the presets, as they are read.

A run's name means params.yaml if that file bears it, and the shipped preset otherwise. Presets other than mnist are
overlays on mnist.yaml, never on the user's params.yaml: an overlay on an edited file would hide the edit."""

from pathlib import Path
from typing import Any

from diffbench.errors import UserError
from diffbench.runtime.places import Places
from diffbench.runtime.yaml_file import read_yaml

PARAMS = Path("params.yaml")
PRESETS = Path("workflow/presets")
EXTENSIONS = Path("workflow/extensions")
SUFFIXES = (".py", ".j2", ".css", ".js")  # of the package's source files
EXTENSION_KINDS = ("metrics", "networks", "samplers")  # a folder for each
CLAIMS = Path("workflow/claims.yaml")
DAG = Path("dvc.yaml")
FULL = "mnist"


def extension_files(kind: str = "*") -> list[Path]:
    """The files of parts from outside the package, of one kind or of all, but what editors and Python leave there."""
    found = [path for folder in sorted(EXTENSIONS.glob(kind)) if folder.is_dir() for path in sorted(folder.rglob("*"))]
    left = ("__pycache__", ".")
    return [
        path
        for path in found
        if path.is_file()
        and not path.name.endswith("~")
        and not any(part.startswith(left) for part in path.relative_to(EXTENSIONS).parts)
    ]


def overlay(base: Any, changes: Any) -> Any:
    """``base`` with ``changes`` merged in: mappings merge, everything else replaces, null removes a key."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    merged = {key: overlay(value, changes[key]) if key in changes else value for key, value in base.items()}
    merged |= {key: value for key, value in changes.items() if key not in base}
    return {key: value for key, value in merged.items() if value is not None}


def is_own(run: str) -> bool:
    """Whether params.yaml bears a run's name; such a run is the only one that DVC knows."""
    return bears(read_yaml(PARAMS), run)


def bears(own: dict, run: str) -> bool:
    """Whether raw params have a run's name; one that is no text is told as a mistake of theirs, not as another run."""
    return str(own.get("name")) == run


def preset_names() -> list[str]:
    """The shipped presets, the full one first."""
    return sorted((path.stem for path in PRESETS.glob("*.yaml")), key=lambda name: (name != FULL, name))


def preset(name: str) -> dict:
    """The raw params of a shipped preset."""
    full = read_yaml(PRESETS / f"{FULL}.yaml")
    return full if name == FULL else overlay(full, read_yaml(PRESETS / f"{name}.yaml"))


def raw(run: str) -> dict:
    """The unchecked params of a run: params.yaml if it bears the name, else the preset.

    Raises:
        UserError: neither exists.
    """
    own = read_yaml(PARAMS)
    if bears(own, run):
        return own
    if run not in preset_names():
        known = ", ".join(dict.fromkeys([str(own.get("name")), *preset_names()]))
        old = Places(run).results
        renamed = f"; {old} is of a run that was renamed: name it in params.yaml again, or delete the folder"
        left = renamed if run.replace("-", "").isalnum() and old.is_dir() else ""
        raise UserError(f"run '{run}': no such run; params.yaml and the presets know {known}{left}")
    return preset(run)
