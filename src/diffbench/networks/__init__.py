"""Networks ``net(x_t, 1000 t, prompt)``; a new one is a module here and a line below."""

from .dit import DiT
from .mmdit import MMDiT
from .unet import UNet

NETWORKS = {"unet": UNet, "dit": DiT, "mmdit": MMDiT}
