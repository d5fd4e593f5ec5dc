"""The U-Net of DDPM, and with cross-attention to the prompt's tokens that of Stable Diffusion 1 and 2."""

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pixel_shuffle, pixel_unshuffle

from diffbench.diffusion.networks.layers import PromptEmbedding, TimeEmbedding, attend, mlp, zero


def norm(channels: int) -> nn.GroupNorm:
    """Group norm with 8 groups, or the most that divide the channels."""
    return nn.GroupNorm(max(g for g in (8, 4, 2, 1) if channels % g == 0), channels)


def double(x: Tensor) -> Tensor:
    """Nearest-neighbour upsampling by 2, (B, C, H, W) to (B, C, 2 H, 2 W).

    Written as two concatenations with the channels last, as the convolutions around it have them: one copy forward,
    and backward two sums of halves. The gradient of ``interpolate`` is not deterministic on CUDA.
    """
    b, c, h, w = x.shape
    pixels = x.permute(0, 2, 3, 1)  # (B, H, W, C)
    rows = torch.cat([pixels, pixels], dim=3).reshape(b, h, 2 * w * c)
    return torch.cat([rows, rows], dim=2).reshape(b, 2 * h, 2 * w, c).permute(0, 3, 1, 2)


class Pointwise(nn.Linear):
    """A 1 x 1 convolution, (B, C, H, W) to (B, C', H, W), as the matrix product it is where the channels come last."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Conv3x3(nn.Conv2d):
    """A 3 x 3 convolution that keeps the size of its maps, (B, C, H, W) to (B, C', H, W).

    On maps of 2 x 2 every output sees every input, so there it is one matrix product of the four pixels' channels: half
    the multiplications of a padded convolution.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (2, 2) or self.bias is None:
            return super().forward(x)
        kernel = self.weight.permute(0, 2, 3, 1)  # (C', 3, 3, C)
        # What output pixel (i, j) sees of the kernel, for the four of them: (4, C', 2, 2, C).
        seen = torch.stack([kernel[:, 1 - i : 3 - i, 1 - j : 3 - j] for i in (0, 1) for j in (0, 1)])
        pixels = x.permute(0, 2, 3, 1).flatten(1)  # (B, 4 C)
        out = linear(pixels, seen.reshape(-1, pixels.shape[1]), self.bias.repeat(4))
        return out.unflatten(1, (2, 2, -1)).permute(0, 3, 1, 2)


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions with the time added between them (arXiv:2006.11239, appendix B)."""

    def __init__(self, inputs: int, outputs: int, time: int):
        super().__init__()
        self.first = nn.Sequential(norm(inputs), nn.SiLU(), Conv3x3(inputs, outputs))
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(time, outputs))
        self.second = nn.Sequential(norm(outputs), nn.SiLU(), zero(Conv3x3(outputs, outputs)))
        self.skip = Pointwise(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.first(x) + self.time(time)[:, :, None, None]
        return self.skip(x) + self.second(h)


class Attention(nn.Module):
    """Pre-norm attention from (B, L, W) to a context (B, M, C), itself if ``context`` is None; residual."""

    def __init__(self, width: int, heads: int, context: int | None = None):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(context or width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        h = self.norm(x)
        k, v = self.kv(h if context is None else context).chunk(2, dim=-1)
        return x + self.out(attend(self.q(h), k, v, self.heads))


class SpatialTransformer(nn.Module):
    """Self-attention, then cross-attention to the prompt's tokens and a feed-forward block (arXiv:2112.10752).

    Without a prompt only the self-attention remains, as in DDPM.
    """

    def __init__(self, channels: int, heads: int, context: int | None):
        super().__init__()
        self.norm = norm(channels)
        self.self_attention = Attention(channels, heads)
        self.cross_attention = Attention(channels, heads, context) if context else None
        self.feed_forward = nn.Sequential(nn.LayerNorm(channels), mlp(channels, 2)) if context else None
        self.out = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor, tokens: Tensor | None) -> Tensor:
        h = self.norm(x).flatten(2).transpose(1, 2)  # (B, H W, C)
        h = self.self_attention(h)
        if self.cross_attention is not None and self.feed_forward is not None:
            h = self.cross_attention(h, tokens)
            h = h + self.feed_forward(h)
        return x + self.out(h).transpose(1, 2).unflatten(2, x.shape[2:])


def resolutions(half: nn.ModuleList) -> Iterator[tuple[Iterable[nn.ModuleList], nn.Module]]:
    """The stages of each resolution of one half of the U-Net, and what leads to the next resolution."""
    yield from cast(Iterable[tuple[Iterable[nn.ModuleList], nn.Module]], half)


class UNet(nn.Module):
    """U-Net with attention at its coarsest resolutions.

    Args:
        side: image side in pixels, divisible by ``patch`` 2^(len(channels) - 1).
        conditional: attend to the prompt's tokens.
        channels: channels of each resolution, from the full one down.
        blocks: residual blocks of each resolution on the way down, and on the way up.
        attention: how many of the coarsest resolutions attend; DDPM's had one, Stable Diffusion's all but one.
        heads: attention heads.
        context: width of the prompt's token vectors.
        patch: side of the patches that enter as channels of one pixel and leave as such (pixel unshuffle and shuffle,
            arXiv:1609.05158). At 2 the widest maps are a quarter as large, and with them most of the arithmetic.

    Raises:
        ValueError: as ``check``.
    """

    @staticmethod
    def check(
        side: int,
        conditional: bool,
        *,
        channels: list[int],
        blocks: int,
        attention: int = 1,
        heads: int = 4,
        context: int = 32,
        patch: int = 1,
    ) -> None:
        """Refuse sizes that do not fit, before anything is built.

        Raises:
            ValueError: says which and why.
        """
        if side % patch:
            raise ValueError(f"patch {patch} does not divide the image's side {side}")
        if side // patch % 2 ** (len(channels) - 1):
            of = f" in patches of {patch}" if patch > 1 else ""
            raise ValueError(f"{len(channels)} resolutions do not fit an image of side {side}{of}")
        if channels[0] % 2:
            raise ValueError("the first of channels must be even, for the sinusoids of the time")
        if attention > len(channels):
            raise ValueError(f"attention at {attention} resolutions, but there are {len(channels)}")
        for width in channels[-attention:]:
            if width % heads:
                raise ValueError(f"channels {width} cannot be split among {heads} heads")

    def __init__(
        self,
        side: int,
        conditional: bool,
        *,
        channels: list[int],
        blocks: int,
        attention: int = 1,
        heads: int = 4,
        context: int = 32,
        patch: int = 1,
    ):
        super().__init__()
        self.check(
            side, conditional, channels=channels, blocks=blocks, attention=attention, heads=heads, context=context,
            patch=patch,
        )  # fmt: skip
        self.patch = patch
        time = 4 * channels[0]
        self.time = TimeEmbedding(channels[0], time)
        self.prompt = PromptEmbedding(context) if conditional else None
        seen = context if conditional else None

        def stage(inputs: int, outputs: int, level: int) -> nn.ModuleList:
            attends = level >= len(channels) - attention
            block = [SpatialTransformer(outputs, heads, seen)] if attends else []
            return nn.ModuleList([ResBlock(inputs, outputs, time), *block])

        self.stem = nn.Conv2d(patch * patch, channels[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width, skips = channels[0], [channels[0]]
        for level, outputs in enumerate(channels):
            stages = nn.ModuleList()
            for _ in range(blocks):
                stages.append(stage(width, outputs, level))
                width = outputs
                skips.append(width)
            last = level == len(channels) - 1
            shrink: nn.Module = nn.Identity() if last else nn.Conv2d(width, width, 3, stride=2, padding=1)
            self.down.append(nn.ModuleList([stages, shrink]))
        self.middle = stage(width, width, len(channels) - 1)
        for level, outputs in reversed(list(enumerate(channels))):
            stages = nn.ModuleList()
            for _ in range(blocks):
                stages.append(stage(width + skips.pop(), outputs, level))
                width = outputs
            above = channels[max(level - 1, 0)]
            grow: nn.Module = nn.Identity() if level == 0 else nn.Conv2d(width, above, 3, padding=1)
            self.up.append(nn.ModuleList([stages, grow]))
            width = above
        self.head = nn.Sequential(norm(width), nn.SiLU(), zero(nn.Conv2d(width, patch * patch, 3, padding=1)))

    def forward(self, x: Tensor, t: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Images (B, 1, H, W), times (B,) in [0, 1000], prompts (B, 3) to the target (B, 1, H, W)."""
        time = self.time(t)
        tokens = self.prompt(prompt) if self.prompt is not None else None  # (B, 3, context)

        def run(stage: nn.ModuleList, h: Tensor) -> Tensor:
            h = stage[0](h, time)
            return stage[1](h, tokens) if len(stage) > 1 else h

        h = self.stem(pixel_unshuffle(x, self.patch))  # (B, C, H / patch, W / patch)
        skips = []
        for stages, shrink in resolutions(self.down):
            for stage in stages:
                h = run(stage, h)
                skips.append(h)
            h = shrink(h)
        h = run(self.middle, h)
        for level, (stages, grow) in enumerate(resolutions(self.up)):
            for stage in stages:
                h = run(stage, torch.cat([h, skips.pop()], dim=1))
            if level < len(self.up) - 1:
                h = grow(double(h))
        return pixel_shuffle(self.head(h), self.patch)
