"""Whether several seeds of a row trained as one batched network are faster than one after the other.

    python benchmarks/seeds.py

Each network of a preset with as many sets of weights as the run has seeds, at least two, each on images, noise and
times of its own: forward and backward of a training step one network after the other, against ``torch.func.vmap`` over
their stacked weights, which makes grouped convolutions and batched products of them. Likewise an evaluation without
gradients. How far outputs and gradients are apart is printed beside the times, as a share of their size.
"""

import copy
import sys
from collections.abc import Callable

import torch
from common import alternate, arguments, circumstances, measured, setting, show, write
from floors import kinds
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from diffbench.data import vocabulary
from diffbench.data.sources import image_side
from diffbench.device import autocast
from diffbench.diffusion import model
from diffbench.training.trainer import disagreement


def together(nets: list[nn.Module]) -> tuple[dict[str, Tensor], Callable[..., Tensor]]:
    """The stacked weights of networks of one kind, and their forward on stacked arguments, each (S, B, ...)."""
    weights, buffers = stack_module_state(nets)
    base = copy.deepcopy(nets[0]).to("meta")

    def one(own: dict[str, Tensor], fixed: dict[str, Tensor], *inputs: Tensor) -> Tensor:
        return functional_call(base, (own, fixed), inputs)

    return weights, lambda *inputs: vmap(one)(weights, buffers, *inputs)


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


def main(argv: list[str] | None = None) -> int:
    """Print the tables."""
    options = arguments(__doc__, argv, rounds=9)
    params, where = setting(options.preset)
    torch.set_num_threads(params.compute.threads)
    side, count = image_side(params), max(2, len(params.seeds))
    batch, images = params.training.batch_size, min(params.sampling.images, params.sampling.batch_size)
    rows = []
    for key in dict.fromkeys(kinds(params).values()):
        row = params.paradigms[key]
        nets: list[nn.Module] = []
        for seed in range(count):
            torch.manual_seed(seed)
            net = model.on_device(model.build(row, side), where).net
            for parameter in net.parameters():  # zero-initialised outputs would pass no gradient on
                nn.init.normal_(parameter, std=0.05)
            nets.append(net)
        weights, forward = together(nets)

        def drawn(size: int, conditional: bool = row.conditional) -> list[Tensor]:
            x = torch.randn(count, size, 1, side, side, device=where)
            prompt = torch.full((count, size, vocabulary.LENGTH), vocabulary.NULL, device=where)
            return [x, 1000 * torch.rand(count, size, device=where), *([prompt] if conditional else [])]

        inputs, many = drawn(batch), drawn(images)

        def step_apart(nets: list[nn.Module] = nets, inputs: list[Tensor] = inputs) -> None:
            for index, net in enumerate(nets):
                net.zero_grad(set_to_none=True)
                with autocast(where, params.compute.precision):
                    out = net(*(value[index] for value in inputs))
                out.float().square().mean().backward()

        def step_together(weights=weights, forward=forward, inputs: list[Tensor] = inputs) -> None:
            for weight in weights.values():
                weight.grad = None
            with autocast(where, params.compute.precision):
                out = forward(*inputs)  # (S, B, 1, H, W)
            out.float().square().mean(dim=(1, 2, 3, 4)).sum().backward()

        def sample_apart(nets: list[nn.Module] = nets, many: list[Tensor] = many) -> list[Tensor]:
            with torch.no_grad(), autocast(where, params.compute.precision):
                return [net(*(value[index] for value in many)) for index, net in enumerate(nets)]

        def sample_together(forward=forward, many: list[Tensor] = many) -> Tensor:
            with torch.no_grad(), autocast(where, params.compute.precision):
                return forward(*many)

        step_apart(), step_together()
        # A bias before a normalisation has no gradient but rounding; ``disagreement`` counts that as little.
        gradients = max(
            disagreement(
                [p.grad for p in net.parameters()], [weights[name].grad[index] for name, _ in net.named_parameters()]
            )
            for index, net in enumerate(nets)
        )
        agree = {
            "outputs": apart(sample_together().float(), torch.stack(sample_apart()).float()),
            "gradients": gradients,
        }
        note = f"outputs {agree['outputs']:.0e}, gradients {agree['gradients']:.0e} apart"
        pairs = alternate(step_together, step_apart, options.rounds, where)
        rows.append(measured(f"{key}: training step, {count} seeds", None, pairs, note))
        pairs = alternate(sample_together, sample_apart, options.rounds, where)
        rows.append(measured(f"{key}: evaluation, {count} seeds", None, pairs))
    facts = circumstances(params, where) | {"batch": str(batch), "images": str(images)}
    print("ours: batched; theirs: one after the other")
    show(facts, rows)
    write(options.json, facts, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
