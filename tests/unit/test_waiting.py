"""Sampling never waits for the device, and its schedule lies on the CPU: both shown without one."""

import pytest
import torch
from torch import nn

from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.guidance import Guided
from diffbench.diffusion.paths import PATHS
from diffbench.diffusion.samplers import SAMPLERS, VP_ONLY
from diffbench.diffusion.times import trailing

META = torch.device("meta")  # tensors without values: asking for one, which waits for a device, is an error here


class Net(nn.Module):
    """A network of one weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), device=META))

    def forward(self, x, t, prompt):
        assert t.device == META and t.shape == (len(x),)
        return self.weight * x + t[:, None, None, None]


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize(
    ("sampler", "path"), [(s, p) for s in SAMPLERS for p in PATHS if s not in VP_ONLY or p.startswith("vp")]
)
def test_no_sampler_asks_the_device_for_a_value(sampler, path, guidance):
    denoiser = Denoiser(Net(), PATHS[path](), "v" if path.startswith("vp") else "velocity")
    prompt = torch.zeros(2, 3, dtype=torch.long, device=META)
    guided = Guided(denoiser, prompt, prompt[0], guidance, interval=(-2, 4))
    x = torch.empty(2, 1, 4, 4, device=META)
    out = SAMPLERS[sampler](guided, denoiser.path, x, trailing(4, denoiser.path.levels), lambda i: torch.empty_like(x))
    assert out.device == META and out.shape == x.shape


def test_a_time_on_the_device_would_be_waited_for():
    """What the test above rests on."""
    path = PATHS["vp-linear"]()
    with pytest.raises(RuntimeError, match="meta"):
        path.alpha(torch.empty((), dtype=torch.float64, device=META))
