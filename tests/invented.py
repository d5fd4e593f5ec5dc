"""A run with made-up numbers and pictures: every table of a preset's cells, without training anything."""

import numpy as np
import pandas as pd

from diffbench import config, design
from diffbench.data.vocabulary import SLANTS, WEIGHTS
from diffbench.runtime.places import Places
from diffbench.stages.aggregate import arm_row, chosen_guidance, ranked, summary
from diffbench.tables import pictures, schema, store
from diffbench.tables.factors import effects

WORDS = {"weight": WEIGHTS, "slant": SLANTS}


def scores(index: int, seed: int, steps: int, asked: bool) -> dict[str, float]:
    """A made-up value for every score but FID, recall and PCA-FID; errors only where something was asked for."""
    names = [column.name for column in schema.SCORES if column.name not in ("fid", "recall", "pca_fid")]
    found = {
        name: 0.02 * (place + 1) + 0.003 * index + 0.0007 * seed + 0.01234 / steps
        for place, name in enumerate(names)
        if asked or not name.endswith("_error")
    }
    return found | {"copied": found["copied"] / 100}  # a row of more than 5% would not be ranked


def judges(rows: dict[str, list[dict]], count: int = 2, factor=lambda judge: 1 + judge / 100) -> list[dict]:
    """What other classifiers say of made-up tables: the same scores, each times a factor of the judge's."""
    return [
        {"of": of, "judge": judge}
        | {name: row[name] for name in keys}
        | {name: row[name] * factor(judge) for name in schema.JUDGED if row.get(name) is not None}
        for judge in range(1, count + 1)
        for of, keys in schema.JUDGED_KEYS.items()
        for row in rows[of]
    ]


