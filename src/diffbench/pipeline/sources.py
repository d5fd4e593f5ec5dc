"""The source files that decide what a stage writes: all that it imports, but the plumbing.

Both engines, the records and the resume points take a stage's sources from here, so that none of them can be told
another list, and a new module needs no entry anywhere.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from diffbench.config.presets import EXTENSIONS, SUFFIXES, extension_files
from diffbench.runtime.files import sha256

PACKAGE = Path(__file__).parent.parent
ROOT = Path("src/diffbench")  # of the same files, in a checkout
# What these hold decides no number: files, locks and progress; params, whose values the engines track for themselves;
# the engines; how errors are told.
PLUMBING = ("runtime", "config", "pipeline", "errors", "__init__")
# The kinds of parts that users add in files of their own, and the module that must be reached for them to matter.
EXTENDED = {
    "metrics": "tables/schema.py",
    "networks": "diffusion/networks/__init__.py",
    "samplers": "diffusion/samplers.py",
}
DATA_SETS = "data/sources/__init__.py"  # the registry: of the sets in it a run reads one


def _plumbing(module: str) -> bool:
    return module.split("/")[0].removesuffix(".py") in PLUMBING


def _file(dotted: list[str]) -> str | None:
    """The file of a module or package by its names below ``diffbench``, as a path in the package; None without one."""
    path = Path(*dotted)
    for file in (path.with_suffix(".py") if dotted else path / "__init__.py", path / "__init__.py"):
        if (PACKAGE / file).is_file():
            return file.as_posix()
    return None


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of this package that one imports anywhere in it, as paths in the package.

    Raises:
        ValueError: an import of the package that is relative or takes everything: it cannot be followed.
    """
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level or any(alias.name == "*" for alias in node.names):
                raise ValueError(f"{module}:{node.lineno}: write the import as 'from diffbench.package import name'")
            base = node.module.split(".")
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for top, *rest in names:
            if top == "diffbench":
                # The last is a module or a name in one; the packages above it are run too.
                found |= {file for end in range(len(rest) + 1) if (file := _file(rest[:end]))}
    return frozenset(found)


def _beside(module: str) -> Iterator[str]:
    """Templates and the like that a module may read: files of other kinds in folders beside it."""
    for folder in (PACKAGE / module).parent.glob("*/"):
        if folder.name != "__pycache__" and not any(folder.glob("*.py")):
            found = (path for path in folder.rglob("*") if path.suffix in SUFFIXES and not path.name.startswith("."))
            yield from (path.relative_to(PACKAGE).as_posix() for path in found)


def says_nothing(module: str) -> bool:
    """Whether a module holds a docstring at most, as a package's own file often does."""
    body = ast.parse((PACKAGE / module).read_text(encoding="utf-8")).body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def data_set(name: str) -> str:
    """The module of a data set."""
    return f"data/sources/{name.replace('-', '_')}.py"


@cache
def modules(stage: str, data: str | None = None) -> tuple[str, ...]:
    """The source files of a stage as sorted paths in the package.

    Args:
        data: the data set of the run, of which alone the sources count; None for those of all.

    Raises:
        ValueError: there is no such stage.
    """
    first = f"stages/{stage}.py"
    if not (PACKAGE / first).is_file():
        raise ValueError(f"no stage {stage!r}")
    found: set[str] = set()
    waiting = [first]
    while waiting:
        module = waiting.pop()
        if module == DATA_SETS and data is not None:
            module = data_set(data)
        if module not in found and not _plumbing(module):
            found.add(module)
            waiting += imported(module)
    found -= {module for module in found if says_nothing(module)}
    return tuple(sorted(found.union(*(set(_beside(module)) for module in found))))


def is_source(path: str) -> bool:
    """Whether a path in a checkout is of the kinds that are listed here."""
    return path.startswith((f"{ROOT.as_posix()}/", f"{EXTENSIONS.as_posix()}/"))


def is_stage(name: str) -> bool:
    """Whether a stage has this name; users may give DVC stages of their own."""
    return (PACKAGE / f"stages/{name}.py").is_file()


def sources(stage: str, data: str | None = None) -> list[str]:
    """The source files of a stage as paths in a checkout; of data sets those of one where it is named."""
    return [(ROOT / module).as_posix() for module in modules(stage, data)]


def extensions(stage: str) -> list[Path]:
    """The folders with parts from outside the package that a stage may use."""
    return [EXTENSIONS / kind for kind, module in EXTENDED.items() if module in modules(stage)]


def extended(stage: str) -> list[Path]:
    """The files in those folders."""
    return [path for folder in extensions(stage) for path in extension_files(folder.name)]


@cache
def code_hash(stage: str, data: str) -> str:
    """A hash of all that decides what a stage writes, but its inputs and params."""
    own = {module: sha256(PACKAGE / module) for module in modules(stage, data)}
    found = own | {path.as_posix(): sha256(path) for path in extended(stage)}
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()
