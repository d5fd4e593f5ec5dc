"""Guidance as a wrapper: a denoiser in, a denoiser with its prompt bound out."""

import math

import torch
from torch import Tensor

from diffbench.diffusion.denoiser import Denoiser, Rescaled, clamp
from diffbench.diffusion.targets import Prediction


def rescale(out: Tensor, cond: Tensor, share: float) -> Tensor:
    """Give a guided output the spread of the conditional one (arXiv:2305.08891, eq. 15 and 16).

    Args:
        out, cond: the guided and the conditional network output, (B, C, H, W).
        share: how much of the rescaled output is blended in, in [0, 1]; their phi.

    Not linear, so unlike guidance itself it depends on what the network predicts. A guided output without any spread,
    as of a network that gives nothing but zeros, stays as it is.
    """
    wanted, found = (x.std(dim=(1, 2, 3), keepdim=True) for x in (cond, out))  # (B, 1, 1, 1)
    return torch.where(found > 0, out * (1 - share + share * wanted / found), out)


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
        interval: guide only where ``log(alpha^2 / sigma^2)`` lies in [low, high], and use scale 1 elsewhere
            (arXiv:2404.07724). In log-SNR, because that means the same on every path; their sigma is exp(-log_snr / 2).
        share: see ``rescale``; 0 leaves the guided output as it is.
        negative: a worse network whose output for the same prompt takes the place of ``uncond``: autoguidance
            (arXiv:2406.02507, eq. 3). It costs as much.

    Raises:
        ValueError: a prompt without a null prompt.

    Attributes:
        nfe: network evaluations per image so far.
    """

    def __init__(
        self,
        denoiser: Denoiser | Rescaled,
        prompt: Tensor | None,
        null: Tensor | None,
        scale: float = 1.0,
        *,
        clip: bool = True,
        interval: tuple[float, float] | None = None,
        share: float = 0.0,
        negative: Denoiser | Rescaled | None = None,
    ):
        self.denoiser, self.prompt, self.scale, self.clip = denoiser, prompt, scale, clip
        self.interval, self.share, self.negative = interval, share, negative
        # Repeated, not expanded: a compiled network is compiled again for tensors of other strides.
        if prompt is not None and null is None:
            raise ValueError("guidance of a conditional network needs the null prompt")
        self.null = None if prompt is None or null is None else null.repeat(len(prompt), 1)  # (B, 3)
        self.nfe = 0

    def scale_at(self, t: Tensor) -> float:
        """The guidance scale at time t."""
        if self.interval is None:
            return self.scale
        path, (low, high) = self.denoiser.path, self.interval
        alpha, sigma = float(path.alpha(t)), float(path.sigma(t))
        log_snr = 2 * math.log(alpha / sigma) if alpha else -math.inf
        return self.scale if low <= log_snr <= high else 1.0

    def output(self, x_t: Tensor, t: Tensor, end: Tensor | None = None) -> Tensor:
        """The guided network output, (B, C, H, W); ``end`` as for ``Denoiser.output``."""
        net = self.denoiser.output
        scale = 0.0 if self.prompt is None else self.scale_at(t)
        if self.prompt is None or self.null is None or scale in (0, 1):
            self.nfe += 1
            return net(x_t, t, self.null if scale == 0 else self.prompt, end)
        self.nfe += 2
        if self.negative is not None:  # another network, so no batch of both
            uncond, cond = self.negative.output(x_t, t, self.prompt, end), net(x_t, t, self.prompt, end)
        else:
            both = net(torch.cat([x_t, x_t]), t, torch.cat([self.null, self.prompt]), end)
            uncond, cond = both.chunk(2)
        out = uncond + scale * (cond - uncond)
        return rescale(out, cond, self.share) if self.share else out

    def __call__(self, x_t: Tensor, t: Tensor, end: Tensor | None = None) -> Prediction:
        """Estimates of x0 and eps at one time t, a scalar tensor; ``end`` as for ``Denoiser.output``."""
        path = self.denoiser.path
        prediction = self.denoiser.read(self.output(x_t, t, end), x_t, t)
        return clamp(prediction, path, x_t, t) if self.clip else prediction