def invented(params: config.Params, spoil=frozenset()) -> dict[str, pd.DataFrame]:
    """Frames for every cell of a run with made-up numbers, and the pictures beside them."""
    rows = {name: [] for name in schema.TABLES}
    generator = np.random.default_rng(0)
    for index, (key, row) in enumerate(params.paradigms.items()):
        for seed in params.seeds:
            tag = {"paradigm": key, "seed": seed}
            bad = key in spoil
            status = "failed" if bad else "ok"
            count = 0
            for steps in design.step_values(params, key):
                for cell in design.cells(params, key, seed, steps):
                    count += pictures.STRIPS
                    own = cell.key
                    fid = None if bad else 1 + index + 10 / cell.steps + 0.1 * seed
                    rows["cells"].append(
                        tag | own | {"nfe": None if bad else cell.steps, "status": status, "native": steps == "native"}
                        | {"images": 50, "fid": fid, "recall": None if bad else 0.5}
                        | {"pca_fid": None if bad else fid / 10}
                        | ({} if bad else scores(index, seed, cell.steps, row.conditional and cell.guidance > 0))
                    )  # fmt: skip
                    rows["cost"].append(
                        tag | own | {"stage": "sample", "seconds_per_1000": None if bad else 0.1 * cell.steps}
                    )
            if row.conditional:
                rows["selection"] += [
                    tag | {"sampler": row.samplers[0], "guidance": s, "fid": None if bad else s}
                    for s in design.base_scales(params, key)
                ]
            for seen in (100, 200):
                rows["convergence"].append(
                    tag | {"images": seen, "status": status, "fid": None if bad else index + 100 / seen}
                )
            rows["cost"].append(tag | {"stage": "train", "sampler": "", "arm": "", "steps": 9, "seconds_per_1000": 0.5})
            for within in params.convergence.within:
                reached = {"images": None if bad else 200, "censored": bad, "budget": 200}
                rows["thresholds"].append(tag | {"within": within, "fid": within / 2} | reached)
            for low in (0.0, 0.5):
                level = {"axis": "t", "low": low, "high": low + 0.5, "images": 50}
                rows["noise_error"].append(tag | level | {"x0_error": None if bad else low + 0.1 * (index + 1)})
            lengths = {"path_over_chord": 1.1 + index / 10, "velocity_deviation": 0.02 + index / 50 + 0.001 * seed}
            straight = {"reason": "failed"} if bad else lengths | {"reason": ""}
            exact = {"exact_path_over_chord": 1.01, "exact_velocity_deviation": 0.021}
            rows["straightness"].append(tag | {"steps": 8, "images": 50} | exact | straight)
            rows["training"] += [tag | {"images": n, "loss": 1 / n, "status": status} for n in (100, 200)]
            for scale in design.base_scales(params, key):
                tag_ = tag | {"guidance": float(scale)}
                for kind in ("wrong", "unsure", "weight", "slant") if row.conditional and not bad else ():
                    where = {"kind": kind, "place": 0, "strip": 0, "index": 7}
                    if kind in WORDS:
                        where |= {"asked_word": WORDS[kind][2], "shown_word": WORDS[kind][1]}
                    rows["failures"].append(tag_ | where | {"asked": 4, "shown": 9, "confidence": 0.8})
                pair = {"sampler": row.samplers[0], "steps": params.sampling.guidance.sweep_steps, "arm": ""}
                for asked, shown, images in ((4, 4, 9), (4, 9, 1)) if row.conditional and not bad else ():
                    rows["confusion"].append(tag_ | pair | {"asked": asked, "shown": shown, "images": images})
                for axis, words in WORDS.items() if row.conditional and not bad else ():
                    rows["word_confusion"] += [
                        tag_ | pair | {"axis": axis, "asked": words[2], "shown": words[place], "images": place + 1}
                        for place in range(3)
                    ]
            places = Places(params.name)
            frames = 2 * (params.probe.frames + 1)
            for path, strips in (
                (places.evaluation(key, seed).with_suffix(".png"), count),
                (places.failures(key, seed), 4),
                (places.convergence(key, seed).with_suffix(".png"), 2),
                (places.probe(key, seed).with_suffix(".png"), frames),
            ):
                pictures.sheet(generator.integers(0, 256, (strips, 10, 8, 8), np.uint8), path)
    data = Places(params.name).data
    data.parent.mkdir(parents=True, exist_ok=True)
    real = generator.integers(0, 256, (30, 8, 8), np.uint8)
    np.savez(data, test_images=real, test_labels=np.arange(30) % 10, train_images=real[::-1])
    rows["arms"] = [
        arm_row(key, cell, params.compute.precision)
        for key in params.sampling.arms
        for cell in design.cells(params, key, params.seeds[0], "arms")
    ]
    rows["prompts"] = [{"place": place, "prompt": f"bold upright {place % 10}"} for place in range(20)]
    rows["floors"] = [
        scores(0, 0, 1000, True)
        | {"split": "test", "images": 50, "fid": 0.5, "pca_fid": 0.04321, "recall": 0.9}
        | {"digit_error": 0.01, "joint_error": 0.06, "brightness": 0.3}
    ]
    rows["provenance"] = [
        {"key": "commit", "value": "abc"},
        {"key": "device", "value": "cpu"},
        {"key": "precision", "value": "float32"},
    ]
    cells, selection = store.frame("cells", rows["cells"]), store.frame("selection", rows["selection"])
    for key, row in params.paradigms.items():
        guidance = chosen_guidance(selection, key) if row.conditional else 0.0
        rows["paradigms"].append(
            {
                name: getattr(row, name)
                for name in ("label", "role", "network", "path", "target", "times", "conditional", "lr")
            }
            | {"paradigm": key, "parameters": 1000, "macs": 10**6, "guidance": guidance}
            | {"seeds_ok": 0 if key in spoil else len(params.seeds)}
            | summary(cells, key, row.samplers[0], guidance, 2 * 0.5)
        )
    rows["effects"] = effects(cells, store.frame("arms", rows["arms"]), store.frame("paradigms", rows["paradigms"]))
    rows["judges"] = judges(rows)
    frames = {name: store.frame(name, rows[name]) for name in schema.TABLES}
    frames |= {"paradigms": ranked(frames["paradigms"])}
    store.write(Places(params.name).tables, frames)  # which the page carries in itself
    return frames
