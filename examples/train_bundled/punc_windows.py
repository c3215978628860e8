"""Blocks of punctuated text -> training examples cut like the windows that a text is read in.

The released models read 20 words, then what follows the last sentence end again with 20 more, so a window
begins with a sentence and mostly ends within one. How the text is cut in an epoch depends on the number of
the epoch alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from punc_data import IGNORED, LISTS, QUESTION, STOP, Block
from punc_words import UNKNOWN, Words

from funasr.train.data import Example

SHORTEST, LONGEST = 12, 72
"""Words of most windows."""
LONG_SHARE, VERY_LONG = 0.06, 200
WHOLE_SENTENCES = 0.4
"""Share of windows that end where a sentence does, as the last one of a text."""
WITHIN_A_SENTENCE = 0.12
"""Share of windows that begin within one: a detector cuts there, and so does a mark set wrongly."""


class Windows:
    """An ExampleSource for the training loop: `features` (T, 1) are word ids, `target` (T,) labels."""

    def __init__(
        self,
        blocks: Sequence[Block],
        words: Words,
        *,
        seed: int,
        shares: Mapping[str, float] | None = None,
        unknown: float = 0.0,
        fixed: bool = False,
    ) -> None:
        """`shares`: how often the blocks of a language are read in an epoch. `unknown`: share of the words
        that are hidden. `fixed`: the same windows in every epoch."""
        self._blocks = list(blocks)
        self._seed, self._shares, self._unknown, self._fixed = seed, dict(shares or {}), unknown, fixed
        known = {token: number for number, token in enumerate(words.tokens)}
        self._unknown_id = known[UNKNOWN]
        self._ids: list[list[NDArray[np.int32]]] = []
        self._labels: list[list[NDArray[np.int8]]] = []
        for block in self._blocks:
            self._ids.append(
                [
                    np.array(
                        [known.get(word.lower(), self._unknown_id) for word in line.words], dtype=np.int32
                    )
                    for line in block.lines
                ]
            )
            self._labels.append([np.array(line.labels, dtype=np.int8) for line in block.lines])
        self._epoch = -1
        self._text = np.zeros(0, dtype=np.int32)
        self._marks = np.zeros(0, dtype=np.int8)
        self._windows = np.zeros((0, 2), dtype=np.int64)

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        self._plan(epoch)
        return self._windows[:, 1] - self._windows[:, 0]

    def load(self, epoch: int, index: int) -> Example:
        self._plan(epoch)
        first, stop = (int(place) for place in self._windows[index])
        ids = self._text[first:stop].astype(np.float32)[:, None]
        labels = self._marks[first:stop].astype(np.int64)
        if labels[-1] not in (STOP, QUESTION):
            # What follows is unknown. A window's last word never ends a sentence, but a text's does: that is
            # what is learned of last words.
            labels[-1] = IGNORED
        if self._unknown:
            rng = np.random.default_rng((self._seed, epoch, index))
            ids[rng.random(len(ids)) < self._unknown] = self._unknown_id
        return Example(key=str(index), features=ids, target=labels)

    def _plan(self, epoch: int) -> None:
        epoch = 0 if self._fixed else epoch
        if epoch == self._epoch:
            return
        rng = np.random.default_rng((self._seed, epoch))
        ids: list[NDArray[np.int32]] = []
        labels: list[NDArray[np.int8]] = []
        for block, block_ids, block_labels in zip(self._blocks, self._ids, self._labels, strict=True):
            share = self._shares.get(block.language, 1.0)
            for _ in range(int(share) + (rng.random() < share % 1)):
                order = np.arange(len(block_ids))
                if block.source in LISTS:
                    order = rng.permutation(order)
                ids += [block_ids[place] for place in order]
                labels += [block_labels[place] for place in order]
        self._text, self._marks = np.concatenate(ids), np.concatenate(labels)
        self._windows = cut(self._marks, rng)
        self._epoch = epoch


def cut(labels: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.int64]:
    """labels (N,) of a running text -> (W, 2) where each window begins and stops.

    Windows overlap by the sentence that the first of them leaves open.
    """
    ends = np.flatnonzero((labels == STOP) | (labels == QUESTION)) + 1
    windows: list[tuple[int, int]] = []
    first = 0
    while first < len(labels):
        longest = VERY_LONG if rng.random() < LONG_SHARE else LONGEST
        stop = min(first + int(rng.integers(SHORTEST, longest + 1)), len(labels))
        # The last sentence end within the window, and the next one at or behind its stop.
        inside = int(np.searchsorted(ends, stop, side="right"))
        last = int(ends[inside - 1]) if inside else 0
        if rng.random() < WHOLE_SENTENCES and last > first:
            stop = last
        windows.append((first, stop))
        if rng.random() < WITHIN_A_SENTENCE or last <= first:
            first = stop
        else:
            first = last
    return np.array(windows, dtype=np.int64)
