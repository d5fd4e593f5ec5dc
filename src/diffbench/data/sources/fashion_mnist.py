"""Fashion-MNIST: 70,000 pictures of clothes in MNIST's format (arXiv:1708.07747).

Weight and slant of a prompt describe these pictures as they do digits, by ink and its moments, and mean as little as
they can: a bold shirt is a dark one. Parts of the page call a class a digit.
"""

from pathlib import Path
from typing import Any

from diffbench.data.sources.idx import Files
from diffbench.data.sources.source import Source


def _published() -> Any:
    from torchvision.datasets import FashionMNIST

    return FashionMNIST


FILES = Files("Fashion-MNIST", Path("data/fashion-mnist"), "FASHION_MNIST_DIR", _published)
SOURCE = Source(
    title="Fashion-MNIST, 28 x 28",
    side=28,
    levels=256,
    count=70_000,
    classes=("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    licence="Fashion-MNIST, Zalando SE, MIT",
    load=FILES.load,
)
