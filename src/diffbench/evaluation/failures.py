"""What the classifier saw in a cell: which digit for which, and the worst samples."""

from typing import Any

import numpy as np
import torch

from diffbench.tables import pictures


def confusion(shown: np.ndarray, prompt: np.ndarray) -> list[dict[str, int]]:
    """How often each digit (N,) was seen where each was asked for (N, 3), pairs that never occur left out."""
    pairs, counts = np.unique(np.stack([prompt[:, 0], shown], axis=1), axis=0, return_counts=True)
    return [
        {"asked": int(asked), "shown": int(seen), "images": int(count)}
        for (asked, seen), count in zip(pairs, counts, strict=True)
    ]


def failures(logits: torch.Tensor, prompt: np.ndarray | None) -> dict[str, list[dict[str, Any]]]:
    """The worst samples of a cell, at most ten of a kind, each with its index, digit and confidence.

    "wrong" are those the classifier takes for another digit than asked for, the surest first; "unsure" are, of the
    others, those it is least sure of.

    Args:
        logits: of the classifier, (N, 10).
        prompt: what was asked for, (N, 3), or None.
    """
    confidence, shown = (value.cpu().numpy() for value in logits.double().softmax(dim=1).max(dim=1))
    wrong = np.zeros(len(shown), bool) if prompt is None else shown != prompt[:, 0]
    order = np.argsort(confidence, kind="stable")
    kinds = {"wrong": order[::-1][wrong[order[::-1]]], "unsure": order[~wrong[order]]}
    return {
        kind: [
            {"index": int(i), "shown": int(shown[i]), "confidence": float(confidence[i])}
            | ({} if prompt is None else {"asked": int(prompt[i, 0])})
            for i in index[: pictures.COLUMNS]
        ]
        for kind, index in kinds.items()
    }
