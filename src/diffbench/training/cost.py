"""What a network costs before any clock is read."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from diffbench.config.models import Paradigm
from diffbench.diffusion import model


def macs(paradigm: Paradigm, side: int) -> int:
    """Multiply-accumulates of one network evaluation of one image, by torch's own counter.

    Counted on tensors without storage; matrix products, convolutions and attention count, element-wise work does not.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        net = model.build(paradigm, side).net
        prompt = torch.zeros(1, 3, dtype=torch.long) if paradigm.conditional else None
        net(torch.zeros(1, 1, side, side), torch.zeros(1), prompt)
    return counter.get_total_flops() // 2
