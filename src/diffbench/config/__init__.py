"""Params as they are read and checked."""

from diffbench.config.models import Params
from diffbench.config.presets import (
    CLAIMS,
    DAG,
    EXTENSIONS,
    FULL,
    PARAMS,
    PRESETS,
    extension_files,
    overlay,
    preset,
    preset_names,
)

__all__ = [
    "CLAIMS",
    "DAG",
    "EXTENSIONS",
    "FULL",
    "PARAMS",
    "PRESETS",
    "Params",
    "extension_files",
    "overlay",
    "preset",
    "preset_names",
]
