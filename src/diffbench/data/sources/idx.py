"""Data sets in MNIST's format: four gzip files, local or from torchvision's mirrors, each verified by checksum."""

import gzip
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffbench.data.sources.source import Arrays
from diffbench.errors import UserError
from diffbench.runtime.download import fetch
from diffbench.runtime.files import replacing

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def parse(content: bytes) -> np.ndarray:
    """The uint8 array in a gzipped IDX file (http://yann.lecun.com/exdb/mnist)."""
    raw = gzip.decompress(content)
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


@dataclass(frozen=True)
class Files:
    """The four files of a data set.

    Attributes:
        title: of the data set.
        folder: where they are looked for, and downloaded into.
        variable: the environment variable that names another folder.
        published: gives torchvision's class, which lists checksums and mirrors; called late, since it imports torch.
    """

    title: str
    folder: Path
    variable: str
    published: Callable[[], Any]

    def checksums(self) -> dict[str, str]:
        """The MD5 of each file, as torchvision lists them."""
        return dict(self.published().resources)

    def verify(self, path: Path, expected: dict[str, str]) -> bytes:
        """The bytes of a canonical file.

        Raises:
            UserError: missing, or not the file its name says; a file swapped with another of the four is named so.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read ({error.strerror}); it should hold {self.title}'s {path.name}"
            ) from None
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found == expected[path.name]:
            return content
        twin = next((name for name, digest in expected.items() if digest == found), None)
        problem = f"holds {twin}" if twin else f"is truncated or altered ({len(content)} bytes, MD5 {found})"
        raise UserError(f"{path}: {problem}; replace it by the canonical file, MD5 {expected[path.name]}")

    def where(self) -> Path:
        """The folder that holds the four files, downloaded into if they are absent.

        Raises:
            UserError: the variable names no folder, no mirror gives the files, or they cannot be written.
        """
        named = os.environ.get(self.variable)
        if named:
            if not Path(named).is_dir():
                raise UserError(f"{self.variable}={named}: no such folder; it should hold {', '.join(FILES)}")
            return Path(named)
        if not all((self.folder / name).exists() for name in FILES):
            self.download()
        return self.folder

    def download(self) -> None:
        """Fetch the files that are absent from the folder, from the first mirror that gives them; each whole or not.

        Raises:
            UserError: none does, or they cannot be written.
        """
        source = self.published()
        plain = [mirror.replace("https:", "http:") for mirror in source.mirrors]  # the checksum holds for these too
        mirrors = list(dict.fromkeys([*source.mirrors, *plain]))
        for name, digest in source.resources:
            if (self.folder / name).exists():
                continue
            faults = []
            for mirror in mirrors:
                try:
                    content = fetch(f"{mirror}{name}")
                except OSError as error:
                    faults.append(f"{mirror} {error}")
                    continue
                if hashlib.md5(content, usedforsecurity=False).hexdigest() == digest:
                    mirrors = [mirror, *(other for other in mirrors if other != mirror)]  # the next file from it first
                    with replacing(self.folder / name) as temporary:
                        temporary.write_bytes(content)
                    break
                faults.append(f"{mirror} sends another file")
            else:
                raise UserError(
                    f"{self.folder / name}: no mirror of {self.title} gives it ({'; '.join(faults)}); connect to a "
                    f"network, or put the four canonical .gz files into {self.folder} or a folder named by "
                    f"{self.variable}"
                )

    def load(self, split_seed: int = 0) -> Arrays:
        """Train and test images (N, 28, 28) uint8 and labels (N,) int64, in the canonical order.

        Args:
            split_seed: not needed; the files are split already.

        Raises:
            UserError: a file is missing, truncated, swapped or altered, or cannot be downloaded.
        """
        folder, expected = self.where(), self.checksums()
        train_x, train_y, test_x, test_y = (parse(self.verify(folder / name, expected)) for name in FILES)
        return train_x, train_y.astype(np.int64), test_x, test_y.astype(np.int64)
