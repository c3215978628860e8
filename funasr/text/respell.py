"""Words written another way: numbers as digits, names as the user spells them.

A new word takes the time from the first to the last of the words that were heard, and remembers them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from funasr.result import Segment, Token, Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`text[start:stop]` of a stretch is to be written as `text`. Changes of a stretch do not overlap."""

    start: int
    stop: int
    text: str
    score: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Words that follow one another: no mark, no tag, no pause of the detector and no speaker parts them."""

    first: int
    stop: int
    """`Transcript.tokens[first:stop]`."""
    text: str
    """The words, with blanks where two of them are Latin."""
    starts: tuple[int, ...]
    """Where in `text` each word begins."""


Find: TypeAlias = Callable[[str], Iterable[Change]]
"""The text of a stretch -> what to write another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Respelling:
    """A change that was made."""

    first: int
    stop: int
    """The words it touched, `tokens[first:stop]` of the transcript as it was."""
    offset: int
    """Where in the first of them the change begins."""
    stretch: Stretch
    change: Change

    @property
    def original(self) -> str:
        return self.stretch.text[self.change.start : self.change.stop]


def respell(transcript: Transcript, find: Find) -> tuple[Transcript, tuple[Respelling, ...]]:
    """Reads tokens and segments; writes new tokens in place of those that `find` wants to be written anew.

    Where there are as many new words as old ones, each keeps its time; otherwise one word spans them all.
    Words for which nothing is written are remembered by the word next to them (`Token.beside`).
    """
    made = [
        _respelling(stretch, change) for stretch in stretches(transcript) for change in find(stretch.text)
    ]
    if not made:
        return transcript, ()
    tokens: list[Token] = []
    places: list[int] = []  # of each old word among the new ones
    position = 0
    borders = {segment.first_token for segment in transcript.segments}
    gone: list[tuple[int, tuple[str, ...], bool]] = []  # place, words, whether it is the next word's to tell
    for first, stop, text in _by_words(made):
        places += range(len(tokens), len(tokens) + first - position)
        tokens += transcript.tokens[position:first]
        new = _written(transcript.tokens[first:stop], text)
        one_each = len(new) == stop - first
        places += [len(tokens) + (place if one_each else 0) for place in range(stop - first)]
        if not new:
            forward = first in borders or (bool(gone) and first == position and gone[-1][2])
            gone.append((len(tokens), _heard(transcript.tokens[first:stop]), forward))
        tokens += new
        position = stop
    places += range(len(tokens), len(tokens) + len(transcript.tokens) - position)
    tokens += transcript.tokens[position:]
    places.append(len(tokens))
    for place, words, forward in reversed(gone):
        _remember(tokens, place, words, forward)
    segments = tuple(_moved(segment, places) for segment in transcript.segments)
    return replace(transcript, tokens=tuple(tokens), segments=segments), tuple(made)


def _remember(tokens: list[Token], place: int, words: tuple[str, ...], forward: bool) -> None:
    """Words that stood before `tokens[place]`, and are not written, are told by it or by the word before."""
    if place < len(tokens) and (forward or place == 0):
        before, behind = tokens[place].beside
        tokens[place] = replace(tokens[place], beside=((*words, *before), behind))
    elif place > 0:
        before, behind = tokens[place - 1].beside
        # Of several that are gone here the last came first.
        tokens[place - 1] = replace(tokens[place - 1], beside=(before, (*words, *behind)))


def stretches(transcript: Transcript) -> Iterator[Stretch]:
    """All words but marks that a recognizer wrote as words, in order."""
    tokens = transcript.tokens
    borders = {segment.first_token for segment in transcript.segments}
    borders |= {segment.first_token + tag.at for segment in transcript.segments for tag in segment.tags}
    begin = 0
    for index in range(1, len(tokens) + 1):
        last = tokens[index - 1]
        if (
            index == len(tokens)
            or index in borders
            or last.mark
            or (last.speaker, last.channel) != (tokens[index].speaker, tokens[index].channel)
            or not _is_word(last)
            or not _is_word(tokens[index])
        ):
            if _is_word(last):
                yield _stretch(transcript, begin, index)
            begin = index


def _stretch(transcript: Transcript, first: int, stop: int) -> Stretch:
    text = ""
    starts = []
    for place, token in enumerate(transcript.tokens[first:stop]):
        if transcript.verbatim:
            text += token.lead if place else ""
        elif place and token.text[0].isascii() and text[-1].isascii():
            text += " "
        starts.append(len(text))
        text += token.text
    return Stretch(first=first, stop=stop, text=text, starts=tuple(starts))


def _is_word(token: Token) -> bool:
    return any(map(str.isalnum, token.text))


def _respelling(stretch: Stretch, change: Change) -> Respelling:
    """A change is one of whole words."""
    ends = (*stretch.starts[1:], len(stretch.text))
    touched = [
        place
        for place, (start, end) in enumerate(zip(stretch.starts, ends, strict=True))
        if start < change.stop and change.start < end
    ]
    return Respelling(
        first=stretch.first + touched[0],
        stop=stretch.first + touched[-1] + 1,
        offset=change.start - stretch.starts[touched[0]],
        stretch=stretch,
        change=change,
    )


def _by_words(made: Sequence[Respelling]) -> Iterator[tuple[int, int, str]]:
    """(first, stop, what is written for these words); two changes may touch the same word."""
    groups: list[list[Respelling]] = []
    for one in sorted(made, key=lambda one: (one.first, one.offset)):
        if groups and one.first < groups[-1][-1].stop:
            groups[-1].append(one)
        else:
            groups.append([one])
    for group in groups:
        first, stop, stretch = group[0].first, group[-1].stop, group[0].stretch
        ends = (*stretch.starts, len(stretch.text))
        position, end = ends[first - stretch.first], ends[stop - stretch.first]
        text = ""
        for one in group:
            text += stretch.text[position : one.change.start] + one.change.text
            position = one.change.stop
        yield first, stop, " ".join((text + stretch.text[position:end]).split())


def _written(heard: Sequence[Token], text: str) -> list[Token]:
    words = _words(text)
    if len(words) == len(heard):
        return [
            token if token.text == word else replace(token, text=word, spoken=token.spoken or (token.text,))
            for token, word in zip(heard, words, strict=True)
        ]
    if not text:
        return []
    confidences = [token.confidence for token in heard if token.confidence is not None]
    return [
        replace(
            heard[0],
            text=text,
            end_ms=heard[-1].end_ms,
            mark=heard[-1].mark,
            confidence=min(confidences, default=None),
            ids=tuple(id_ for token in heard for id_ in token.ids),
            spoken=_heard(heard),
            beside=((), ()),
        )
    ]


def _words(text: str) -> list[str]:
    """Chinese characters, and what stands between blanks."""
    words: list[str] = []
    for piece in text.split():
        cuts = [0, *(i for i in range(1, len(piece)) if not (piece[i - 1] + piece[i]).isascii()), len(piece)]
        words += [piece[start:stop] for start, stop in pairwise(cuts)]
    return words


def _heard(tokens: Iterable[Token]) -> tuple[str, ...]:
    return tuple(word for token in tokens for word in token.heard)


def _moved(segment: Segment, places: Sequence[int]) -> Segment:
    first = places[segment.first_token]
    tags = tuple(
        replace(tag, at=places[min(segment.first_token + tag.at, len(places) - 1)] - first)
        for tag in segment.tags
    )
    return replace(segment, first_token=first, stop_token=places[segment.stop_token], tags=tags)
