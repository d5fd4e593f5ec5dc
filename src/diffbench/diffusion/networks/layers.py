"""Parts shared by the networks."""

import math

import torch
from torch import Tensor, nn

from diffbench.data.vocabulary import LENGTH, VOCABULARY


def sinusoid(t: Tensor, width: int) -> Tensor:
    """Sinusoidal features of times in [0, 1000], (B,) to (B, width) (arXiv:2006.11239, appendix B)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoid and a two-layer MLP: times (B,) to (B, width)."""

    def __init__(self, features: int, width: int):
        super().__init__()
        self.features = features
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(sinusoid(t, self.features).to(next(self.mlp.parameters()).dtype))


class PromptEmbedding(nn.Module):
    """The one prompt embedding of every conditional network: a token table plus learned positions.

    Without positions the words are a bag; the text encoders of SD1 to SD3 supplied them.
    """

    def __init__(self, width: int):
        super().__init__()
        self.tokens = nn.Embedding(len(VOCABULARY), width)
        self.positions = nn.Parameter(torch.zeros(LENGTH, width))
        nn.init.normal_(self.tokens.weight, std=0.5)
        nn.init.normal_(self.positions, std=0.1)

    def forward(self, prompt: Tensor) -> Tensor:
        """Prompts (B, 3) to token vectors (B, 3, width)."""
        return self.tokens(prompt) + self.positions


class PooledPrompt(nn.Module):
    """The mean of the token vectors through an MLP, (B, 3, W) to (B, out)."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, out), nn.SiLU(), nn.Linear(out, out))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.mlp(tokens.mean(dim=1))


def heads_first(x: Tensor, heads: int) -> Tensor:
    """(B, L, heads * D) to (B, heads, L, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Multi-head scaled dot-product attention on (B, L, width) tensors, to (B, Lq, width)."""
    q, k, v = (heads_first(x, heads) for x in (q, k, v))
    mixed = nn.functional.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).flatten(2)


def mlp(width: int, ratio: int = 4) -> nn.Sequential:
    """The transformer's feed-forward block."""
    return nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(approximate="tanh"), nn.Linear(ratio * width, width))


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """``x (1 + scale) + shift`` with (B, W) modulations of tokens (B, L, W) (arXiv:2212.09748, section 3.2)."""
    return torch.addcmul(shift[:, None], x, 1 + scale[:, None])  # one pass over the tokens instead of two


def gated(x: Tensor, gate: Tensor, branch: Tensor) -> Tensor:
    """``x + gate branch`` with gates (B, W) of a branch's tokens (B, L, W)."""
    return torch.addcmul(x, gate[:, None], branch)


def patch_positions(side: int, width: int) -> Tensor:
    """Fixed 2-D sine and cosine positions of a side x side grid, (side^2, width); width divisible by 4."""
    frequencies = 1 / 10_000 ** (torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies  # (side, width / 4)
    wave = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    rows, columns = wave[:, None].expand(side, side, -1), wave[None].expand(side, side, -1)
    return torch.cat([columns, rows], dim=2).flatten(0, 1).float()


def check_tokens(side: int, width: int, heads: int, patch: int) -> None:
    """Refuse a transformer's sizes that do not fit, before anything is built.

    Raises:
        ValueError: says which and why.
    """
    if side % patch:
        raise ValueError(f"patch {patch} does not divide the image's side {side}")
    if width % heads or width % 4:
        raise ValueError(f"width {width} must be divisible by heads {heads} and by 4")


def xavier_linears(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for every linear layer, as in DiT's reference code."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)


def zero(layer: nn.Module) -> nn.Module:
    """The layer with weight and bias set to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
