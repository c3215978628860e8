"""Punctuation: texts or recognized words in, marks after words out. Whole texts, and live ones call by call.

A network reads a text in windows of 20 words. What follows the last sentence end of a window is read again
with the next one, so the windows of a text come one after the other; those of several texts share batches.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from funasr.result import Transcript
from funasr.stages.protocols import PunctuationNetwork
from funasr.text.marks import COMMA, SENTENCE_ENDS, MarkTable, closed_label, write_live, write_text
from funasr.text.words import Split, WordVocabulary, split_words

Labels = NDArray[np.int64]

SPLIT_SIZE = 20
"""Words that a window adds to those carried over; what the released models are run with."""
LONGEST_SENTENCE = 200
"""A window of more words than this may also end at a comma."""
BATCH_WORDS = 16384
"""Words in a batch, padding included; a single longer window goes alone. Networks may part it further."""
MAX_PADDING = 0.2
"""Most padding in a batch, as a share of it."""
MOST_CARRIED = 512
"""Words of a live text that are remembered when no sentence ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Punctuated:
    """A text with its marks. No words: an empty text."""

    text: str
    words: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    """One a word: its place in the model's `punc_list`. Of a live call, those of the words it carried too."""

    def punc_array(self) -> Labels | None:
        """Upstream's array: labels a word, of a word of several Chinese characters one a character."""
        if not self.words:
            return None
        array: list[int] = []
        for word, label in zip(self.words, self.labels, strict=True):
            if "\u0e00" <= word[0] <= "\u9fa5":
                array += [1] * (len(word) - 1)
            array.append(label)
        return np.asarray(array, dtype=np.int64)


class Punctuator:
    """Immutable: any number of threads may call one."""

    def __init__(
        self,
        network: PunctuationNetwork,
        vocabulary: WordVocabulary,
        marks: MarkTable | None = None,
        *,
        split: Split = split_words,
        live: bool = False,
    ) -> None:
        """`live`: the network is one of live texts, and writes as such."""
        self.network = network
        self.vocabulary = vocabulary
        self.marks = marks or MarkTable()
        self.split = split
        self.live = live

    def punctuate(self, texts: Sequence[str], *, split_size: int = SPLIT_SIZE) -> list[Punctuated]:
        """One result a text, each as it is alone. Marks that a text has already are words like others."""
        words = [self.split(text) for text in texts]
        read = self._read_all(words, split_size=split_size)
        return [self._written(split, windows) for split, windows in zip(words, read, strict=True)]

    def mark_words(self, transcripts: Sequence[Transcript]) -> list[Transcript]:
        """Reads tokens; writes their marks. Words and times are untouched, silence passes through.

        Channels that were kept apart are texts of their own. A mark inside of a word is left out.
        """
        channels = [(number, *of) for number, one in enumerate(transcripts) for of in _channels(one)]
        words = [self.split(text) for _, text, _ in channels]
        tokens = [list(transcript.tokens) for transcript in transcripts]
        for (number, _, places), split, labels in zip(channels, words, self.label(words), strict=True):
            texts = [tokens[number][place].text for place in places]
            for index, mark in _attach(texts, split, self._closed(split, labels), self.marks):
                place = places[index]
                tokens[number][place] = replace(tokens[number][place], mark=mark)
        return [
            replace(transcript, tokens=tuple(marked), punctuated=True)
            for transcript, marked in zip(transcripts, tokens, strict=True)
        ]

    def label(
        self,
        texts: Sequence[Sequence[str]],
        boundaries: Sequence[int] = (),
        *,
        split_size: int = SPLIT_SIZE,
    ) -> list[list[int]]:
        """The label of each word of each text, as the network gave it.

        `boundaries`: how many words at the beginning of each text are known from earlier calls.
        """
        return [windows.labels.tolist() for windows in self._read_all(texts, boundaries, split_size)]

    def stream(
        self, state: PunctuationState | None = None, *, split_size: int = SPLIT_SIZE
    ) -> PunctuationStream:
        """A live text: what was said is remembered up to its last sentence end. Or one that goes on."""
        return PunctuationStream(self, state, split_size=split_size)

    def _written(self, words: Sequence[str], windows: _Windows) -> Punctuated:
        if not words:
            return Punctuated(text="")
        labels = windows.labels.tolist()
        if self.live:
            text = write_live(words, labels, self.marks)
        else:
            text = write_text(((words[run], labels[run]) for run in windows.runs), self.marks)
            labels = self._closed(words, labels)
        return Punctuated(text=text, words=tuple(words), labels=tuple(labels))

    def _closed(self, words: Sequence[str], labels: Sequence[int]) -> list[int]:
        """The labels of a whole text: at its end is the end of a sentence."""
        return [*labels[:-1], closed_label(self.marks, words[-1], labels[-1])]

    def _read_all(
        self, texts: Sequence[Sequence[str]], boundaries: Sequence[int] = (), split_size: int = SPLIT_SIZE
    ) -> list[_Windows]:
        every = [
            _Windows(self.vocabulary.ids(words), boundary, self.marks, split_size)
            for words, boundary in zip(texts, boundaries or [0] * len(texts), strict=True)
        ]
        while reading := [windows for windows in every if not windows.done]:
            for batch in _batches(reading):
                self._read(batch)
        return every

    def _read(self, batch: Sequence[_Windows]) -> None:
        """One window of each text."""
        lengths = np.asarray([windows.length for windows in batch], dtype=np.int64)
        ids = np.zeros((len(batch), int(lengths.max())), dtype=np.int64)
        for row, windows in zip(ids, batch, strict=True):
            row[: windows.length] = windows.ids
        boundaries = np.asarray([windows.boundary for windows in batch], dtype=np.int64)
        labels = self.network.label(ids, lengths, boundaries)
        for row, windows in zip(labels, batch, strict=True):
            windows.accept(row[: windows.length])


