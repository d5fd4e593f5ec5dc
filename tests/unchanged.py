"""Whether the rows of the smoke preset still train and sample to the same bytes as at another revision; run by hand.

``python tests/unchanged.py REVISION`` checks the revision out beside this tree, and trains each row there and here for
a few steps with one seed. It ends with 1 where weights or samples differ. Bytes are compared on one machine only:
kernels differ between machines and versions of torch.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = 6
CHECKSUMS = """
import dataclasses, hashlib, json, sys
import torch
from diffbench import cli, config, design, runs
from diffbench.data import captions, splits
from diffbench.device import prepare
from diffbench.diffusion import generate
from diffbench.runtime.places import Places
from diffbench.training.trainer import Trainer

sys.stdout, out = sys.stderr, sys.stdout
assert cli.main(["data", "smoke"]) == 0
params = runs.load("smoke")
training = dataclasses.replace(params.training, images=STEPS * params.training.batch_size, warmup=2)
params = dataclasses.replace(params, training=training)
device, dataset = prepare(params.compute), splits.load(Places("smoke").data)
found = {}
for key, row in params.paradigms.items():
    trainer = Trainer(params, row, 0, device, dataset)
    while trainer.done < trainer.steps:
        trainer.step()
    found[f"{key} weights"] = hashlib.sha256(trainer.weights.detach().numpy().tobytes()).hexdigest()
    found[f"{key} losses"] = hashlib.sha256(trainer.losses.numpy().tobytes()).hexdigest()
    with torch.no_grad():
        trainer.weights.copy_(trainer.ema)
    prompt = captions.captions(dataset, params.sampling.images, "scored") if row.conditional else None
    start = generate.starts(params.sampling.images, dataset.side, 0, "scored", device)
    for cell in design.all_cells(params, key, 0):
        images, nfe, _ = generate.generate(
            trainer.denoiser, cell, prompt, start, dataset.levels, params, 0, "scored"
        )
        found[f"{key} {cell.key}"] = f"{hashlib.sha256(images.tobytes()).hexdigest()} {nfe}"
print(json.dumps(found), file=out)
""".replace("STEPS", str(STEPS))


def checksums(tree: Path) -> dict[str, str]:
    """Of the code in a tree: of weights and losses of each row, and of the images of each of its cells."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("workflow", "params.yaml", "dvc.yaml"):
            (Path(folder) / name).symlink_to(tree / name)
        environment = os.environ | {"PYTHONPATH": str(tree / "src")}
        done = subprocess.run(
            [sys.executable, "-c", CHECKSUMS],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)


def main(revision: str) -> int:
    """Compare this tree with a revision; the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        subprocess.run(["git", "worktree", "add", "--detach", str(other), revision], cwd=ROOT, check=True)
        try:
            before = checksums(other)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(other)], cwd=ROOT, check=True)
    after = checksums(ROOT)
    moved = [name for name, value in before.items() if after.get(name) != value]
    total = hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:16]
    print(f"{len(before)} checksums of {revision} ({total}), {len(moved)} of them another now")
    print("\n".join(moved))
    return 1 if moved else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
