"""Training the digit classifier."""

import torch
from torch import Tensor, nn

from diffbench import rng
from diffbench.config.models import Classifier as Settings
from diffbench.data import splits
from diffbench.evaluation.classifier import Classifier, apply
from diffbench.runtime.progress import Progress


def accuracy(classifier: Classifier, images: Tensor, labels: Tensor) -> float:
    """Share of images (N, 1, H, W) whose most likely class is their label (N,)."""
    return float((apply(classifier, images)[1].argmax(1) == labels).double().mean())


def fit(settings: Settings, dataset: splits.Dataset, device: torch.device, judge: int = 0) -> Classifier:
    """Train and return the epoch with the best accuracy on the validation split; the test split is not seen.

    Args:
        judge: which of ``settings.judges``; each has its own initial weights and order of images.
    """
    name = f"classifier {judge}" if judge else "classifier"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng.seed_of(name))
        classifier = Classifier(dataset.side, settings.channels, settings.features).to(device)
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
        progress, best, kept = Progress(name, settings.epochs, "epochs"), -1.0, {}
        for epoch in range(settings.epochs):
            classifier.train()
            order = torch.randperm(len(images), generator=rng.generator(name, epoch)).to(device)
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
