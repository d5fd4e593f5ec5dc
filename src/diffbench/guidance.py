"""Classifier-free guidance as a wrapper: a denoiser in, a denoiser with its prompt bound out."""

import torch
from torch import Tensor

from .denoiser import Denoiser, clamp
from .targets import Prediction, recover


class Guided:
    """``out = uncond + scale (cond - uncond)`` (arXiv:2207.12598, eq. 6; their w is scale - 1).

    Scale 1 is the conditional and scale 0 the unconditional network; both cost one evaluation, every other
    scale costs two, run as one batch. The combination is linear, so it commutes with the change of target; the
    clamp comes after it.

    Args:
        denoiser: the trained denoiser.
        prompt: prompts (B, 3), or None for an unconditional network.
        null: the null prompt (3,), or None for an unconditional network.
        scale: guidance scale; ignored where ``prompt`` is None.
        clip: clamp x0 to [-1, 1] after guidance.

    Attributes:
        nfe: network evaluations per image so far.
    """

    def __init__(
        self, denoiser: Denoiser, prompt: Tensor | None, null: Tensor | None, scale: float = 1.0, *, clip: bool = True
    ):
        self.denoiser, self.prompt, self.scale, self.clip = denoiser, prompt, scale, clip
        self.null = None if prompt is None else null.expand_as(prompt)  # (B, 3)
        self.nfe = 0

    def output(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The guided network output, (B, C, H, W)."""
        net = self.denoiser.output
        if self.prompt is None or self.scale in (0, 1):
            self.nfe += 1
            return net(x_t, t, self.null if self.scale == 0 else self.prompt)
        self.nfe += 2
        both = net(torch.cat([x_t, x_t]), t, torch.cat([self.null, self.prompt]))
        uncond, cond = both.chunk(2)
        return uncond + self.scale * (cond - uncond)

    def __call__(self, x_t: Tensor, t: Tensor) -> Prediction:
        """Estimates of x0 and eps at one time t, a scalar tensor."""
        path = self.denoiser.path
        prediction = recover(self.denoiser.target, path, self.output(x_t, t), x_t, t)
        return clamp(prediction, path, x_t, t) if self.clip else prediction