@dataclass(frozen=True, slots=True, kw_only=True)
class PunctuationState:
    """All that one live text remembers between calls. Picklable."""

    carried: tuple[str, ...] = ()
    """The words since the last sentence end: the next call reads them again."""
    last_label: int = 0
    """Of the last word: its mark is still to be written."""

    @property
    def nbytes(self) -> int:
        """Memory of the carried words, which are MOST_CARRIED at most."""
        return sum(sys.getsizeof(word) for word in self.carried)


class PunctuationStream:
    """A live text, call by call. A mark is written when what follows it is known.

    A call that raises leaves the stream as it was.
    """

    def __init__(
        self,
        punctuator: Punctuator,
        state: PunctuationState | None = None,
        *,
        split_size: int = SPLIT_SIZE,
    ) -> None:
        """`state` is that of another stream of the same model, to go on where that one stood."""
        self._punctuator = punctuator
        self._split_size = split_size
        self._state = state or PunctuationState()

    @property
    def state(self) -> PunctuationState:
        """What is remembered now; `Punctuator.stream(state)` goes on from there, here or elsewhere."""
        return self._state

    @property
    def carried(self) -> tuple[str, ...]:
        """The words since the last sentence end: the next call reads them again."""
        return self._state.carried

    @property
    def nbytes(self) -> int:
        """Memory of the carried words, which are MOST_CARRIED at most."""
        return self._state.nbytes

    def accept(self, text: str) -> Punctuated:
        """More text -> it with its marks, after the mark that was left open before; the last one stays open.

        `words` and `labels` are those of the carried words and the new ones.
        """
        new = self._punctuator.split(text)
        if not new:
            return Punctuated(text="")
        known = len(self.carried)
        words = [*self.carried, *new]
        [labels] = self._punctuator.label([words], [known], split_size=self._split_size)
        marks = self._punctuator.marks
        result = Punctuated(
            text=write_live(words, labels, marks, known), words=tuple(words), labels=tuple(labels)
        )
        carried = words[_after_last_sentence(labels, marks) :][-MOST_CARRIED:]
        self._state = PunctuationState(carried=tuple(carried), last_label=labels[-1])
        return result

    def mark_words(self, transcript: Transcript) -> Transcript:
        """More words of the text -> the same with their marks; `accept` for words with times.

        The last one has the mark that it has where nothing follows, often none.
        """
        known = len(self.carried)
        tokens = list(transcript.tokens)
        bare = replace(transcript, tokens=tuple(replace(token, mark="") for token in tokens))
        read = self.accept(bare.text_of(0, len(tokens)))
        texts = [token.text for token in tokens]
        marks = self._punctuator.marks
        for index, mark in _attach(texts, read.words[known:], read.labels[known:], marks):
            tokens[index] = replace(tokens[index], mark=mark)
        return replace(transcript, tokens=tuple(tokens), punctuated=True)

    def flush(self) -> str:
        """No more text will come -> the mark at its end; an empty string for no text."""
        before, self._state = self._state, PunctuationState()
        if not before.carried:
            return ""
        marks = self._punctuator.marks
        return marks.mark(closed_label(marks, before.carried[-1], before.last_label))


