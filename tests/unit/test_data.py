"""Data: splits fixed by seed, MNIST refused unless it is MNIST."""

import gzip
import hashlib

import numpy as np
import pytest
import torch

from diffbench.config.models import Data
from diffbench.data import prompts, splits
from diffbench.data.sources import SOURCES, digits, fashion_mnist, idx, mnist
from diffbench.diffusion.generate import quantise
from diffbench.errors import UserError
from diffbench.runtime import npz
from diffbench.stages.data import prepare


def packed(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Four small files in MNIST's format whose checksums are taken for the canonical ones."""
    generator = np.random.default_rng(0)
    arrays = [
        generator.integers(0, 256, (400, 28, 28), np.uint8),
        np.arange(400, dtype=np.uint8) % 10,
        generator.integers(0, 256, (20, 28, 28), np.uint8),
        np.arange(20, dtype=np.uint8) % 10,
    ]
    folder = tmp_path / "files"
    folder.mkdir()
    for name, array in zip(idx.FILES, arrays, strict=True):
        (folder / name).write_bytes(packed(array))
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in idx.FILES}
    monkeypatch.setattr(idx.Files, "checksums", lambda self: sums)
    for source in (mnist, fashion_mnist):
        monkeypatch.setenv(source.FILES.variable, str(folder))
    return folder, arrays


def test_idx_files_are_read(files):
    for found, expected in zip(mnist.FILES.load(), files[1], strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("harm", ["truncated", "altered", "swapped", "missing"])
def test_bad_files_are_refused_by_name(files, harm):
    folder, _ = files
    path, twin = folder / idx.FILES[2], folder / idx.FILES[0]
    content = path.read_bytes()
    if harm == "truncated":
        path.write_bytes(content[:-10])
    elif harm == "altered":
        path.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    elif harm == "swapped":
        path.write_bytes(twin.read_bytes())
    else:
        path.unlink()
    with pytest.raises(UserError) as error:
        mnist.FILES.load()
    said = str(error.value)
    assert "\n" not in said and said.startswith(str(path))
    assert {"swapped": f"holds {idx.FILES[0]}", "missing": "cannot be read"}.get(harm, "truncated or altered") in said


def test_no_files_and_no_network_is_one_line_with_both_ways_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(mnist.FILES.variable, raising=False)

    def unreachable(url):
        raise OSError("no network")

    monkeypatch.setattr(idx, "fetch", unreachable)
    with pytest.raises(UserError) as error:
        mnist.FILES.load()
    assert "connect to a network" in str(error.value) and "MNIST_DIR" in str(error.value)
    monkeypatch.setenv(mnist.FILES.variable, "nowhere")
    with pytest.raises(UserError, match="MNIST_DIR=nowhere: no such folder"):
        mnist.FILES.load()


@pytest.mark.parametrize("source", [mnist, fashion_mnist])
def test_checksums_are_those_torchvision_publishes(source):
    sums = source.FILES.checksums()
    assert set(sums) == set(idx.FILES) and all(len(digest) == 32 for digest in sums.values())


def test_fashion_mnist_has_the_words_of_its_classes(files, tmp_path):
    path = tmp_path / "data.npz"
    prepare(Data(source="fashion-mnist", validation=100, split_seed=0, withheld="none"), path, tmp_path / "data.json")
    dataset = splits.load(path)
    assert dataset.side == 28 and dataset.classes == SOURCES["fashion-mnist"].classes
    kept = [image.tobytes() for split in (dataset.train, dataset.validation) for image in split.images]
    assert sorted(kept) == sorted(image.tobytes() for image in files[1][0])
    boot = dataset.train.prompts[dataset.train.labels == 9][0]
    assert prompts.text(boot, dataset.classes).split()[2:] == ["ankle", "boot"]


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_says_what_its_data_are(name):
    source = SOURCES[name]
    assert len(source.classes) == len(set(source.classes)) == 10 and source.licence and source.side >= 8


def test_digits_are_split_by_seed_and_do_not_overlap(tmp_path):
    first, again, other = (tmp_path / name for name in ("first.npz", "again.npz", "other.npz"))
    settings = Data(source="digits", validation=297, split_seed=0, withheld="none")
    for path, seed in ((first, 0), (again, 0), (other, 1)):
        data = Data(source="digits", validation=297, split_seed=seed, withheld="none")
        prepare(data, path, path.with_suffix(".json"))
    assert first.read_bytes() == again.read_bytes()
    dataset, different = splits.load(first), splits.load(other)
    counts = [len(getattr(dataset, name).labels) for name in splits.SPLITS]
    assert counts == [1100, settings.validation, digits.TEST] and sum(counts) == 1797
    assert not np.array_equal(dataset.train.images[:50], different.train.images[:50])
    for name in splits.SPLITS:
        shares = np.bincount(getattr(dataset, name).labels, minlength=10) / len(getattr(dataset, name).labels)
        assert shares == pytest.approx(np.full(10, 0.1), abs=0.02), "splits are stratified"
    assert len(np.unique(dataset.train.images)) == dataset.levels == digits.LEVELS


def test_too_large_a_validation_split_is_refused(tmp_path):
    data = Data(source="digits", validation=1000, split_seed=0, withheld="none")
    with pytest.raises(UserError, match=r"data.validation: 1000; allowed: at most half of the 1397"):
        prepare(data, tmp_path / "data.npz", tmp_path / "data.json")


@pytest.mark.parametrize("levels", [17, 256])
def test_quantising_real_images_gives_them_back(levels):
    values = np.round(np.arange(levels) * (255 / (levels - 1))).astype(np.uint8)
    images = np.resize(values, (levels, 2, 2))
    assert np.array_equal(quantise(splits.to_float(images), levels), images)
    wild = torch.tensor([-9.0, -1, 0.013, 1, 40]).reshape(5, 1, 1, 1)
    found = quantise(wild, levels).flatten()
    assert set(found.tolist()) <= set(values.tolist()) and found[0] == found[1] == 0 and found[3] == found[4] == 255


def test_damaged_data_files_are_named(tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(UserError, match=r"data.npz: damaged"):
        splits.load(path)
    np.savez(path, a=np.array([{"an": "object"}], dtype=object))
    with pytest.raises(UserError, match=r"data.npz: damaged"):
        npz.load_arrays(path)
