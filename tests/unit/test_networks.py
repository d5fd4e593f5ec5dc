"""Networks: sizes that match, structure that is what its paper says, and inputs that matter."""

import pytest
import torch

from diffbench import runs
from diffbench.data.sources import image_side
from diffbench.data.vocabulary import NULL
from diffbench.diffusion import model
from diffbench.diffusion.networks import NETWORKS
from diffbench.diffusion.networks.dit import patchify, unpatchify
from diffbench.diffusion.networks.layers import gated, modulate, patch_positions
from diffbench.diffusion.networks.unet import Conv3x3, Pointwise, double
from diffbench.training import cost

SIZES = {
    "unet": {"channels": [8, 16], "blocks": 1, "heads": 2, "context": 16},
    "dit": {"width": 16, "depth": 2, "heads": 2},
    "mmdit": {"width": 16, "depth": 2, "heads": 2},
    "dit-interval": {"width": 16, "depth": 2, "heads": 2},
}


def awake(name: str, conditional: bool = True, side: int = 8, **changes):
    """A network whose zero-initialised layers are random, so that everything shows in the output."""
    torch.manual_seed(0)
    net = NETWORKS[name](side, conditional, **(SIZES[name] | changes))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return net.eval()


def batch(side: int = 8, count: int = 3):
    generator = torch.Generator().manual_seed(1)
    prompt = torch.tensor([[3, 11, 15], [7, 10, 14], [NULL] * 3])[:count]
    return torch.randn(count, 1, side, side, generator=generator), torch.tensor([10.0, 500.0, 999.0])[:count], prompt


@pytest.mark.parametrize("preset", ["mnist", "mnist-small", "digits"])
def test_parameters_match_within_ten_percent_and_macs_within_three(preset, at_root):
    params = runs.load(preset)
    counts = {key: model.parameters(model.build(row, image_side(params))) for key, row in params.paradigms.items()}
    macs = {key: cost.macs(row, image_side(params)) for key, row in params.paradigms.items()}
    aim = {"mnist": 2_000_000, "mnist-small": 315_000, "digits": 250_000}[preset]
    assert max(counts.values()) <= 1.1 * min(counts.values()), counts
    assert all(abs(count / aim - 1) < 0.15 for count in counts.values()), counts
    assert max(macs.values()) <= 3 * min(macs.values()), macs


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("side", [8, 28])
def test_every_input_matters(name, side):
    net, (x, t, prompt) = awake(name, side=side), batch(side)
    out = net(x, t, prompt)
    assert out.shape == x.shape and torch.isfinite(out).all()
    assert not torch.allclose(out, net(x + 0.1, t, prompt))
    assert not torch.allclose(out, net(x, t + 100, prompt))
    for word in range(3):
        changed = prompt.clone()
        changed[:, word] = 12
        difference = (out - net(x, t, changed)).abs().flatten(1).max(1).values
        assert (difference > 1e-5).all(), f"word {word} is not seen"


def test_a_unet_takes_each_pixel_of_a_patch_as_a_channel_and_puts_it_back():
    net, (x, t, prompt) = awake("unet", side=28, patch=2), batch(28)
    seen = {}
    net.stem.register_forward_hook(lambda _, inputs, out: seen.update(stem=inputs[0]))
    net.head.register_forward_hook(lambda _, inputs, out: seen.update(head=out))
    out = net(x, t, prompt)
    assert out.shape == x.shape and seen["stem"].shape == seen["head"].shape == (3, 4, 14, 14)
    for i in (0, 1):
        for j in (0, 1):
            assert torch.equal(seen["stem"][:, 2 * i + j], x[:, 0, i::2, j::2])
            assert torch.equal(seen["head"][:, 2 * i + j], out[:, 0, i::2, j::2])
    for changes, said in (
        ({"patch": 3}, "patch 3 does not divide the image's side 28"),
        ({"patch": 4}, "2 resolutions do not fit an image of side 28 in patches of 4"),
    ):
        with pytest.raises(ValueError, match=said):
            awake("unet", side=28, **changes)


