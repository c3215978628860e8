"""Parts of the training sentences as hotwords, drawn anew in every epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from funasr.train.data import Example, ExampleSource

MOST = 2
"""Hotwords of one sentence."""
REACH = 7
"""Tokens of a hotword behind its first one, at most."""


class HotwordExamples:
    """An `ExampleSource` whose examples say which parts of them are hotwords."""

    def __init__(self, speech: ExampleSource, *, seed: int = 0) -> None:
        self._speech, self._seed = speech, seed

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        return self._speech.lengths(epoch)

    def load(self, epoch: int, index: int) -> Example:
        example = self._speech.load(epoch, index)
        rng = np.random.default_rng((self._seed, epoch, index, 1))
        return replace(example, places=draw_places(len(example.target), rng))


def draw_places(size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A sentence of so many tokens -> (MOST, 2) first and last place of its hotwords, -1 for none.

    As upstream: one sentence in four has none; of the longer ones one in ten has two.
    """
    none = (-1, -1)
    found = [none, none]
    if size >= 2 and rng.random() < 0.75:
        if size == 2:
            found[0] = (0, 1)
        elif size > 12 and rng.random() < 0.1:
            first = int(rng.integers(0, size // 3 + 1))
            last = int(rng.integers(first + 1, first + min(REACH + 1, size // 2)))
            second = int(rng.integers(last + 1, size - 1))
            found = [(first, last), (second, _end(second, size, rng))]
        else:
            first = int(rng.integers(0, size - 1))
            found[0] = (first, _end(first, size, rng))
    return np.array(found, dtype=np.int64)


def _end(first: int, size: int, rng: np.random.Generator) -> int:
    """One to REACH tokens further, within the sentence."""
    return int(rng.integers(min(size - 1, first + 1), min(size - 1, first + REACH) + 1))
