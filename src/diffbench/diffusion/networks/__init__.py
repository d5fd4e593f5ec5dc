"""Networks ``net(x_t, 1000 t, prompt)``; a new one is a module here and a line below."""

from diffbench.diffusion.networks.dit import DiT
from diffbench.diffusion.networks.mmdit import MMDiT
from diffbench.diffusion.networks.unet import UNet

NETWORKS = {"unet": UNet, "dit": DiT, "mmdit": MMDiT}
