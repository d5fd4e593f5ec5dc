"""MMDiT: image and prompt tokens with weights of their own and one joint attention (arXiv:2403.03206, fig. 2)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from diffbench.diffusion.networks.dit import Head, Patches
from diffbench.diffusion.networks.layers import (
    PooledPrompt,
    PromptEmbedding,
    TimeEmbedding,
    attend,
    check_tokens,
    gated,
    mlp,
    modulate,
    xavier_linears,
    zero,
)


class Stream(nn.Module):
    """One modality's half of a block: its own adaLN, QKV, output projection and MLP.

    Args:
        width: token width.
        pre_only: nothing after the attention is kept. The text stream of the last block only feeds the image.
    """

    def __init__(self, width: int, pre_only: bool = False):
        super().__init__()
        self.pre_only = pre_only
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.modulation = nn.Linear(width, (2 if pre_only else 6) * width)
        if not pre_only:
            self.out = nn.Linear(width, width)
            self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
            self.mlp = mlp(width)

    def before(self, x: Tensor, c: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """QKV (B, L, 3 W) of the modulated tokens, and the modulations left for ``after``."""
        shift, scale, *rest = self.modulation(silu(c)).chunk(2 if self.pre_only else 6, dim=1)
        return self.qkv(modulate(self.norm1(x), shift, scale)), tuple(rest)

    def after(self, x: Tensor, mixed: Tensor, rest: tuple[Tensor, ...]) -> Tensor:
        """Add the attention's result and the MLP to the residual stream, (B, L, W)."""
        gate1, shift2, scale2, gate2 = rest
        x = gated(x, gate1, self.out(mixed))
        return gated(x, gate2, self.mlp(modulate(self.norm2(x), shift2, scale2)))


class JointBlock(nn.Module):
    """Two streams that attend to [text; image] together, in both directions."""

    def __init__(self, width: int, heads: int, last: bool):
        super().__init__()
        self.heads = heads
        self.text, self.image = Stream(width, pre_only=last), Stream(width)

    def forward(self, text: Tensor, image: Tensor, c: Tensor) -> tuple[Tensor | None, Tensor]:
        text_qkv, text_rest = self.text.before(text, c)
        image_qkv, image_rest = self.image.before(image, c)
        q, k, v = torch.cat([text_qkv, image_qkv], dim=1).chunk(3, dim=2)  # (B, 3 + L, W) each
        if self.text.pre_only:  # the text's own queries would be thrown away
            return None, self.image.after(image, attend(q[:, text.shape[1] :], k, v, self.heads), image_rest)
        mixed = attend(q, k, v, self.heads)
        text_mixed, image_mixed = mixed[:, : text.shape[1]], mixed[:, text.shape[1] :]
        return self.text.after(text, text_mixed, text_rest), self.image.after(image, image_mixed, image_rest)


class MMDiT(nn.Module):
    """SD3's network: prompt tokens as a sequence, and pooled beside the time in every modulation.

    Args:
        side: image side in pixels, divisible by ``patch``.
        conditional: must be True; there is no MMDiT without a second modality.
        width, depth, heads, patch: as in DiT.

    Raises:
        ValueError: as ``check``.
    """

    @staticmethod
    def check(side: int, conditional: bool, *, width: int, depth: int, heads: int = 4, patch: int = 2) -> None:
        """Refuse an unconditional MMDiT and sizes that do not fit; see ``layers.check_tokens``."""
        if not conditional:
            raise ValueError("mmdit has a text stream and needs prompts: set conditional to true")
        check_tokens(side, width, heads, patch)

    def __init__(self, side: int, conditional: bool, *, width: int, depth: int, heads: int = 4, patch: int = 2):
        super().__init__()
        self.check(side, conditional, width=width, depth=depth, heads=heads, patch=patch)
        self.patches = Patches(side, patch, width)
        self.time = TimeEmbedding(width, width)
        self.prompt = PromptEmbedding(width)
        self.pooled = PooledPrompt(width, width)
        self.text_in = nn.Linear(width, width)
        blocks = [JointBlock(width, heads, last=i == depth - 1) for i in range(depth)]
        self.blocks = nn.ModuleList(blocks)
        self.head = Head(width, patch)
        xavier_linears(self)
        for block in blocks:
            zero(block.text.modulation)
            zero(block.image.modulation)
        zero(self.head.modulation)
        zero(self.head.project)

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor) -> Tensor:
        """Images (B, 1, H, W), times (B,) in [0, 1000], prompts (B, 3) to the target (B, 1, H, W)."""
        tokens = self.prompt(prompt)  # (B, 3, W)
        c = self.time(t) + self.pooled(tokens)  # (B, W)
        text, image = self.text_in(tokens), self.patches(x)
        for block in self.blocks:
            text, image = block(text, image, c)
        return self.head(image, c)
