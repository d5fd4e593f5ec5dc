"""How much minibatch optimal transport would shorten the way from noise to data: why there is no row of it.

    python benchmarks/coupling.py mnist-small

A flow whose noise and images were paired by optimal transport would be straight. Minibatch optimal transport
(arXiv:2302.00482, arXiv:2304.14572) pairs them within a batch, here by ``scipy.optimize.linear_sum_assignment`` on
squared distances. Two ways are measured: over the whole batch, and over images of one digit only. The second keeps the
noise of every digit normal, which guided sampling counts on (arXiv:2503.10636). It needs the data stage of the run.
"""

import argparse

import numpy as np
from common import ends
from scipy.optimize import linear_sum_assignment

from diffbench import runs
from diffbench.data import splits
from diffbench.runtime.places import Places

BATCHES = (32, 128, 512)
DRAWS = 20


def saved(images: np.ndarray, noise: np.ndarray, groups: np.ndarray) -> float:
    """Share of the mean squared distance between images and noise that the best pairing within groups takes off.

    Args:
        images, noise: (N, D), paired by their order.
        groups: of each image and of the noise at its place, (N,).
    """
    before, gained = np.square(images - noise).sum(), 0.0
    for group in np.unique(groups):
        own = groups == group
        nearness = images[own] @ noise[own].T  # (n, n): squared distances differ by this alone
        gained += 2 * (nearness[linear_sum_assignment(nearness, maximize=True)].sum() - np.trace(nearness))
    return float(gained / before)


def main(argv: list[str] | None = None) -> int:
    """Print the share saved for each batch size, as mean and standard deviation over draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="mnist-small")
    run = parser.parse_args(argv).run
    train = splits.load(Places(runs.load(run).name).data).train
    generator = np.random.default_rng(0)
    print("| batch | whole batch | within a digit |\n|---|---|---|")
    for batch in BATCHES:
        shares = []
        for _ in range(DRAWS):
            index = generator.choice(len(train.images), batch, replace=False)
            images = splits.to_float(train.images[index]).flatten(1).numpy().astype(float)
            noise = generator.standard_normal(images.shape)
            digits = train.prompts[index, 0]
            shares.append([saved(images, noise, np.zeros_like(digits)), saved(images, noise, digits)])
        mean, spread = np.mean(shares, axis=0), np.std(shares, axis=0, ddof=1)
        print(f"| {batch} | " + " | ".join(f"{m:.1%} ± {s:.1%}" for m, s in zip(mean, spread, strict=True)) + " |")
    return 0


if __name__ == "__main__":
    ends(main)
