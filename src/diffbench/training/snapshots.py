"""When snapshots are taken."""

import math

from diffbench.config.models import Training


def images_at_snapshots(training: Training) -> list[int]:
    """Images seen at each snapshot and at the end of a training, rising: whole batches, rounded up."""
    steps = math.ceil(training.images / training.batch_size)
    return [training.batch_size * math.ceil(share * steps) for share in [*sorted(training.snapshots), 1]]
