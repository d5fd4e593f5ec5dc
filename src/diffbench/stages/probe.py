"""The probe stage: what a trained network gets wrong at each noise level, and how straight its trajectories are."""

from itertools import pairwise

import numpy as np
import torch

from diffbench import rng
from diffbench.config.models import Params
from diffbench.data import splits, vocabulary
from diffbench.data.captions import captions
from diffbench.data.combinations import among
from diffbench.device import prepare
from diffbench.diffusion import model
from diffbench.diffusion.denoiser import Denoiser
from diffbench.diffusion.generate import quantise, starts
from diffbench.diffusion.guidance import Guided
from diffbench.diffusion.times import sampling_times
from diffbench.evaluation.exact_flow import exact_straightness
from diffbench.evaluation.probe import covers, denoising, errors, levels_in, straightness, trajectory
from diffbench.runtime.files import write_json
from diffbench.runtime.places import Places
from diffbench.tables import pictures


def film(denoiser: Denoiser, params: Params, dataset: splits.Dataset, seed: int, conditional: bool) -> np.ndarray:
    """The denoising of one sample for each digit as uint8 strips, (2 * (frames + 1), 10, H, W): x_t, then x0.

    The same noise and prompts as in the scored cells that are shown, at guidance 1, or 0 where nothing is asked for.
    """
    device, sampling = next(denoiser.parameters()).device, params.sampling
    prompt = captions(dataset, sampling.images, "scored")
    index = torch.from_numpy(pictures.shown_samples(prompt)[: pictures.COLUMNS])
    noise = starts(sampling.images, dataset.side, seed, "scored", device)[index.to(device)]
    asked = torch.from_numpy(prompt)[index].to(device) if conditional else None
    null = torch.full((vocabulary.LENGTH,), vocabulary.NULL, device=device)
    guided = Guided(denoiser, asked, null, 1.0 if conditional else 0.0, clip=sampling.clip)
    ts = sampling_times("trailing", params.probe.frames, denoiser.path)
    held = torch.linspace(0, len(ts) - 1, params.probe.frames + 1).round().long()  # all, but where one step is all
    films = denoising(guided, denoiser.path, noise, ts)
    both = torch.cat([film[held] for film in films])  # (2 (frames + 1), B, 1, H, W)
    shape = both.shape[:2]
    return quantise(torch.nan_to_num(both.flatten(0, 1)), dataset.levels).reshape(*shape, *both.shape[-2:])


def run(params: Params, paradigm_id: str, seed: int) -> None:
    """Write errors by noise level on the test split, the straightness of trajectories, and a film of the denoising.

    Straightness is also that of the exact flow, on the same noise, prompts and times.

    Raises:
        UserError: no such device, or an input is missing or damaged.
    """
    device, places, probe = prepare(params.compute), Places(params.name), params.probe
    dataset, paradigm = splits.load(places.data), params.paradigms[paradigm_id]
    side = dataset.side
    path = places.train(paradigm_id, seed) / "model.safetensors"
    denoiser, status = model.load(path, paradigm, side, device)
    count = min(probe.images, len(dataset.test.images))
    x0 = splits.to_float(dataset.test.images[:count], device)
    asked = torch.from_numpy(dataset.test.prompts[:count]).to(device) if paradigm.conditional else None
    shape = (1, side, side)
    edges = [k / probe.bins for k in range(probe.bins + 1)]
    bins = [("t", *pair) for pair in pairwise(edges)] + [("log_snr", *pair) for pair in pairwise(probe.log_snr)]
    frames = np.zeros((2 * (probe.frames + 1), pictures.COLUMNS, side, side), np.uint8)
    rows, straight = [], {"path_over_chord": None, "velocity_deviation": None, "reason": "the training failed"}
    # In float32 whatever the params say: bf16 rounding of eps over the signal-to-noise ratio is a tenth of the error of
    # x0 at the noisiest levels, on one side of a comparison of targets only.
    with torch.inference_mode():
        for number, (axis, low, high) in enumerate(bins):
            if axis == "log_snr" and not covers(denoiser.path, low, high):
                continue  # this schedule never sees such noise
            eps = rng.image_noise(0, count, shape, 0, "probe", axis, number).to(device)
            u = (torch.arange(count, dtype=torch.float64, device=device) + 0.5) / count
            u = u[torch.randperm(count, generator=rng.generator("probe", axis, number)).to(device)]
            t = levels_in(denoiser.path, axis, low, high, u)
            x0_error, eps_error = errors(denoiser, x0, eps, asked, t) if status == "ok" else (None, None)
            row = {"axis": axis, "low": low, "high": high, "images": count}
            rows.append(row | {"x0_error": x0_error, "eps_error": eps_error})
        start = starts(count, side, seed, "scored", device)
        ts = sampling_times("trailing", probe.steps, denoiser.path)
        if status == "ok" and len(ts) == 2:  # a line by construction, which says nothing of the network
            straight["reason"] = "the path is taken in one step"
            frames = film(denoiser, params, dataset, seed, paradigm.conditional)
        elif status == "ok":
            null = torch.full((vocabulary.LENGTH,), vocabulary.NULL, device=device)
            guided = Guided(denoiser, asked, null, 1.0, clip=False)
            length, departure, reason = straightness(*trajectory(guided, denoiser.path, start, ts))
            straight = {"path_over_chord": length, "velocity_deviation": departure, "reason": reason}
            frames = film(denoiser, params, dataset, seed, paradigm.conditional)
        kept = ~among(dataset.train.prompts, dataset.withheld)
        images = splits.to_float(dataset.train.images[kept], device)
        have = torch.from_numpy(dataset.train.prompts[kept]).to(device) if paradigm.conditional else None
        length, departure = exact_straightness(denoiser.path, images, have, start, asked, ts)
        straight |= {"exact_path_over_chord": length, "exact_velocity_deviation": departure}
        straight |= {name: None for name, value in straight.items() if value != value}
    straight |= {"steps": probe.steps, "images": count}
    target = places.probe(paradigm_id, seed)
    pictures.sheet(frames, target.with_suffix(".png"))
    write_json(target, {"noise_error": rows, "straightness": straight})
