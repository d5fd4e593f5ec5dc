"""What a cell shows for what was asked: which word for which, and the worst samples."""

from typing import Any

import numpy as np
import torch

from diffbench.data import prompts
from diffbench.data.vocabulary import FIRST_SLANT, FIRST_WEIGHT, VOCABULARY
from diffbench.tables import pictures

AXES = ("digit", "weight", "slant")  # the words of a prompt, in order
FIRST = (0, FIRST_WEIGHT, FIRST_SLANT)


def _counts(asked: np.ndarray, shown: np.ndarray) -> list[tuple[int, int, int]]:
    """How often each value was shown where each was asked for, pairs that never occur left out."""
    pairs, counts = np.unique(np.stack([asked, shown], axis=1), axis=0, return_counts=True)
    return [(int(one), int(other), int(count)) for (one, other), count in zip(pairs, counts, strict=True)]


def confusion(shown: np.ndarray, prompt: np.ndarray) -> list[dict[str, int]]:
    """How often each digit (N,) was seen where each was asked for (N, 3), pairs that never occur left out."""
    found = _counts(prompt[:, 0], shown)
    return [{"asked": asked, "shown": seen, "images": count} for asked, seen, count in found]


def word_confusion(images: np.ndarray, prompt: np.ndarray, bounds: np.ndarray) -> list[dict[str, Any]]:
    """How often each weight and slant was measured in images (N, H, W) where each was asked for (N, 3).

    With the bounds (2, 10, 2) of the digit asked for, as the errors are. Pairs that never occur are left out.
    """
    shown = prompts.caption(images, prompt[:, 0], bounds)
    return [
        {"axis": AXES[axis], "asked": VOCABULARY[asked], "shown": VOCABULARY[seen], "images": count}
        for axis in (1, 2)
        for asked, seen, count in _counts(prompt[:, axis], shown[:, axis])
    ]


def departure(images: np.ndarray, prompt: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """How far weight and slant of images (N, H, W) lie outside of the word asked for (N, 3), to (2, N).

    In widths of the middle word of the digit asked for; at most 0 inside of the word. Bounds are (2, 10, 2).
    """
    found = []
    for values, bound, axis in zip((prompts.weight(images), prompts.slant(images)), bounds, (1, 2), strict=True):
        inner = bound[prompt[:, 0]]  # (N, 2), between the three words
        edges = np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (-np.inf, np.inf)))  # (N, 4)
        word = prompt[:, axis, None] - FIRST[axis]  # (N, 1)
        low, high = (np.take_along_axis(edges, word + side, axis=1)[:, 0] for side in (0, 1))
        width = np.maximum(inner[:, 1] - inner[:, 0], np.finfo(np.float64).tiny)
        found.append(np.maximum(low - values, values - high) / width)
    return np.stack(found)


def failures(
    images: np.ndarray, logits: torch.Tensor, prompt: np.ndarray | None, bounds: np.ndarray
) -> dict[str, list[dict[str, Any]]]:
    """The worst samples of a cell, at most ten of a kind, each with its index, digit and confidence.

    "wrong" are those the classifier takes for another digit than asked for, the surest first; "unsure" are, of the
    others, those it is least sure of. "weight" and "slant" are, of the same others, those with another word than asked
    for, the farthest from it first.

    Args:
        images: uint8, (N, H, W).
        logits: of the classifier, (N, 10).
        prompt: what was asked for, (N, 3), or None.
        bounds: of weight and slant, (2, 10, 2).
    """
    confidence, shown = (value.cpu().numpy() for value in logits.double().softmax(dim=1).max(dim=1))
    wrong = np.zeros(len(shown), bool) if prompt is None else shown != prompt[:, 0]
    order = np.argsort(confidence, kind="stable")
    kinds = {"wrong": order[::-1][wrong[order[::-1]]], "unsure": order[~wrong[order]]}
    words = np.zeros((len(shown), 3), int)
    if prompt is not None:
        words = prompts.caption(images, prompt[:, 0], bounds)
        for axis, far in zip((1, 2), departure(images, prompt, bounds), strict=True):
            first = np.argsort(-far, kind="stable")
            kinds[AXES[axis]] = first[(~wrong & (words[:, axis] != prompt[:, axis]))[first]]
    return {
        kind: [
            {"index": int(i), "shown": int(shown[i]), "confidence": float(confidence[i])}
            | ({} if prompt is None else {"asked": int(prompt[i, 0])})
            | _words(kind, words[i], None if prompt is None else prompt[i])
            for i in index[: pictures.COLUMNS]
        ]
        for kind, index in kinds.items()
    }


def _words(kind: str, shown: np.ndarray, prompt: np.ndarray | None) -> dict[str, str]:
    """The word asked for and the word measured of a failure of weight or slant."""
    if prompt is None or kind not in AXES:
        return {}
    axis = AXES.index(kind)
    return {"asked_word": VOCABULARY[prompt[axis]], "shown_word": VOCABULARY[shown[axis]]}
