"""Where images come from: a file for each data set, and their registry."""

from diffbench.config.models import Params
from diffbench.data.sources import digits, fashion_mnist, mnist
from diffbench.data.sources.source import Source

SOURCES: dict[str, Source] = {
    "mnist": mnist.SOURCE,
    "digits": digits.SOURCE,
    "fashion-mnist": fashion_mnist.SOURCE,
}


def image_side(params: Params) -> int:
    """Side in pixels of a run's images, known before there are any."""
    return SOURCES[params.data.source].side
