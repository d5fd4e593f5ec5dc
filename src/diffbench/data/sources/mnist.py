"""MNIST: 70,000 handwritten digits of 28 x 28 pixels."""

from pathlib import Path
from typing import Any

from diffbench.data.sources.idx import Files
from diffbench.data.sources.source import Source


def _published() -> Any:
    from torchvision.datasets import MNIST

    return MNIST


FILES = Files("MNIST", Path("data/mnist"), "MNIST_DIR", _published)
SOURCE = Source(
    title="MNIST, 28 x 28",
    side=28,
    levels=256,
    count=70_000,
    classes=tuple("0123456789"),
    licence="MNIST, Y. LeCun and C. Cortes, CC BY-SA 3.0",
    load=FILES.load,
)
