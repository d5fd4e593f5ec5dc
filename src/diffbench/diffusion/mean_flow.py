"""The mean velocity of a step, and the equation that ties it to the velocity at one time (arXiv:2505.13447).

``u(z, r, t)`` is the mean of the velocity v over [r, t] on the trajectory through z at t; where r = t it is v. Its
definition ``(t - r) u = integral of v from r to t``, differentiated by t, says ``v = u + (t - r) du/dt`` (eq. 6), and
``du/dt`` is a Jacobian-vector product of u with ``(dz, dr, dt) = (v, 0, 1)`` (eq. 8).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Velocity = Callable[[Tensor, Tensor, Tensor], Tensor]  # u(z, r, t) of images (B, C, H, W) and times (B,)


@torch.no_grad()
def total_derivative(u: Velocity, z: Tensor, r: Tensor, t: Tensor) -> Tensor:
    """``du/dt`` along the trajectory, (B, C, H, W), with u's own ``u(z, t, t)`` for v (arXiv:2512.02012, eq. 12).

    In float32, because a derivative of rounded numbers is noise, and with attention written out: its fused kernels have
    no forward derivative.
    """
    with torch.autocast(z.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH):
        v = u(z, t, t)
        return torch.func.jvp(lambda z, t: u(z, r, t), (z, t), (v, torch.ones_like(t)))[1]


def compound(mean: Tensor, derivative: Tensor, r: Tensor, t: Tensor) -> Tensor:
    """``V = u + (t - r) sg[du/dt]``, which is v where u is right, (B, C, H, W) (arXiv:2512.02012, eq. 13)."""
    return mean + (t - r)[:, None, None, None] * derivative.detach()


def evened(error: Tensor, power: float = 1.0, least: float = 0.01) -> Tensor:
    """Errors (B,) weighted so that large ones do not decide: ``e / sg[(e + c)^p]`` (arXiv:2505.13447, eq. 22)."""
    return error / (error.detach() + least) ** power
