"""Continuous integrate-and-fire: one weight per frame -> where each token fires, and what it is made of.

Weights are summed along time; whenever the sum passes a threshold a token fires, and the frame's weight is
split between the token that ends and the one that begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TIMESTAMP_THRESHOLD = 0.9999
"""Where timestamp predictors fire: below one, so that weights that sum to N give N fires despite rounding."""


def cif_weights(
    alphas: NDArray[np.float32], *, threshold: float = 1.0
) -> tuple[NDArray[np.float32], list[int], float]:
    """(T,) weights -> the (U, T) share of each frame in each token, the frames they fire at, the rest.

    Every row of the matrix sums to the threshold; the rest is the weight after the last fire.
    """
    ends = _prefix_sums(np.asarray(alphas)) / threshold
    begins = np.concatenate([np.zeros(1), ends])[:-1]
    count = int(np.floor(ends[-1])) if ends.size else 0
    token = np.arange(count)[:, None]
    shares = np.minimum(ends, token + 1) - np.maximum(begins, token)
    fired_at = np.searchsorted(ends, np.arange(1, count + 1), side="left")
    rest = float(ends[-1] - count) * threshold if ends.size else 0.0
    return (np.maximum(shares, 0.0) * threshold).astype(np.float32), fired_at.tolist(), rest


def integrate(alphas: NDArray[np.float32], *, threshold: float = TIMESTAMP_THRESHOLD) -> NDArray[np.float32]:
    """(T,) weights -> (T,) running sums, each as it was before a fire took the threshold away from it.

    A frame fires where the result reaches the threshold, at most once. Added up frame by frame in float32, as
    upstream: in another order a sum that only just reaches the threshold may fall short of it.
    """
    peaks = np.empty(len(alphas), dtype=np.float32)
    limit = np.float32(threshold)
    total = np.float32(0.0)
    for frame, alpha in enumerate(np.asarray(alphas, dtype=np.float32)):
        total = total + alpha
        peaks[frame] = total
        if total >= limit:
            total = total - limit
    return peaks


def prefix_peaks(alphas: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T,) weights of a token predictor -> (T,) sums since the last fire; at least 1 where a token fires.

    A frame fires where the whole part of the sum over all frames so far grows.
    """
    sums = _prefix_sums(np.asarray(alphas)).astype(np.float32)
    whole = np.floor(sums)
    fires = np.diff(whole, prepend=np.float32(0.0)) > 0
    return (fires + (sums - whole)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Fired:
    """What integrate-and-fire makes of the weights of one chunk."""

    shares: NDArray[np.float32]
    """(U + 1, T) the part of each frame that is each token's; the last row is what is left for the next."""
    ends: NDArray[np.float32]
    """(U,) where each token fired: frame, and the part of it that was needed."""
    rest: float
    """Weight of the last row."""


def fire(alphas: NDArray[np.float32]) -> Fired:
    """(T,) weights, the first of them what the chunk before left -> tokens.

    Frame by frame in float32, as upstream: whether a sum that only just reaches 1 fires depends on its order.
    """
    shares = np.zeros((len(alphas) + 1, len(alphas)), dtype=np.float32)
    ends: list[float] = []
    one = np.float32(1.0)
    held = np.float32(0.0)
    for frame, alpha in enumerate(alphas):
        token = len(ends)
        total = held + alpha
        if total < one:
            shares[token, frame] = alpha
            held = total
        else:
            shares[token, frame] = one - held
            ends.append(frame + float(one - held) / float(alpha))
            held = total - one
            shares[token + 1, frame] = held
    return Fired(shares[: len(ends) + 1], np.array(ends, dtype=np.float32), float(held))


def _prefix_sums(alphas: NDArray[np.float32]) -> NDArray[np.float64]:
    """Summed in float64 and rounded to float32, so that weights scaled to sum to N do reach N."""
    return np.cumsum(alphas, dtype=np.float64).astype(np.float32).astype(np.float64)
