"""How much a score depends on which classifier was trained: the same samples, judged by several.

    python benchmarks/classifiers.py digits

The classifiers differ in nothing but their seed. Needs a finished run's results, samples included, and writes nothing.
It is why ``diffbench compare`` does not test these scores where two runs' classifiers differ.
"""

import argparse
import itertools
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from diffbench import config, design, rng, runs
from diffbench.data import splits
from diffbench.data.captions import captions
from diffbench.device import prepare
from diffbench.evaluation import classifier as judge
from diffbench.evaluation.fitting import fit
from diffbench.evaluation.metrics import adherence, frechet, manifold
from diffbench.evaluation.metrics.sets import Real, Samples
from diffbench.runtime import npz
from diffbench.runtime.places import Places

FAMILIES = (frechet.family, manifold.family, adherence.family)
SCORES = ("fid", "recall", "digit_error")


def trained(params: config.Params, dataset: splits.Dataset, number: int, device: torch.device) -> judge.Classifier:
    """The run's classifier for number 0, else one of another seed."""
    own = rng.seed_of
    with patch.object(rng, "seed_of", lambda *parts: own(*parts, *(["judge", number] if number else []))):
        return fit(params.classifier, dataset, device).eval()


def scored(params: config.Params, number: int, device: torch.device) -> pd.DataFrame:
    """SCORES of conditional cells at guidance 1 and of the real test images, a row a cell and seed."""
    places = Places(params.name)
    dataset = splits.load(places.data)
    network = trained(params, dataset, number, device)
    features, logits = {}, {}
    for name in ("train", "test"):
        images = splits.to_float(getattr(dataset, name).images, device)
        features[name], logits[name] = judge.apply(network, images)
    chosen = torch.from_numpy(npz.load_arrays(places.reference)["manifold_rows"]).to(device)
    real = Real(
        features["train"], features["train"][chosen], params.evaluation.neighbours, dataset.bounds,
        dataset.train.images, dataset.train.labels, dataset.test.images,
    )  # fmt: skip
    families = [family(real) for family in FAMILIES]

    def scores(samples: Samples) -> dict[str, float]:
        values = {key: value for family in families for key, value in family(samples).items()}
        return {name: values[name] for name in SCORES}

    test = Samples(dataset.test.images, features["test"], logits["test"], dataset.test.prompts)
    rows = [{"cell": "real", "seed": -1} | scores(test)]
    prompt = captions(dataset, params.sampling.images, "scored")
    conditional = [key for key, row in params.paradigms.items() if row.conditional]
    for key, seed, steps in itertools.product(conditional, params.seeds, map(str, params.sampling.steps)):
        drawn = npz.load_arrays(places.samples(key, seed, steps))["images"]
        for cell, images in zip(design.cells(params, key, seed, steps), drawn, strict=True):
            if cell.guidance == 1:
                samples = Samples(images, *judge.apply(network, splits.to_float(images, device)), prompt)
                rows.append({"cell": f"{key} {cell.sampler} {steps}", "seed": seed} | scores(samples))
    return pd.DataFrame(rows).assign(classifier=number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="params.yaml's name, or a preset's")
    parser.add_argument("--classifiers", type=int, default=6)
    arguments = parser.parse_args()
    params = runs.load(arguments.run)
    device = prepare(params.compute)
    table = pd.concat([scored(params, number, device) for number in range(arguments.classifiers)])
    table["log FID"] = np.log(table.fid)
    real = table[table.cell == "real"].set_index("classifier")
    table["log FID over the real images'"] = table["log FID"] - table.classifier.map(real["log FID"])
    names = ["log FID", "log FID over the real images'", "recall", "digit_error"]
    cells = table[table.cell != "real"]
    between = cells.groupby(["cell", "classifier"])[names].mean().groupby("cell").std()
    within = cells.groupby(["cell", "classifier"])[names].std().groupby("cell").mean()
    print(real[list(SCORES)].round(4).to_string())
    medians = {"between classifiers": between.median(), "between training seeds": within.median()}
    print("\nstandard deviation, median over cells\n" + pd.DataFrame(medians).round(4).to_string())


if __name__ == "__main__":
    main()
