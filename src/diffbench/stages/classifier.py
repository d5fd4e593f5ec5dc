"""The classifier stage: train the digit classifier, and others that say whether a verdict depends on it."""

import torch

from diffbench.config.models import Params
from diffbench.data import splits
from diffbench.device import prepare
from diffbench.errors import UserError
from diffbench.evaluation.fitting import accuracy, fit
from diffbench.runtime import checkpoint
from diffbench.runtime.files import sha256, write_json
from diffbench.runtime.places import Places


def refuse_guessing(accuracy: float, classes: int, params: Params) -> None:
    """Refuse a classifier that cannot judge: its features may not vary at all, and every score would rest on them.

    Args:
        accuracy: share of the validation images that it gets right.

    Raises:
        UserError: it gets fewer than twice as many right as by guessing.
    """
    if accuracy < 2 / classes:
        own = params.classifier
        raise UserError(
            f"classifier: {accuracy:.1%} of the validation images right after training, as by guessing: it can judge "
            f"nothing; change classifier.lr ({own.lr}), epochs ({own.epochs}) or batch_size ({own.batch_size})"
        )


def run(params: Params) -> None:
    """The classifier stage: classifier.safetensors, classifier.json with its accuracies and SHA-256, and the others.

    Raises:
        UserError: no such device, the data file is missing or damaged, or the classifier has learnt nothing.
    """
    device, places = prepare(params.compute), Places(params.name)
    dataset = splits.load(places.data)
    classifier = fit(params.classifier, dataset, device)
    scores = {}
    for name in splits.SPLITS:
        split = getattr(dataset, name)
        images, labels = splits.to_float(split.images, device), torch.from_numpy(split.labels).to(device)
        scores[f"{name}_accuracy"] = accuracy(classifier, images, labels)
    refuse_guessing(scores["validation_accuracy"], len(dataset.classes), params)
    checkpoint.save(places.classifier, classifier.state_dict(), {"kind": "classifier"})
    others, accuracies = {}, []
    held, labels = splits.to_float(dataset.test.images, device), torch.from_numpy(dataset.test.labels).to(device)
    for index in range(1, params.classifier.judges):
        other = fit(params.classifier, dataset, device, index)
        accuracies.append(accuracy(other, held, labels))
        others |= {f"{index}.{name}": value for name, value in other.state_dict().items()}
    checkpoint.save(places.other_classifiers, others, {"kind": "classifiers"})
    write_json(
        places.classifier_facts,
        scores | {"sha256": sha256(places.classifier), "others_test_accuracy": accuracies},
    )
