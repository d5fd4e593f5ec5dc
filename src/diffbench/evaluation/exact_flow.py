"""The flow that a network without error would have, which is known exactly because the training images are finite."""

import torch
from torch import Tensor

from diffbench.diffusion.paths import Path
from diffbench.diffusion.targets import Prediction
from diffbench.evaluation.probe import straightness, trajectory


def posterior_mean(images: Tensor, path: Path, x_t: Tensor, t: Tensor) -> Prediction:
    """``E[x0 | x_t]`` where x0 is any of ``images`` with equal probability and noise is paired with images at random.

    The minimum of every regression loss on these images (arXiv:2206.00364, eq. 57), whatever its target.

    Args:
        images: (N, C, H, W).
        x_t: (B, C, H, W).
        t: one time above 0, ().

    Returns:
        x0 and the noise that explains x_t with it.
    """
    alpha, sigma = path.alpha(t), path.sigma(t)
    flat = images.flatten(1)  # (N, D)
    nearness = alpha * x_t.flatten(1) @ flat.T - alpha**2 * flat.square().sum(dim=1) / 2  # (B, N)
    x0 = (torch.softmax(nearness / sigma**2, dim=1) @ flat).reshape(x_t.shape)
    return Prediction(x0, (x_t - alpha * x0) / sigma)


def exact_straightness(
    path: Path, images: Tensor, have: Tensor | None, start: Tensor, asked: Tensor | None, ts: Tensor
) -> tuple[float, float]:
    """Length over chord and departure, as ``straightness`` has them, of the exact flow to the images of each prompt.

    In the coordinates of ``trajectory`` it is the same on all paths. A prompt that no image has is left out; the two
    are not a number where that leaves none.

    Args:
        images: to which the flow leads, (N, C, H, W).
        have: their prompts, (N, 3); None for the flow to all of them.
        start: noise, (B, C, H, W).
        asked: prompts, (B, 3); None as ``have``.
        ts: falling times, (S + 1,).
    """
    groups = [(images, start)]
    if have is not None and asked is not None:
        prompts = asked.unique(dim=0)
        groups = [(images[(have == prompt).all(dim=1)], start[(asked == prompt).all(dim=1)]) for prompt in prompts]
    found = [
        trajectory(lambda x, t, own=own: posterior_mean(own, path, x, t), path, noise, ts)
        for own, noise in groups
        if len(own)
    ]
    if not found:
        return float("nan"), float("nan")
    points, velocities, taus = zip(*found, strict=True)
    length, departure, _ = straightness(torch.cat(points, dim=1), torch.cat(velocities, dim=1), taus[0])
    return length, departure
