"""What a stage's sources are: all that it imports but the plumbing; and which rooms may know of which."""

import ast
import dataclasses
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from diffbench import runs
from diffbench.cli import STAGES
from diffbench.config import models
from diffbench.config.presets import EXTENSION_KINDS
from diffbench.data.sources import SOURCES
from diffbench.errors import UserError
from diffbench.pipeline import dag, sources
from diffbench.pipeline.jobs import jobs
from diffbench.stages import train
from diffbench.tables import provenance

PACKAGE = ROOT / "src/diffbench"
# A room may import from itself and from those before it.
ORDER = (
    "errors", "runtime", "config", "rng", "device", "meters", "design", "tables", "data", "diffusion", "training",
    "evaluation", "parts", "runs", "claims", "compare", "report", "pipeline", "stages", "cli", "__main__", "__init__",
)  # fmt: skip
NEVER = {"pipeline": {"claims", "compare", "report", "training", "evaluation"}, "report": {"training", "runs", "parts"}}


def room(module: str) -> str:
    return module.split("/")[0].removesuffix(".py")


def all_modules() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", all_modules())
def test_imports_go_one_way(module):
    own = room(module)
    reached = {room(name) for name in sources.imported(module)} - {"__init__"}
    assert own in ORDER, "a new room: say above what it may know"
    assert [other for other in reached if ORDER.index(other) > ORDER.index(own)] == []
    assert not reached & NEVER.get(own, set())


def test_nobody_imports_a_stage_but_the_command_line():
    importers = {name for name in all_modules() if any(room(other) == "stages" for other in sources.imported(name))}
    assert importers <= {"cli.py"}


