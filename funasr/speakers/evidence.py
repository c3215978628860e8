"""Windows of speech -> speakers, where it is known how far voices of one and of several people lie apart.

For networks to which a window says little. What counts is not how alike two groups of windows are on average,
but whether the evidence is that one person made both, and evidence grows with the number of windows. Where
there is little of it, everybody is one speaker.

A window has the voice of its speaker plus noise with a variance of 1 in each direction; the voices of people
are normal, with a variance of their own in each direction. Groups are merged while that makes what was heard
likelier. Then a hidden Markov model, whose states are the groups, has each window reconsidered along with its
neighbours, and gives up speakers nobody needs: VBx of Landini et al. 2022 (arXiv:2012.14952).

N windows, E numbers a voice, D directions, K groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.errors import OptionError

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]

AT_ONCE = 400
"""Windows merged by themselves before their groups meet those of others."""
ROUNDS = 20
WEIGHT = 0.4
STAY = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What a network's voices are like. Raises OptionError for numbers that make no sense."""

    between: tuple[float, ...]
    """(D,) Variance of people's voices, of length 1, in each of the first D directions."""
    within: tuple[float, ...]
    """(D,) Variance of the voices of one person's windows."""
    weight: float = WEIGHT
    """Of a window, as windows overlap, and those of one recording have more in common than a speaker."""
    stay: float = STAY
    """Probability that the next window has the same speaker in any case; else it has one drawn anew."""

    def __post_init__(self) -> None:
        for name, least in (("weight", 0), ("stay", 0)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not least < value <= 1:
                raise OptionError(f"{name} is {value!r}; it is more than 0 and at most 1")
        for name in ("between", "within"):
            value = getattr(self, name)
            if not value or not all(isinstance(x, (int, float)) and x > 0 for x in value):
                raise OptionError(f"{name} is {value!r}; it is a positive number for each direction")
        if len(self.between) != len(self.within):
            raise OptionError(
                f"within has {len(self.within)} directions and between {len(self.between)}; expected as many"
            )

    @property
    def ratios(self) -> Rows:
        """(D,) How much people differ, in units of how much one person's windows do."""
        ratios: Rows = np.array(self.between) / np.array(self.within)
        return ratios

    def white(self, voices: NDArray[Any]) -> Rows:
        """voices (N, E) of any lengths -> (N, D) with a variance of 1 within people."""
        rows = np.asarray(voices, dtype=np.float64)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        scaled: Rows = rows[:, : len(self.within)] / np.sqrt(self.within)
        return scaled


def part(voices: NDArray[Any], spread: Spread, *, at_least: int = 1, at_most: int = 15) -> Labels:
    """voices (N, E) in the order of time -> labels (N,), of `at_least` to `at_most` speakers."""
    if len(voices) == 0:
        return np.zeros(0, dtype=np.int64)
    x, phi = spread.white(voices), spread.ratios
    labels, found = np.zeros(len(x), dtype=np.int64), 0
    for start in range(0, len(x), AT_ONCE):
        chunk = slice(start, start + AT_ONCE)
        weights: Rows = np.full(len(x[chunk]), spread.weight, dtype=np.float64)
        own = merge(spread.weight * x[chunk], weights, phi, at_least, len(x))
        labels[chunk] = own + found
        found = int(labels[chunk].max()) + 1
    counts: Rows = spread.weight * np.bincount(labels).astype(np.float64)
    sums = np.zeros((found, len(phi)))
    np.add.at(sums, labels, spread.weight * x)
    labels = merge(sums, counts, phi, at_least, at_most)[labels]
    followed = follow(x, labels, spread, forget=at_least < int(labels.max()) + 1)
    enough = len(np.unique(followed)) >= min(at_least, len(x))
    return followed if enough else labels


def merge(sums: Rows, counts: Rows, phi: Rows, at_least: int, at_most: int) -> Labels:
    """Groups of counts (K,) windows with sums (K, D) -> labels (K,) 0, 1, ... of what they are merged to."""
    sums, counts = sums.copy(), counts.copy()
    labels = np.arange(len(sums))
    alive = np.ones(len(sums), dtype=bool)
    own = _evidence(sums, counts, phi)
    gains = np.full((len(sums), len(sums)), -np.inf)
    for index in range(len(sums) - 1):
        rest = slice(index + 1, None)
        gains[index, rest] = _evidence(sums[index] + sums[rest], counts[index] + counts[rest], phi)
        gains[index, rest] -= own[index] + own[rest]
    left = len(sums)
    while left > at_least:
        first, second = divmod(int(gains.argmax()), len(sums))
        if gains[first, second] < 0 and left <= at_most:
            break
        sums[first] += sums[second]
        counts[first] += counts[second]
        own[first] = _evidence(sums[first], counts[first], phi)
        labels[labels == second] = first
        alive[second], left = False, left - 1
        gains[second], gains[:, second] = -np.inf, -np.inf
        others = np.flatnonzero(alive)
        others = others[others != first]
        both = _evidence(sums[first] + sums[others], counts[first] + counts[others], phi)
        gains[np.minimum(first, others), np.maximum(first, others)] = both - own[first] - own[others]
    numbers: Labels = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return numbers


def _evidence(sums: Rows, counts: Rows | float, phi: Rows) -> Rows:
    """(..., D) -> (...): log likelihood of windows of one speaker, less what is the same however they are
    parted."""
    grown = 1 + np.asarray(counts)[..., None] * phi
    evidence: Rows = 0.5 * (phi * sums**2 / grown - np.log(grown)).sum(axis=-1)
    return evidence


def follow(x: Rows, labels: Labels, spread: Spread, *, forget: bool) -> Labels:
    """x (N, D) with variance 1 within people, labels 0 to K - 1 to begin with -> labels (N,).

    forget: speakers of whom little is heard fade away.
    """
    phi, weight, stay = spread.ratios, spread.weight, spread.stay
    count = int(labels.max()) + 1
    if count == 1:
        return labels
    shares: Rows = np.full(count, 1 / count)
    beliefs = np.where(np.arange(count) == labels[:, None], 0.9, 0.1 / (count - 1))
    for _ in range(ROUNDS):
        variance = 1 / (1 + weight * beliefs.sum(axis=0)[:, None] * phi)
        means = weight * variance * np.sqrt(phi) * (beliefs.T @ x)
        scores = weight * ((x * np.sqrt(phi)) @ means.T - 0.5 * (variance + means**2) @ phi)
        likely = np.exp(scores - scores.max(axis=1, keepdims=True))
        before, ahead = np.empty_like(likely), np.ones_like(likely)
        before[0] = likely[0] * shares
        before[0] /= before[0].sum()
        for t in range(1, len(x)):
            before[t] = likely[t] * (stay * before[t - 1] + (1 - stay) * shares)
            before[t] /= before[t].sum()
        for t in range(len(x) - 2, -1, -1):
            seen = likely[t + 1] * ahead[t + 1]
            ahead[t] = stay * seen + (1 - stay) * (shares @ seen)
            ahead[t] /= ahead[t].sum()
        updated = before * ahead
        updated /= updated.sum(axis=1, keepdims=True)
        if forget:
            fresh = (likely * ahead)[1:] * shares
            chance = (
                (1 - stay)
                * fresh
                / ((likely * ahead)[1:] * (stay * before[:-1] + (1 - stay) * shares)).sum(
                    axis=1, keepdims=True
                )
            )
            shares = updated[0] + chance.sum(axis=0)
            shares /= shares.sum()
        done = np.abs(updated - beliefs).max() < 1e-3
        beliefs = updated
        if done:
            break
    return np.unique(beliefs.argmax(axis=1), return_inverse=True)[1].astype(np.int64)
