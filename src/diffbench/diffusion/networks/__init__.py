"""Networks ``net(x_t, 1000 t, prompt)``; a new one is a module here and a line below.

One with an attribute ``two_times`` is also told where the step ends: ``net(x_t, 1000 t, prompt, 1000 end)``.
"""

from diffbench.diffusion.networks.dit import DiT, IntervalDiT
from diffbench.diffusion.networks.mmdit import MMDiT
from diffbench.diffusion.networks.unet import UNet

NETWORKS = {"unet": UNet, "dit": DiT, "mmdit": MMDiT, "dit-interval": IntervalDiT}
