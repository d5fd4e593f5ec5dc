"""The digit classifier: feature network of FID and judge of the digits. It is trained in the DAG."""

from pathlib import Path

import torch
from torch import Tensor, nn

from diffbench.config.models import Classifier as Settings
from diffbench.errors import UserError
from diffbench.runtime import checkpoint


class Classifier(nn.Module):
    """Two convolutions, pooling, and a ReLU layer whose activations are the features.

    Args:
        side: image side in pixels.
        channels: of the two convolutions.
        features: width of the feature layer.
    """

    def __init__(self, side: int, channels: list[int], features: int):
        super().__init__()
        first, second = channels
        self.body = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(second * (side // 2) ** 2, features),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(features, 10))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 1, H, W) in [-1, 1] to features (B, F) and logits (B, 10)."""
        features = self.body(x)
        return features, self.head(features)


PIXELS = 128_000  # scored at once: 2,000 images of 8 x 8 or 163 of 28 x 28, whose maps take some 100 MB


@torch.inference_mode()
def apply(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, F) and logits (N, 10) of images (N, 1, H, W), in evaluation mode."""
    classifier.eval()
    last, size = classifier.head[-1], max(1, PIXELS // images[0].numel())
    features, logits = (images.new_empty(len(images), width) for width in (last.in_features, last.out_features))
    for chunk, *places in zip(*(rows.split(size) for rows in (images, features, logits)), strict=True):
        _score(classifier, chunk, *places)
    return features, logits


def _score(classifier: Classifier, images: Tensor, *places: Tensor) -> None:
    """Write features and logits to places that are there already.

    Results kept as they come lie where a freed map was, which is then too small for the next map: the C library's heap
    grew by one map a chunk, in about half of all processes, to 10 GB for MNIST's training images.
    """
    for place, found in zip(places, classifier(images), strict=True):
        place.copy_(found)


def load(path: Path, settings: Settings, side: int, device: torch.device) -> Classifier:
    """The trained classifier, frozen.

    Raises:
        UserError: missing, damaged, or of another size.
    """
    return _frozen(path, checkpoint.load(path)[0], settings, side, device)


def load_others(path: Path, settings: Settings, side: int, device: torch.device) -> list[Classifier]:
    """The classifiers after the first, frozen.

    Raises:
        UserError: missing, damaged, or of another size.
    """
    by_judge: dict[int, dict[str, Tensor]] = {}
    for name, value in checkpoint.load(path)[0].items():
        index, _, own = name.partition(".")
        by_judge.setdefault(int(index), {})[own] = value
    return [_frozen(path, own, settings, side, device) for _, own in sorted(by_judge.items())]


def _frozen(path: Path, weights: dict, settings: Settings, side: int, device: torch.device) -> Classifier:
    classifier = Classifier(side, settings.channels, settings.features)
    try:
        classifier.load_state_dict(weights)
    except RuntimeError:
        raise UserError(f"{path}: holds another classifier than params say; delete it and run again") from None
    return classifier.to(device).eval().requires_grad_(False)
