"""MNIST from its four canonical gzip files, local or from torchvision's mirrors, each verified by checksum."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np

from diffbench.errors import UserError

LEVELS = 256
FOLDER = Path("data/mnist")
VARIABLE = "MNIST_DIR"
FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def checksums() -> dict[str, str]:
    """The MD5 of each file, as torchvision lists them."""
    from torchvision.datasets import MNIST

    return dict(MNIST.resources)


def verify(path: Path, expected: dict[str, str]) -> bytes:
    """The bytes of a canonical file.

    Raises:
        UserError: missing, or not the file its name says; a file swapped with another of the four is named so.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); it should hold MNIST's {path.name}") from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found == expected[path.name]:
        return content
    twin = next((name for name, digest in expected.items() if digest == found), None)
    problem = f"holds {twin}" if twin else f"is truncated or altered ({len(content)} bytes, MD5 {found})"
    raise UserError(f"{path}: {problem}; replace it by the canonical file, MD5 {expected[path.name]}")


def parse(content: bytes) -> np.ndarray:
    """The uint8 array in a gzipped IDX file (http://yann.lecun.com/exdb/mnist)."""
    raw = gzip.decompress(content)
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def folder() -> Path:
    """The folder that holds the four files: MNIST_DIR, else data/mnist, downloaded into if they are absent.

    Raises:
        UserError: MNIST_DIR is no folder, or no mirror can be reached.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_dir():
            raise UserError(f"{VARIABLE}={named}: no such folder; it should hold {', '.join(FILES)}")
        return Path(named)
    if not all((FOLDER / name).exists() for name in FILES):
        download()
    return FOLDER


def download() -> None:
    """Fetch the files that are absent from data/mnist, from the first mirror that answers."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_url

    for name, digest in MNIST.resources:
        if (FOLDER / name).exists():
            continue
        for mirror in MNIST.mirrors:
            try:
                download_url(f"{mirror}{name}", FOLDER, md5=digest)
                break
            except (OSError, RuntimeError):
                (FOLDER / name).unlink(missing_ok=True)
        else:
            raise UserError(
                f"{FOLDER / name}: no mirror of MNIST can be reached; connect to a network, or put the four canonical "
                f".gz files into {FOLDER} or a folder named by {VARIABLE}"
            )


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train and test images (N, 28, 28) uint8 and labels (N,) int64, in the canonical order.

    Raises:
        UserError: a file is missing, truncated, swapped or altered, or cannot be downloaded.
    """
    where, expected = folder(), checksums()
    train_x, train_y, test_x, test_y = (parse(verify(where / name, expected)) for name in FILES)
    return train_x, train_y.astype(np.int64), test_x, test_y.astype(np.int64)