@pytest.mark.parametrize("name", NETWORKS)
def test_word_order_is_visible(name):
    net, (x, t, prompt) = awake(name), batch()
    difference = (net(x, t, prompt) - net(x, t, prompt.flip(1))).abs().flatten(1).max(1).values
    if name.startswith("dit"):  # its pooled prompt is a mean: order is invisible by construction
        assert float(difference.max()) < 1e-5
    else:
        assert (difference[:2] > 1e-5).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_images_of_a_batch_do_not_mix(name):
    net, (x, t, prompt) = awake(name), batch()
    alone = torch.cat([net(x[i : i + 1], t[i : i + 1], prompt[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(net(x, t, prompt), alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_trained(name):
    net, (x, t, prompt) = awake(name), batch()
    net(x, t, prompt).square().mean().backward()
    idle = [key for key, value in net.named_parameters() if value.grad is None or not value.grad.abs().max() > 0]
    assert idle == []


@pytest.mark.parametrize("name", NETWORKS)
def test_untrained_networks_predict_zero(name):
    x, t, prompt = batch()
    assert NETWORKS[name](8, True, **SIZES[name])(x, t, prompt).abs().max() == 0


def test_dit_blocks_start_as_the_identity():
    net = NETWORKS["dit"](8, True, **SIZES["dit"])
    h, c = torch.randn(2, 16, 16), torch.randn(2, 16)
    for block in net.blocks:
        torch.testing.assert_close(block(h, c), h)


def test_the_unet_of_ddpm_has_no_cross_attention_and_that_of_sd_has():
    names = {key: [name for name, _ in awake("unet", key).named_parameters()] for key in (False, True)}
    assert not any("cross" in name or "prompt" in name for name in names[False])
    assert any("cross_attention" in name for name in names[True])


def test_mmdit_streams_share_no_weights_and_attend_both_ways():
    net, (x, t, prompt) = awake("mmdit"), batch()
    block = net.blocks[0]
    text_ids, image_ids = ({id(p) for p in stream.parameters()} for stream in (block.text, block.image))
    assert text_ids and image_ids and not text_ids & image_ids
    shapes = [{name: p.shape for name, p in stream.named_parameters()} for stream in (block.text, block.image)]
    assert shapes[0] == shapes[1]
    tokens = net.prompt(prompt)
    c = net.time(t) + net.pooled(tokens)
    text, image = net.text_in(tokens), net.patches(x)
    new_text, new_image = block(text, image, c)
    # Other tokens, not the same ones shifted: the norm of a block would take a shift away.
    other_text, _ = block(text, torch.randn_like(image), c)
    _, other_image = block(torch.randn_like(text), image, c)
    assert float((new_text - other_text).abs().max()) > 1e-3, "the text does not see the image"
    assert float((new_image - other_image).abs().max()) > 1e-3, "the image does not see the text"


def test_the_last_text_stream_only_feeds_the_image():
    last = awake("mmdit").blocks[-1]
    assert last.text.pre_only and not hasattr(last.text, "mlp")
    assert last(torch.randn(2, 3, 16), torch.randn(2, 16, 16), torch.randn(2, 16))[0] is None


@pytest.mark.parametrize("side", [2, 4, 7])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_unets_own_operations_are_torchs(side, layout):
    """Faster ways to write a convolution of 2 x 2 maps, a 1 x 1 convolution and doubling: values and gradients."""
    torch.manual_seed(0)
    square, point = Conv3x3(5, 6).to(memory_format=layout), Pointwise(5, 6)
    pairs = [
        (square, lambda x: torch.nn.functional.conv2d(x, square.weight, square.bias, padding=1)),
        (point, lambda x: torch.nn.functional.conv2d(x, point.weight[:, :, None, None], point.bias)),
        (double, lambda x: torch.nn.functional.interpolate(x, scale_factor=2)),
    ]
    for ours, theirs in pairs:
        x = torch.randn(3, 5, side, side).to(memory_format=layout).requires_grad_()
        found, expected = ours(x), theirs(x)
        torch.testing.assert_close(found, expected)
        weights = list(ours.parameters()) if isinstance(ours, torch.nn.Module) else []
        upstream = torch.randn_like(expected)
        gradients = (torch.autograd.grad(out, [x, *weights], upstream) for out in (found, expected))
        for mine, other in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_come_back(patch):
    x = torch.randn(2, 1, 8, 8)
    tokens = patchify(x, patch)
    assert tokens.shape == (2, (8 // patch) ** 2, patch**2)
    assert torch.equal(unpatchify(tokens, patch), x)
    assert torch.equal(tokens[:, 0], x[:, 0, :patch, :patch].flatten(1))


def test_patch_positions_are_distinct():
    positions = patch_positions(14, 32)
    distance = torch.cdist(positions, positions) + torch.eye(196) * 10
    assert positions.shape == (196, 32) and distance.min() > 0.1


@pytest.mark.parametrize(
    ("name", "side", "conditional", "size", "problem"),
    [
        ("unet", 8, True, {"channels": [8, 16, 16, 16, 16]}, "do not fit an image of side 8"),
        ("unet", 8, True, {"channels": [7, 16]}, "must be even"),
        ("unet", 8, True, {"channels": [8, 15]}, "cannot be split among 2 heads"),
        ("dit", 28, True, {"patch": 3}, "does not divide"),
        ("dit", 8, True, {"width": 18}, "must be divisible"),
        ("mmdit", 8, False, {}, "needs prompts"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(name, side, conditional, size, problem):
    with pytest.raises(ValueError, match=problem):
        NETWORKS[name](side, conditional, **(SIZES[name] | size))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_modulation_and_gates_are_their_formulas_to_rounding(dtype):
    """One fused pass may round once where two passes round twice; mixed types widen, as under autocast."""
    torch.manual_seed(0)
    x, branch = torch.randn(5, 7, 8), torch.randn(5, 7, 8)
    shift, scale = torch.randn(2, 5, 8).to(dtype)
    want = x * (1 + scale).float()[:, None] + shift.float()[:, None]
    torch.testing.assert_close(modulate(x, shift, scale), want, rtol=0, atol=2e-6)
    torch.testing.assert_close(gated(x, scale, branch), x + scale.float()[:, None] * branch, rtol=0, atol=2e-6)
