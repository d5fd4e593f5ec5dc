"""The UCI handwritten digits that come with scikit-learn: 1,797 images of 8 x 8 pixels in 17 grey levels."""

import numpy as np

from diffbench.data.sources.source import Arrays, Source

LEVELS = 17
TEST = 400


def load(split_seed: int) -> Arrays:
    """Train and test images (N, 8, 8) uint8 and labels (N,) int64, split by seed within each class."""
    from sklearn.datasets import load_digits  # late: every job and both engines read the registry, one job the images
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = np.round(digits.images * (255 / (LEVELS - 1))).astype(np.uint8)
    labels = digits.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST, stratify=labels, random_state=split_seed)
    return images[train], labels[train], images[test], labels[test]


SOURCE = Source(
    title="scikit-learn's 8 x 8 handwritten digits, not MNIST",
    side=8,
    levels=LEVELS,
    count=1797,
    classes=tuple("0123456789"),
    licence="Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI, CC BY 4.0",
    load=load,
)
