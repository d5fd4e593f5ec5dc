"""The checked params of a run."""

import importlib.util
import sys

from diffbench.config.checks import check
from diffbench.config.models import (
    Classifier,
    Compute,
    Convergence,
    Data,
    Evaluation,
    Guidance,
    Native,
    Paradigm,
    Params,
    Probe,
    Sampling,
    Training,
    Tune,
)
from diffbench.config.presets import EXTENSIONS, FULL, PARAMS, PRESETS, preset, raw
from diffbench.errors import UserError
from diffbench.runtime.hardware import cuda_devices
from diffbench.runtime.yaml_file import read_yaml


def build(params: dict) -> Params:
    """Dataclasses from checked raw params."""
    sampling = params["sampling"]
    return Params(
        name=params["name"],
        compute=Compute(**params["compute"]),
        seeds=params["seeds"],
        data=Data(**params["data"]),
        classifier=Classifier(**params["classifier"]),
        training=Training(**params["training"]),
        sampling=Sampling(
            **{
                **sampling,
                "guidance": Guidance(**sampling["guidance"]),
                "native": {key: Native(**value) for key, value in sampling["native"].items()},
            }
        ),
        evaluation=Evaluation(**params["evaluation"]),
        convergence=Convergence(**params["convergence"]),
        probe=Probe(**params["probe"]),
        tune=Tune(**params["tune"]),
        paradigms={key: Paradigm(id=key, **row) for key, row in params["paradigms"].items()},
        raw=params,
    )


def load_extensions() -> None:
    """Import the Python files in the folders of workflow/extensions, once; they register parts of their own.

    Raises:
        UserError: a file cannot be imported.
    """
    for path in sorted(EXTENSIONS.glob("*/*.py")):
        name = f"diffbench_extensions.{path.parent.name}.{path.stem}"
        if name in sys.modules or path.stem == "__init__":
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:  # whatever a user's file raises is to be told in one line
            del sys.modules[name]
            raise UserError(f"{path}: cannot be imported ({type(error).__name__}: {error}); mend or move it") from None


def load(run: str) -> Params:
    """The checked params of a run.

    Raises:
        UserError: no such run, or any mistake in its params or in an extension.
    """
    load_extensions()
    params = raw(run)
    own = read_yaml(PARAMS).get("name") == run
    check(params, str(PARAMS) if own else str(PRESETS / f"{run}.yaml"))
    return build(params)


def default_run() -> tuple[str, str]:
    """The run that a bare ``snakemake`` makes, and why in one line.

    It is params.yaml's own, unless that is still the shipped benchmark, asks for CUDA, and there is none.
    """
    own = read_yaml(PARAMS)
    name = own.get("name")
    if own == preset(FULL) and own["compute"]["device"] == "cuda" and not cuda_devices():
        return "digits", (
            "run: digits, 8 x 8, to try first (params.yaml asks for CUDA and no CUDA device is found); "
            "next: 'snakemake --cores all mnist-small', MNIST itself, planned for an hour and a half on two cores"
        )
    if not isinstance(name, str):
        check(own, str(PARAMS))
    return name, f"run: {name} (params.yaml); 'snakemake --cores all digits' or 'smoke' runs a preset instead"
