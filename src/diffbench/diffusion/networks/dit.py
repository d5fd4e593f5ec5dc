"""DiT: a transformer on patches, conditioned through adaLN-Zero (arXiv:2212.09748)."""

from torch import Tensor, nn
from torch.nn.functional import silu

from diffbench.diffusion.networks.layers import (
    PooledPrompt,
    PromptEmbedding,
    TimeEmbedding,
    attend,
    check_tokens,
    gated,
    mlp,
    modulate,
    patch_positions,
    xavier_linears,
    zero,
)


class Patches(nn.Module):
    """Images (B, 1, H, W) to tokens (B, (H / p)^2, width) with fixed 2-D positions."""

    def __init__(self, side: int, patch: int, width: int):
        super().__init__()
        self.patch = patch
        self.project = nn.Linear(patch * patch, width)
        self.register_buffer("positions", patch_positions(side // patch, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(patchify(x, self.patch)) + self.positions


def patchify(x: Tensor, patch: int) -> Tensor:
    """(B, 1, H, W) to (B, (H / p) (W / p), p^2)."""
    b, _, h, w = x.shape
    x = x.reshape(b, h // patch, patch, w // patch, patch).transpose(2, 3)
    return x.reshape(b, -1, patch * patch)


def unpatchify(tokens: Tensor, patch: int) -> Tensor:
    """(B, n^2, p^2) to (B, 1, n p, n p), the inverse of ``patchify`` on square images."""
    b, count, _ = tokens.shape
    n = round(count**0.5)
    x = tokens.reshape(b, n, n, patch, patch).transpose(2, 3)
    return x.reshape(b, 1, n * patch, n * patch)


class Block(nn.Module):
    """Attention and MLP, each scaled, shifted and gated by the condition; the identity at initialisation."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = mlp(width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(silu(c)).chunk(6, dim=1)  # (B, W) each
        q, k, v = self.qkv(modulate(self.norm1(x), shift1, scale1)).chunk(3, dim=2)
        x = gated(x, gate1, self.out(attend(q, k, v, self.heads)))
        return gated(x, gate2, self.mlp(modulate(self.norm2(x), shift2, scale2)))


class Head(nn.Module):
    """The final adaLN and projection back to pixels, zero at initialisation."""

    def __init__(self, width: int, patch: int):
        super().__init__()
        self.patch = patch
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, patch * patch)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale = self.modulation(silu(c)).chunk(2, dim=1)
        return unpatchify(self.project(modulate(self.norm(x), shift, scale)), self.patch)


class DiT(nn.Module):
    """DiT with the pooled prompt in place of the class label.

    The paper's model also learns the variance; this one, like the others here, does not.

    Args:
        side: image side in pixels, divisible by ``patch``.
        conditional: add the pooled prompt to the condition.
        width: token width, divisible by ``heads`` and by 4.
        depth: blocks.
        heads: attention heads.
        patch: patch side in pixels.

    Raises:
        ValueError: as ``check``.
    """

    @staticmethod
    def check(side: int, conditional: bool, *, width: int, depth: int, heads: int = 4, patch: int = 2) -> None:
        """Refuse sizes that do not fit; see ``layers.check_tokens``."""
        check_tokens(side, width, heads, patch)

    def __init__(self, side: int, conditional: bool, *, width: int, depth: int, heads: int = 4, patch: int = 2):
        super().__init__()
        self.check(side, conditional, width=width, depth=depth, heads=heads, patch=patch)
        self.patches = Patches(side, patch, width)
        self.time = TimeEmbedding(width, width)
        self.prompt = PromptEmbedding(width) if conditional else None
        self.pooled = PooledPrompt(width, width) if conditional else None
        blocks = [Block(width, heads) for _ in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.head = Head(width, patch)
        xavier_linears(self)
        for block in blocks:
            zero(block.modulation)
        zero(self.head.modulation)
        zero(self.head.project)

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Images (B, 1, H, W), times (B,) in [0, 1000], prompts (B, 3) to the target (B, 1, H, W)."""
        return self.given(x, self.time(t), prompt)

    def given(self, x: Tensor, c: Tensor, prompt: Tensor | None) -> Tensor:
        """The target (B, 1, H, W), the times embedded already, (B, W)."""
        if self.prompt is not None and self.pooled is not None:
            c = c + self.pooled(self.prompt(prompt))
        h = self.patches(x)  # (B, L, W)
        for block in self.blocks:
            h = block(h, c)
        return self.head(h, c)


class IntervalDiT(DiT):
    """DiT that is also told the end of the step it is for, as MeanFlow needs it (arXiv:2505.13447, section 4.3).

    It embeds t and ``t - end``; without an end, end = t. Arguments as those of DiT.
    """

    two_times = True

    def __init__(self, side: int, conditional: bool, *, width: int, depth: int, heads: int = 4, patch: int = 2):
        super().__init__(side, conditional, width=width, depth=depth, heads=heads, patch=patch)
        self.length = TimeEmbedding(width, width)
        xavier_linears(self.length)

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor | None = None, end: Tensor | None = None) -> Tensor:
        """As DiT, ``end`` (B,) in [0, t]."""
        # In [0, 1], as MeanFlow's networks are told them: the loss holds their derivative in time, and the sinusoids of
        # 1000 t would make that a thousand times as steep (arXiv:2410.11081, section 4.1).
        t, length = t / 1000, (t - (t if end is None else end)) / 1000  # (B,)
        return self.given(x, self.time(t) + self.length(length), prompt)