class _Windows:
    """One text on its way through the network."""

    def __init__(self, ids: Labels, boundary: int, marks: MarkTable, split_size: int) -> None:
        self.boundary = boundary
        self._split_size = split_size
        self.labels = np.zeros_like(ids)
        """Final up to where the next window starts."""
        self.runs: list[slice] = []
        """The stretches that windows handed out, each up to the end of a sentence."""
        self._ids = ids
        self._marks = marks
        self._start, self._stop = 0, min(split_size, len(ids))

    @property
    def done(self) -> bool:
        return self._start == len(self._ids)

    @property
    def length(self) -> int:
        """Words of the next window."""
        return self._stop - self._start

    @property
    def ids(self) -> Labels:
        """(length,) the next window."""
        return self._ids[self._start : self._stop]

    def accept(self, labels: Labels) -> None:
        """labels (length,) of the next window: keep the sentences that end in it, and go on."""
        self.labels[self._start : self._stop] = labels
        stop = self._stop if self._stop == len(self._ids) else self._cut(labels.tolist())
        if stop > self._start:
            self.runs.append(slice(self._start, stop))
            self._start = stop
        self._stop = min(self._stop + self._split_size, len(self._ids))

    def _cut(self, labels: Sequence[int]) -> int:
        """Where the last sentence of a window that is not the last one ends; its start when none does."""
        marks = [self._marks.mark(label) for label in labels]
        # As upstream: neither the first two words of a window nor its last one end a sentence.
        inner = range(len(marks) - 2, 1, -1)
        end = next((i for i in inner if marks[i] in SENTENCE_ENDS), None)
        if end is None and len(marks) > LONGEST_SENTENCE:
            end = next((i for i in inner if marks[i] == COMMA), None)
            if end is not None:
                self.labels[self._start + end] = self._marks.sentence_end_id
        return self._start if end is None else self._start + end + 1


def _batches(reading: Sequence[_Windows]) -> Iterator[list[_Windows]]:
    """Windows of similar length; every one occurs once."""
    batch: list[_Windows] = []
    words = 0
    for windows in sorted(reading, key=lambda windows: windows.length):
        padded = windows.length * (len(batch) + 1)
        if batch and (padded > BATCH_WORDS or padded - words - windows.length > MAX_PADDING * padded):
            yield batch
            batch, words = [], 0
        batch.append(windows)
        words += windows.length
    if batch:
        yield batch


def _after_last_sentence(labels: Sequence[int], marks: MarkTable) -> int:
    # As upstream: a sentence end after one of the first two words, or the last one, is not looked at.
    inner = range(len(labels) - 2, 1, -1)
    return next((i + 1 for i in inner if marks.mark(labels[i]) in SENTENCE_ENDS), 0)


def _channels(transcript: Transcript) -> list[tuple[str, list[int]]]:
    """The text of each channel, without tags and marks, and which tokens it is made of."""
    tokens = transcript.tokens
    bare = replace(transcript, tokens=tuple(replace(t, mark="") for t in tokens), punctuated=False)
    found = []
    for channel in {token.channel: None for token in tokens}:
        spans = [(s.first_token, s.stop_token) for s in transcript.segments if s.channel == channel]
        text = " ".join(bare.text_of(first, stop) for first, stop in spans or [(0, len(tokens))])
        found.append((text, [place for place, token in enumerate(tokens) if token.channel == channel]))
    return found


def _attach(
    tokens: Sequence[str], words: Sequence[str], labels: Sequence[int], marks: MarkTable
) -> Iterator[tuple[int, str]]:
    """(which token, its mark). Tokens and words cut the same characters, perhaps at different places."""
    ends = dict(zip(_ends(tokens), range(len(tokens)), strict=True))
    for word, label, end in zip(words, labels, _ends(words), strict=True):
        mark = marks.written(word, label)
        if mark and end in ends:
            yield ends[end], mark


def _ends(words: Iterable[str]) -> Iterator[int]:
    """Characters up to the end of each word, white space not counted."""
    end = 0
    for word in words:
        end += len("".join(word.split()))
        yield end