def test_params_hold_values_only():
    """What is computed from them decides numbers, and so belongs to the rooms whose edits run stages again."""
    kinds = [kind for kind in vars(models).values() if isinstance(kind, type) and kind.__module__ == models.__name__]
    params = [kind for kind in kinds if "__pydantic_fields__" in vars(kind)]
    assert len(params) > 10
    own = {
        f"{kind.__name__}.{name}"
        for kind in params
        for name, value in vars(kind).items()
        if isinstance(value, property) or (inspect.isfunction(value) and not name.startswith("__"))
    }
    assert own == set()
    defaults = {
        f"{kind.__name__}.{field.name}": field.default
        for kind in params
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    assert defaults and set(defaults.values()) == {None}, "another default would be a value that no engine tracks"


@pytest.mark.parametrize("name", ["mnist", "mnist-small", "digits", "smoke"])
def test_params_are_what_is_written(at_root, name):
    """What reading makes of a value decides numbers and is tracked by no engine, so it makes nothing of it."""
    params = runs.load(name)
    for key, raw in params.raw.items():
        built = getattr(params, key)
        if key == "paradigms":
            built = {row: {k: v for k, v in vars(own).items() if k != "id"} for row, own in built.items()}
        found = json.loads(json.dumps(built, default=lambda value: vars(value)))
        assert without_none(found) == without_none(raw), key


def without_none(value):
    """Nested mappings without the keys that hold nothing."""
    if isinstance(value, dict):
        return {key: without_none(own) for key, own in value.items() if own is not None}
    return value


def reached_by_plumbing() -> set[str]:
    """What the plumbing imports for itself: counting a run's files asks for its cells."""
    found: set[str] = set()
    waiting = [name for name in all_modules() if room(name) in sources.PLUMBING]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += sources.imported(module)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_sources_are_what_python_imports(stage):
    """Found by reading, they are what a fresh interpreter has loaded, but for what only a function imports."""
    code = f"""
import sys
from pathlib import Path
import diffbench.stages.{stage}
files = [Path(m.__file__) for n, m in sys.modules.items() if n.split(".")[0] == "diffbench"]
print(*files, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {Path(line).relative_to(PACKAGE).as_posix() for line in done.stdout.split()}
    own = reached_by_plumbing() if stage in ("data", "manifest") else set()  # which ask for the disk and for records
    decisive = {name for name in loaded if room(name) not in sources.PLUMBING and not sources.says_nothing(name)}
    assert decisive - own <= set(sources.modules(stage)) and f"stages/{stage}.py" in decisive


def test_checking_params_does_not_wait_for_what_it_does_not_use():
    """Each engine does it at each start, and so does each of some 190 jobs."""
    code = """
import sys
from diffbench import runs
from diffbench.pipeline import disk, engines
from diffbench.tables import layout
import diffbench.cli
assert "torch" not in sys.modules
runs.load("digits")
print(*{"pandas", "pyarrow", "scipy", "sklearn", "torchvision"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


FOLLOWS = {  # an edit of a module: the stages that run again
    "design.py": {"sample", "evaluate", "convergence", "probe", "aggregate", "report", "tune"},
    "diffusion/generate.py": {"sample", "convergence", "probe", "tune"},
    "evaluation/classifier.py": {"classifier", "reference", "evaluate", "convergence", "tune"},
    "data/splits.py": {"classifier", "reference", "train", "sample", "evaluate", "convergence", "probe", "tune"},
    "data/sources/mnist.py": {"data", "claims", "report"},  # the two know what data sets there are
    "meters.py": {"train", "sample", "tune"},
    "training/ema.py": {"train", "tune"},
    "training/snapshots.py": {"train", "sample", "convergence", "tune"},
    "report/templates/page.css": {"report", "manifest"},
    "report/readme.py": set(),
    "config/checks.py": set(),
    "runtime/progress.py": set(),
    "pipeline/records.py": set(),
}


@pytest.mark.parametrize("module", FOLLOWS)
def test_an_edit_runs_what_it_decides(module):
    assert (PACKAGE / module).is_file()
    assert {stage for stage in STAGES if module in sources.modules(stage)} - {"manifest"} == FOLLOWS[module] - {
        "manifest"
    }


def test_of_data_sets_a_run_rests_on_its_own():
    """Snakemake would train everything anew for a set that another run reads."""
    for stage in ("data", "claims", "report"):
        own, every = set(sources.modules(stage, "digits")), set(sources.modules(stage))
        assert own < every and "data/sources/digits.py" in own
        assert {"data/sources/__init__.py", "data/sources/mnist.py", "data/sources/idx.py"} <= every - own
    assert {sources.data_set(name) for name in SOURCES} <= set(sources.modules("data")), "named as their files are"


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the package to edit, of which the sources are read."""
    package = tmp_path / "diffbench"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "PACKAGE", package)
    forget()
    yield package
    forget()


def forget() -> None:
    """Forget what was read of the sources, as a new process has."""
    for cached in (sources.imported, sources.modules, sources.code_hash):
        cached.cache_clear()


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_new_module_needs_no_other_edit(copied):
    (copied / "diffusion/novel.py").write_text("FACTOR = 2\n")
    edited(
        copied / "diffusion/guidance.py",
        "\nfrom diffbench.",
        "\nfrom diffbench.diffusion.novel import FACTOR\nfrom diffbench.",
    )
    assert "diffusion/novel.py" in sources.modules("sample") and "diffusion/novel.py" not in sources.modules("train")


def test_an_import_that_cannot_be_followed_is_refused(copied):
    edited(copied / "diffusion/guidance.py", "\nfrom diffbench.", "\nfrom .denoiser import Denoiser\nfrom diffbench.")
    with pytest.raises(ValueError, match=r"guidance.py:\d+: write the import as"):
        sources.modules("sample")


def test_a_resume_point_is_kept_until_training_changes(smoke, places, copied):
    import torch

    def key(smoke=smoke):
        forget()
        return train.resume_key(smoke, smoke.paradigms["sd1"], 0, torch.device("cpu"))

    before = key()
    for name in ("report/readme.py", "cli.py", "runs.py", "config/checks.py", "stages/sample.py", "design.py"):
        with (copied / name).open("a") as file:
            file.write("# a comment\n")
    assert key() == before
    often = dataclasses.replace(smoke.training, checkpoint_seconds=0.5)
    assert key(dataclasses.replace(smoke, training=often)) == before, "how often it is written is not what it holds"
    edited(copied / "data/splits.py", ".sub_(1)", "")
    assert key() != before


def test_dvc_yaml_is_what_the_writer_gives():
    text = (ROOT / "dvc.yaml").read_text()
    assert dag.written(text) == text
    assert dag.written("\n".join(line for line in text.split("\n") if "src/diffbench/rng.py" not in line)) == text


def test_an_older_dvc_yaml_is_refused_and_mended(workplace):
    path = workplace / "dvc.yaml"
    text = path.read_text()
    path.write_text(text.replace("      - src/diffbench/rng.py\n", "", 1))
    with pytest.raises(UserError, match="python -m diffbench dag --write"):
        dag.refuse_older()
    assert dag.write() and path.read_text() == text and not dag.write()


def test_what_editors_leave_is_no_source(tmp_path, monkeypatch):
    """A lock is a link that leads nowhere; Snakemake reads the sources at each start."""
    before = provenance.sources()
    package = tmp_path / "diffbench"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "diffusion/.#guidance.py").symlink_to("someone@machine.1234")
    (package / "diffusion/._paths.py").write_bytes(b"\x00")
    (package / "report/templates/.page.css").touch()
    monkeypatch.setattr(provenance, "__file__", str(package / "tables/provenance.py"))
    monkeypatch.setattr(sources, "PACKAGE", package)
    forget()
    assert provenance.sources() == before
    assert not any("/." in name for stage in STAGES for name in sources.sources(stage))
    forget()


def test_every_kind_of_extension_is_followed():
    assert tuple(sources.EXTENDED) == EXTENSION_KINDS


def test_stages_of_the_users_own_are_left_alone(workplace):
    path = workplace / "dvc.yaml"
    own = "stages:\n  slides:\n    cmd: make slides\n    deps:\n      - a.py\n    outs: [b]\n\n"
    path.write_text(path.read_text().replace("stages:\n", own, 1))
    dag.refuse_older()
    assert "slides" not in {job.name for job in jobs(runs.load("smoke"))} and not dag.write()


def test_only_plain_imports_are_used():
    """No stage is reached by a name in a text but where the command line chooses one."""
    for module in set(all_modules()) - {"cli.py", "parts.py"}:
        names = {node.id for node in ast.walk(ast.parse((PACKAGE / module).read_text())) if isinstance(node, ast.Name)}
        assert not names & {"importlib", "__import__", "exec"} or module == "tables/provenance.py", module
