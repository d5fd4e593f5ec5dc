"""Guidance: its convention, its cost, and that it commutes with the change of target."""

import pytest
import torch
from torch import nn

from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.guidance import Guided, rescale
from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.samplers import SAMPLERS
from diffbench.diffusion.targets import TARGETS, recover, target
from diffbench.diffusion.times import trailing

NULL = torch.tensor([18, 18, 18])


class Counting(nn.Module):
    """A network that depends on image, time and prompt and counts the images it sees."""

    def __init__(self):
        super().__init__()
        self.images = 0

    def forward(self, x, t, prompt, end=None):
        self.images += len(x)
        shift = 0 if prompt is None else prompt.double().sum(1)[:, None, None, None] / 50
        return torch.tanh(x + t[:, None, None, None] / 1000 + shift)


def make(path="vp-linear", kind="eps"):
    net = Counting()
    return net, Denoiser(net, PATHS[path](), kind)


def batch(count: int = 4):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 1, 4, 4, dtype=torch.float64, generator=generator)
    return x, torch.randint(0, 17, (count, 3), generator=generator), torch.tensor(0.6, dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1.5, 4.0, 7.5])
def test_scale_one_is_conditional_and_zero_unconditional(scale):
    _, denoiser = make()
    x, prompt, t = batch()
    uncond, cond = denoiser.output(x, t, NULL.expand_as(prompt)), denoiser.output(x, t, prompt)
    assert not torch.allclose(uncond, cond)
    guided = Guided(denoiser, prompt, NULL, scale).output(x, t)
    torch.testing.assert_close(guided, uncond + scale * (cond - uncond))
    w = scale - 1  # the paper's w
    torch.testing.assert_close(guided, (1 + w) * cond - w * uncond)


@pytest.mark.parametrize(("scale", "each"), [(0.0, 1), (1.0, 1), (2.0, 2), (0.5, 2)])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_evaluations_are_counted_truly(scale, each, sampler):
    net, denoiser = make()
    x, prompt, _ = batch()
    guided = Guided(denoiser, prompt, NULL, scale)
    SAMPLERS[sampler](guided, denoiser.path, x, trailing(6, 1000), lambda _: torch.zeros_like(x))
    steps = 2 * 6 - 1 if sampler == "heun" else 6
    assert guided.nfe == steps * each == net.images / len(x)
    assert net.images == guided.nfe * len(x)


def test_an_unconditional_network_gets_no_prompt():
    net, denoiser = make()
    x, _, t = batch()
    guided = Guided(denoiser, None, None, 0.0)
    guided(x, t)
    assert guided.nfe == 1 and net.images == len(x)


@pytest.mark.parametrize("kind", TARGETS)
def test_guidance_commutes_with_the_change_of_target(kind):
    """Guiding the output, x0 or eps is the same for one scale, before the clamp."""
    path = PATHS["linear"]()
    generator = torch.Generator().manual_seed(1)
    x0s, epss, x = torch.randn(3, 2, 1, 4, 4, dtype=torch.float64, generator=generator)
    t, s = torch.tensor(0.4, dtype=torch.float64), 3.0
    outs = [target(kind, path, x0, eps, t) for x0, eps in zip(x0s, epss, strict=True)]
    first = recover(kind, path, outs[0] + s * (outs[1] - outs[0]), x[None], t)
    uncond, cond = (recover(kind, path, out, x[None], t) for out in outs)
    torch.testing.assert_close(first.x0, uncond.x0 + s * (cond.x0 - uncond.x0))
    torch.testing.assert_close(first.eps, uncond.eps + s * (cond.eps - uncond.eps))


def test_the_clamp_comes_after_guidance():
    _, denoiser = make(kind="x0")
    x, prompt, t = batch()
    free, clipped = (Guided(denoiser, prompt, NULL, 7.5, clip=clip)(x, t) for clip in (False, True))
    assert free.x0.abs().max() > 1
    torch.testing.assert_close(clipped.x0, free.x0.clamp(-1, 1))


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_an_output_without_spread_is_not_rescaled_and_spoils_no_other(share):
    """Of a network that gives zeros, as one does whose last layer begins at zero: 0 / 0 would fill images with NaN."""
    cond, _, _ = batch(3)
    guided = 3 * cond
    for flat in (torch.zeros_like(cond[0]), torch.full_like(cond[0], 0.5)):
        for kept in (cond[0], flat):
            found = rescale(torch.stack([guided[0], flat, guided[2]]), torch.stack([cond[0], kept, cond[2]]), share)
            assert torch.equal(found[1], flat)
            torch.testing.assert_close(found[[0, 2]], cond[[0, 2]] * (3 * (1 - share) + share))
