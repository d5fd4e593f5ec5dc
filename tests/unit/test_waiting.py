"""Sampling never waits for the device, and its schedule lies on the CPU: both shown without one."""

import pytest
import torch
from torch import nn

from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.guidance import Guided
from diffbench.diffusion.paths import EDM, PATHS, DifferentiablePath
from diffbench.diffusion.samplers import SAMPLERS, VP_ONLY
from diffbench.diffusion.times import sampling_times

META = torch.device("meta")  # tensors without values: asking for one, which waits for a device, is an error here


class Net(nn.Module):
    """A network of one weight, and of two times where it is told the second."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), device=META))

    def forward(self, x, t, prompt, end=None):
        for time in (t,) if end is None else (t, end):
            assert time.device == META and time.shape == (len(x),)
            x = x + time[:, None, None, None]
        return self.weight * x


def target_on(path):
    """A target that the path can be trained on."""
    return "velocity" if isinstance(path, DifferentiablePath) else "edm" if isinstance(path, EDM) else "v"


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize(
    ("sampler", "path"), [(s, p) for s in SAMPLERS for p in PATHS if s not in VP_ONLY or p.startswith("vp")]
)
def test_no_sampler_asks_the_device_for_a_value(sampler, path, guidance):
    way = PATHS[path]()
    denoiser = Denoiser(Net(), way, target_on(way))
    prompt = torch.zeros(2, 3, dtype=torch.long, device=META)
    guided = Guided(denoiser, prompt, prompt[0], guidance, interval=(-2, 4))
    x = torch.empty(2, 1, 4, 4, device=META)
    times = sampling_times("trailing", 4, way)
    out = SAMPLERS[sampler](guided, denoiser.path, x, times, lambda i: torch.empty_like(x))
    assert out.device == META and out.shape == x.shape


def test_a_time_on_the_device_would_be_waited_for():
    """What the test above rests on."""
    path = PATHS["vp-linear"]()
    with pytest.raises(RuntimeError, match="meta"):
        path.alpha(torch.empty((), dtype=torch.float64, device=META))
