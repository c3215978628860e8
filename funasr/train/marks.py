"""Punctuated text as a data set: word ids, and the mark after each word.

Texts are put one behind the other and cut into windows as a text is read in use: the released models read 20
words, then what follows the last sentence end again with 20 more, so a window begins with a sentence and
mostly ends within one. How the text is cut depends on the number of the epoch alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from funasr.text.marks import MarkTable
from funasr.text.words import Split, WordVocabulary
from funasr.train.data import Example
from funasr.train.utterance import Utterance

NO_MARK = "_"
SHORTEST, LONGEST = 12, 72
"""Words of most windows."""
LONG_SHARE, VERY_LONG = 0.06, 200
WHOLE_SENTENCES = 0.4
"""Share of windows that end where a sentence does, as the last one of a text."""
WITHIN_A_SENTENCE = 0.12
"""Share of windows that begin within one: a detector cuts there, and so does a mark set wrongly."""

_LIKE = {
    **dict.fromkeys("，,：:—–", ("，",)),
    **dict.fromkeys("。.…", ("。",)),
    **dict.fromkeys("；;", ("；", "。")),
    **dict.fromkeys("！!", ("！", "。")),
    **dict.fromkeys("？?", ("？", "。")),
    "、": ("、", "，"),
}
"""Mark in a text -> marks of a model that stand for it, the best first."""
_STRENGTH = {"、": 1, "，": 2, "；": 3, "。": 4, "！": 5, "？": 6}
_WITHIN = frozenset("'%$#+@&/_.,:")
"""ASCII that is part of a word between letters or digits."""
_PLAIN = str.maketrans({"’": "'", "‘": "'", "`": "'", "\u3000": " "})


def read_marks(text: str, table: MarkTable, split: Split) -> tuple[list[str], list[int]]:
    """A punctuated text -> its words as a recognizer writes them, in small letters, and a label for each.

    Quotes, brackets and hyphens go. A text that ends without a mark ends with a sentence. A mark in what is
    one word to the model is left out.
    """
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.translate(_PLAIN))
    kept: list[str] = []
    ends: dict[int, str] = {}  # characters before a mark, blanks not counted
    count = 0
    for place, char in enumerate(text):
        within = _between(text, place)
        if char in _LIKE and not (char.isascii() and within):
            known = next((mark for mark in _LIKE[char] if mark in table.marks), None)
            if known and count and _STRENGTH[known] > _STRENGTH.get(ends.get(count, ""), 0):
                ends[count] = known
            kept.append(" ")
        elif _is_letter(char) or char in "%$#+@" or (char in _WITHIN and within):
            kept.append(char.lower() if char.isascii() else char)
            count += 1
        else:
            kept.append(" ")
    words = split("".join(kept))
    labels: list[int] = []
    count = 0
    for word in words:
        count += sum(not char.isspace() for char in word)
        labels.append(table.marks.index(ends.get(count, NO_MARK)))
    if words and count not in ends:
        labels[-1] = table.sentence_end_id
    return words, labels


def _between(text: str, place: int) -> bool:
    """Are there ASCII letters or digits on both sides?"""
    around = text[max(0, place - 1) : place + 2]
    return len(around) == 3 and all(char.isascii() and char.isalnum() for char in (around[0], around[2]))


def _is_letter(char: str) -> bool:
    return char.isalnum() or unicodedata.category(char)[0] == "M"


def vocabulary(texts: Iterable[str], split: Split) -> list[str]:
    """Words of punctuated texts, the most frequent first, between the special entries."""
    counts = Counter(word for text in texts for word in read_marks(text, MarkTable(), split)[0])
    order = sorted(counts, key=lambda word: (-counts[word], word))
    return ["<blank>", "<s>", "</s>", *order, "<unk>"]


class MarkExamples:
    """An `ExampleSource`: `features` (T, 1) are word ids, `target` (T,) labels, `places` where live text is.

    The number of examples differs from epoch to epoch, as the cuts do.
    """

    def __init__(
        self,
        texts: Sequence[Utterance],
        words: WordVocabulary,
        table: MarkTable,
        split: Split,
        *,
        ignore_id: int = 0,
        running: bool = False,
        fixed: bool = False,
        seed: int = 0,
    ) -> None:
        """`running`: texts follow on one another; else they are shuffled. `fixed`: the same windows in every
        epoch, and nothing shuffled."""
        self._ids: list[NDArray[np.int32]] = []
        self._labels: list[NDArray[np.int8]] = []
        for text in texts:
            found, labels = read_marks(text.text, table, split)
            self._ids.append(words.ids(found).astype(np.int32))
            self._labels.append(np.array(labels, dtype=np.int8))
        self._ends = [table.marks.index(mark) for mark in "。？！" if mark in table.marks]
        self._ignored, self._running, self._fixed, self._seed = ignore_id, running, fixed, seed
        self._epoch = -1
        self._text, self._marks = np.zeros(0, np.int32), np.zeros(0, np.int8)
        self._windows = np.zeros((0, 2), np.int64)

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        """(W,) words of each window."""
        self._plan(epoch)
        return self._windows[:, 1] - self._windows[:, 0]

    def load(self, epoch: int, index: int) -> Example:
        self._plan(epoch)
        first, stop = (int(place) for place in self._windows[index])
        target = self._marks[first:stop].astype(np.int64)
        if target[-1] not in self._ends:
            # What follows is unknown. A window's last word never ends a sentence, but a text's does: that is
            # what is learned of last words.
            target[-1] = self._ignored
        # Live texts: how many words were there before the newest call.
        before = np.random.default_rng((self._seed, epoch, index)).integers(0, stop - first)
        return Example(
            key=f"{first}-{stop}",
            features=self._text[first:stop].astype(np.float32)[:, None],  # whole up to 2 ** 24
            target=target,
            places=np.array([[before, before]], dtype=np.int64),
        )

    def _plan(self, epoch: int) -> None:
        epoch = 0 if self._fixed else epoch
        if epoch == self._epoch:
            return
        rng = np.random.default_rng((self._seed, epoch))
        order = np.arange(len(self._ids))
        if not (self._running or self._fixed):
            order = rng.permutation(order)
        self._text = np.concatenate([self._ids[place] for place in order])
        self._marks = np.concatenate([self._labels[place] for place in order])
        self._windows = cut(self._marks, self._ends, rng)
        self._epoch = epoch


def cut(
    labels: NDArray[np.int8], sentence_ends: Sequence[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """labels (N,) of a running text -> (W, 2) where each window begins and stops.

    Windows overlap by the sentence that the first of them leaves open.
    """
    ends = np.flatnonzero(np.isin(labels, sentence_ends)) + 1
    windows: list[tuple[int, int]] = []
    first = 0
    while first < len(labels):
        longest = VERY_LONG if rng.random() < LONG_SHARE else LONGEST
        stop = min(first + int(rng.integers(SHORTEST, longest + 1)), len(labels))
        # The last sentence end within the window.
        inside = int(np.searchsorted(ends, stop, side="right"))
        last = int(ends[inside - 1]) if inside else 0
        if rng.random() < WHOLE_SENTENCES and last > first:
            stop = last
        windows.append((first, stop))
        if rng.random() < WITHIN_A_SENTENCE or last <= first:
            first = stop
        else:
            first = last
    return np.array(windows, dtype=np.int64).reshape(-1, 2)
