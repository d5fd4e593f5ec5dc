"""Random draws that depend on what they are for, not on when or where they are made.

Every draw comes from a generator seeded by a hash of (seed, purpose, index). Nothing reads the global state, so
a stage can be killed and run again, cells can be added, and batches can change size without moving a number.
"""

import hashlib

import torch
from torch import Tensor

SHARD = 100  # images a noise generator serves; a constant of the benchmark, not a batch size


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from the parts, by hashing their text."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by ``seed_of(*parts)``."""
    return torch.Generator(device).manual_seed(seed_of(*parts))


def image_noise(
    start: int, stop: int, shape: tuple[int, ...], *parts: int | str, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal noise of images ``start`` to ``stop``, (stop - start, *shape).

    Whole shards of SHARD images are drawn and sliced, so image i gets the same noise in any batch. Drawn on ``device``,
    whose kind of generator decides the numbers: a draw that has to be the same everywhere is made on the CPU and moved.
    """
    shards = range(start // SHARD, -(-stop // SHARD))
    drawn = torch.cat(
        [
            torch.randn(SHARD, *shape, generator=generator(*parts, shard, device=device), device=device)
            for shard in shards
        ]
    )
    first = shards.start * SHARD
    return drawn[start - first : stop - first]
