"""The data stage: splits fixed by seed, their prompts, and one file that holds them."""

import hashlib
from pathlib import Path

import numpy as np

from diffbench.config.models import Data, Params
from diffbench.data import prompts
from diffbench.data.sources import SOURCES
from diffbench.errors import UserError
from diffbench.pipeline.disk import refuse_if_short
from diffbench.runtime.files import replacing, write_json
from diffbench.runtime.places import Places


def prepare(data: Data, path: Path, facts: Path) -> None:
    """Read a source, split it, caption it, and write the data file and its facts.

    Raises:
        UserError: the source's files are missing or damaged, or the validation split takes all of them.
    """
    from sklearn.model_selection import train_test_split

    source = SOURCES[data.source]
    images, labels, test_images, test_labels = source.load(data.split_seed)
    if data.validation > len(images) // 2:
        raise UserError(
            f"data.validation: {data.validation}; allowed: at most half of the {len(images)} training images"
        )
    train, validation = train_test_split(
        np.arange(len(labels)), test_size=data.validation, stratify=labels, random_state=data.split_seed
    )
    bounds = np.stack(
        [prompts.terciles(measure(images[train]), labels[train]) for measure in (prompts.weight, prompts.slant)]
    )
    parts = {
        "train": (images[train], labels[train]),
        "validation": (images[validation], labels[validation]),
        "test": (test_images, test_labels),
    }
    arrays: dict[str, np.ndarray] = {"bounds": bounds, "levels": np.int64(source.levels)}
    for name, (x, y) in parts.items():
        arrays |= {f"{name}_images": x, f"{name}_labels": y, f"{name}_prompts": prompts.caption(x, y, bounds)}
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays, classes=np.array(source.classes))
    content = b"".join(np.ascontiguousarray(arrays[key]).tobytes() for key in sorted(arrays))
    counts = {f"{name}_images": len(y) for name, (_, y) in parts.items()}
    write_json(
        facts, {"source": data.source, "sha256": hashlib.sha256(content).hexdigest(), "levels": source.levels, **counts}
    )


def run(params: Params) -> None:
    """Write data.npz and data.json.

    Raises:
        UserError: the disk is too small for the run, or as ``prepare``.
    """
    refuse_if_short(params)  # the first stage of either engine
    places = Places(params.name)
    prepare(params.data, places.data, places.data_facts)
