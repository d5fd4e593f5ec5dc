"""Whether smaller batches sample faster, as they might where they fit a cache.

    python benchmarks/batches.py

Every network of the recipes, evaluated on a cell's images (both halves of guidance where it follows prompts) in one
batch and in smaller ones: milliseconds for all images. Taken in turns, so that a busy machine slows every size alike.
"""

import statistics
import sys
import time

import torch
from common import arguments, circumstances, setting, write
from floors import kinds

from diffbench import device, meters
from diffbench.data import vocabulary
from diffbench.data.sources import image_side
from diffbench.diffusion import generate, model

PARTS = (1, 2, 4, 8, 16)  # batches that a cell's images are taken in


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    options = arguments(__doc__, argv, rounds=7)
    params, where = setting(options.preset)
    torch.set_num_threads(params.compute.threads)
    images = min(params.sampling.images, params.sampling.batch_size)
    facts = circumstances(params, where) | {"images": str(images)}
    print("\n".join(f"{key}: {value}" for key, value in facts.items()), end="\n\n")
    sizes = sorted({-(-images // parts) for parts in PARTS})
    print(f"{'':<10}" + "".join(f"{f'{size} a batch':>16}" for size in sizes))
    found = {}
    for key in dict.fromkeys(kinds(params).values()):
        row, side = params.paradigms[key], image_side(params)
        denoiser = model.on_device(model.build(row, side), where).eval().requires_grad_(False)
        halves = 2 if row.conditional else 1
        x = generate.starts(images, side, 0, "scored", where).repeat(halves, 1, 1, 1)
        t = torch.full((len(x),), 0.5, device=where)
        prompt = torch.full((len(x), vocabulary.LENGTH), vocabulary.NULL, device=where) if row.conditional else None
        taken: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(options.rounds + 1):  # the first settles caches and kernels
            for size in sizes:
                with torch.no_grad(), device.autocast(where, params.compute.precision):
                    meters.synchronise(where)
                    started = time.perf_counter()
                    for part in torch.arange(len(x), device=where).split(halves * size):
                        denoiser.output(x[part], t[part], None if prompt is None else prompt[part])
                    meters.synchronise(where)
                taken[size].append(1e3 * (time.perf_counter() - started))
        found[key] = {size: statistics.median(each[1:]) for size, each in taken.items()}
        print(f"{key:<10}" + "".join(f"{found[key][size]:>13.1f} ms" for size in sizes), flush=True)
    write(options.json, facts, {"milliseconds": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
