"""The checked params of a run, by its name."""

from pathlib import Path

from diffbench import parts
from diffbench.config import checks
from diffbench.config.models import Params, build
from diffbench.config.presets import FULL, PARAMS, PRESETS, is_own, preset, raw
from diffbench.errors import UserError, printable
from diffbench.runtime.hardware import cuda_devices
from diffbench.runtime.yaml_file import read_yaml


def refuse_another_package() -> None:
    """Refuse to work in a checkout with the code of another: results would be taken for those of the code seen here.

    Raises:
        UserError: a package that is installed from elsewhere runs.
    """
    here, runs_from = Path("src/diffbench"), Path(__file__).parent
    if (here / "runs.py").exists() and not here.samefile(runs_from):
        raise UserError(
            f"the diffbench that runs is {runs_from}, not this checkout's {here.resolve()}; run 'pip install -e .' here"
        )


def experiments_own() -> Path | None:
    """The folder of the package in a copy of the checkout that DVC makes for an experiment; None elsewhere.

    An experiment runs with the code that it was queued with, whatever is installed or has been edited since.
    """
    here = Path.cwd()
    own = here / "src/diffbench/runs.py"
    inside = any(
        part == ".dvc" and here.parts[at + 1 : at + 3] == ("tmp", "exps") for at, part in enumerate(here.parts)
    )
    return own.parent.parent if inside and own.exists() and not own.samefile(__file__) else None


def check(params: dict, source: str) -> None:
    """Check raw params completely.

    Raises:
        UserError: one line for each mistake, with its dotted key, the value and what is allowed.
    """
    found = checks.mistakes(params) or [*checks.between_keys(params), *parts.mistakes(params)]
    if found:
        raise UserError("\n".join(printable(f"{source}: {line}") for line in found))


def load(run: str) -> Params:
    """The checked params of a run.

    Raises:
        UserError: no such run, or any mistake in its params or in an extension.
    """
    parts.load_extensions()
    params = raw(run)
    check(params, str(PARAMS) if is_own(run) else str(PRESETS / f"{run}.yaml"))
    return build(params)


def default() -> tuple[str, str]:
    """The run that a bare ``snakemake`` makes, and why in one line.

    It is params.yaml's own, unless that is still the shipped benchmark, asks for CUDA, and there is none.
    """
    own = read_yaml(PARAMS)
    name = own.get("name")
    if own == preset(FULL) and own["compute"]["device"] == "cuda" and not cuda_devices():
        return "digits", (
            "run: digits, 8 x 8, to try first (params.yaml asks for CUDA and no CUDA device is found); "
            "next: 'snakemake --cores all mnist-small', MNIST itself, 2.5 hours on two cores"
        )
    if not isinstance(name, str):
        check(own, str(PARAMS))
    return name, f"run: {name} (params.yaml); 'snakemake --cores all digits' or 'smoke' runs a preset instead"
