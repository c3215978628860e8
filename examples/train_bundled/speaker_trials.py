"""Voices and whose they are -> how well one can tell whether two are of the same person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from funasr.speakers.cluster import Voices, normalized


def trial_scores(
    voices: Voices, speakers: Sequence[str], recordings: Sequence[str] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """voices (N, E) -> cosines of (pairs of one person, pairs of two people), every pair once.

    recordings: pairs from one and the same recording are left out.
    """
    rows = normalized(voices)
    likeness = rows @ rows.T
    who, where = np.array(speakers), np.array(speakers if recordings is None else recordings)
    pairs = np.triu(np.ones(likeness.shape, dtype=bool), k=1)
    if recordings is not None:
        pairs &= where[:, None] != where[None, :]
    same = who[:, None] == who[None, :]
    return likeness[pairs & same], likeness[pairs & ~same]


def equal_error_rate(same: NDArray[np.float32], different: NDArray[np.float32]) -> tuple[float, float]:
    """(rate, threshold) where as large a share of `same` lies below as of `different` at or above."""
    scores = np.concatenate([same, different])
    order = np.argsort(scores, kind="stable")
    is_same = np.concatenate([np.ones(len(same)), np.zeros(len(different))])[order]
    # Threshold k lies just above the k lowest scores.
    missed = np.concatenate([[0.0], np.cumsum(is_same)]) / max(len(same), 1)
    false = 1 - np.concatenate([[0.0], np.cumsum(1 - is_same)]) / max(len(different), 1)
    at = int(np.argmin(np.abs(missed - false)))
    threshold = scores[order[min(at, len(scores) - 1)]]
    return float(missed[at] + false[at]) / 2, float(threshold)
