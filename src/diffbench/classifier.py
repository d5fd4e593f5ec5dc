"""The digit classifier: feature network of FID and judge of the digits. It is trained in the DAG."""

from pathlib import Path

import torch
from torch import Tensor, nn

from . import checkpoint, rng
from .config import Classifier as Settings
from .config import Params
from .data import splits
from .device import prepare
from .errors import UserError
from .files import Places, sha256, write_json
from .progress import Progress


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


def accuracy(classifier: Classifier, images: Tensor, labels: Tensor) -> float:
    """Share of images (N, 1, H, W) whose most likely class is their label (N,)."""
    return float((apply(classifier, images)[1].argmax(1) == labels).double().mean())


def fit(settings: Settings, dataset: splits.Dataset, side: int, device: torch.device) -> Classifier:
    """Train and return the epoch with the best accuracy on the validation split; the test split is not seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.seed_of("classifier"))
        classifier = Classifier(side, settings.channels, settings.features).to(device)
        images, labels = (
            splits.to_float(dataset.train.images, device),
            torch.from_numpy(dataset.train.labels).to(device),
        )
        held, held_labels = (
            splits.to_float(dataset.validation.images, device),
            torch.from_numpy(dataset.validation.labels).to(device),
        )
        batches = -(-len(images) // settings.batch_size)
        optimiser = torch.optim.AdamW(classifier.parameters(), lr=settings.lr, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.lr, settings.epochs * batches)
        progress, best, kept = Progress("classifier", settings.epochs, "epochs"), -1.0, {}
        for epoch in range(settings.epochs):
            classifier.train()
            order = torch.randperm(len(images), generator=rng.generator("classifier", epoch)).to(device)
            for index in order.split(settings.batch_size):
                optimiser.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(classifier(images[index])[1], labels[index]).backward()
                optimiser.step()
                schedule.step()
            score = accuracy(classifier, held, held_labels)
            if score > best:
                best, kept = score, {k: v.clone() for k, v in classifier.state_dict().items()}
            progress.update(epoch + 1, f"validation accuracy {score:.4f}")
        classifier.load_state_dict(kept)
    return classifier


def run(params: Params) -> None:
    """The classifier stage: classifier.safetensors and classifier.json with accuracies and the SHA-256.

    Raises:
        UserError: no such device, or the data file is missing or damaged.
    """
    device, places = prepare(params.compute), Places(params.name)
    dataset = splits.load(places.data)
    classifier = fit(params.classifier, dataset, params.side, device)
    scores = {}
    for name in splits.SPLITS:
        split = getattr(dataset, name)
        images, labels = splits.to_float(split.images, device), torch.from_numpy(split.labels).to(device)
        scores[f"{name}_accuracy"] = accuracy(classifier, images, labels)
    checkpoint.save(places.classifier, classifier.state_dict(), {"kind": "classifier"})
    write_json(places.classifier_facts, scores | {"sha256": sha256(places.classifier)})


def load(path: Path, settings: Settings, side: int, device: torch.device) -> Classifier:
    """The trained classifier, frozen.

    Raises:
        UserError: missing, damaged, or of another size.
    """
    classifier = Classifier(side, settings.channels, settings.features)
    try:
        classifier.load_state_dict(checkpoint.load(path)[0])
    except RuntimeError:
        raise UserError(f"{path}: holds another classifier than params say; delete it and run again") from None
    return classifier.to(device).eval().requires_grad_(False)
