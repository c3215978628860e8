"""Transcript -> subtitle cues: short stretches of text with a start and an end."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from funasr.result import Segment, Token, Transcript, main_speaker

SENTENCE_ENDS = frozenset("。？！.?!")
MARKS = SENTENCE_ENDS | frozenset("，、；：,;:")
CLOSING = frozenset("）》」』”’)]")


@dataclass(frozen=True, slots=True, kw_only=True)
class CueLimits:
    """When a cue is closed. The defaults are those of common subtitle guides: 2 lines, 7 seconds."""

    max_width: int = 84
    """Columns of text, where `line_width` is not given; a CJK character takes two."""
    line_width: int | None = None
    """Columns of a line: a cue has what `wrapped` writes in `max_lines` of them."""
    max_lines: int = 2
    label_width: int = 0
    """Columns of the first line that are taken, by the name of the speaker."""
    max_duration_ms: int = 7000
    max_pause_ms: int = 800
    """Silence between two words that parts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    start_ms: int
    end_ms: int
    text: str
    channel: int | None = None
    speaker: int | str | None = None
    """Who says it, where speakers were told apart; no cue is shared by two, if words have times."""


def make_cues(transcript: Transcript, limits: CueLimits | None = None) -> list[Cue]:
    """Cues that partition the words of a transcript, in order.

    A speech segment never shares a cue with the next one; inside it, words with times are grouped up to the
    limits and parted at sentence marks and where another speaker begins. Where a limit parts them, it does so
    behind the last mark, if that is not too near the beginning. Words without times give one cue a segment.
    """
    limits = limits or CueLimits()
    segments = transcript.segments or (
        Segment(start_ms=0, end_ms=transcript.duration_ms, stop_token=len(transcript.tokens)),
    )
    return [cue for segment in segments for cue in _segment_cues(transcript, segment, limits)]


def _segment_cues(transcript: Transcript, segment: Segment, limits: CueLimits) -> Iterator[Cue]:
    first, stop = segment.first_token, segment.stop_token
    if first == stop:
        return
    if not transcript.timed:
        text = transcript.text_of(first, stop)
        yield Cue(
            start_ms=segment.start_ms,
            end_ms=segment.end_ms,
            text=text,
            channel=segment.channel,
            speaker=main_speaker(transcript.tokens[first:stop]),
        )
        return

    def cue(begin: int, end: int) -> Cue:
        tokens = transcript.tokens[begin:end]
        return Cue(
            start_ms=tokens[0].start_ms or 0,
            end_ms=max(token.end_ms or 0 for token in tokens),
            text=transcript.text_of(begin, end),
            channel=segment.channel,
            speaker=tokens[0].speaker,
        )

    tokens = transcript.tokens
    spaced = transcript.spaced and not transcript.punctuated
    begin = first
    for index in range(first + 1, stop):
        if not _is_word(tokens[index]):  # a mark that the recognizer wrote as a word of its own
            continue
        if _parts(tokens[index - 1], tokens[index], limits):
            yield cue(begin, index)
            begin = index
            continue
        end = next((i for i in range(index + 1, stop) if _is_word(tokens[i])), stop)
        while begin < index and not _fits(tokens[begin:end], spaced, limits):
            cut = _phrase_end(tokens[:stop], begin, index, limits)
            yield cue(begin, cut)
            begin = cut
    yield cue(begin, stop)


def _parts(last: Token, next_: Token, limits: CueLimits) -> bool:
    """Whether two words never share a cue."""
    return (
        (last.mark or last.text) in SENTENCE_ENDS
        or next_.speaker != last.speaker
        or (next_.start_ms or 0) - (last.end_ms or 0) > limits.max_pause_ms
    )


def _fits(tokens: Sequence[Token], spaced: bool, limits: CueLimits) -> bool:
    """Whether these words can be one cue."""
    if (tokens[-1].end_ms or 0) - (tokens[0].start_ms or 0) > limits.max_duration_ms:
        return False
    if limits.line_width is None:
        return sum(columns(token.text) + 1 for token in tokens if _is_word(token)) <= limits.max_width
    lines, column = 1, limits.label_width
    last = ""
    words: list[str] = []  # each with the marks behind it, from which no line parts it
    for token in tokens:
        if _is_word(token) or not words:
            words.append("")
        words[-1] += token.text + token.mark
    for word in words:
        blank = bool(last) and (spaced or not (_is_wide(last) and _is_wide(word[0])))
        width = columns(word)
        if column and column + blank + width > limits.line_width:
            lines, column = lines + 1, width
        else:
            column += blank + width
        last = word[-1]
    return lines <= limits.max_lines


def _phrase_end(tokens: Sequence[Token], begin: int, index: int, limits: CueLimits) -> int:
    """Where to end a cue that began at `begin` and must end at `index` at the latest.

    Behind a mark; else in the middle, where little of the phrase would be left for a cue of its own.
    """
    middle = (begin + index + 1) // 2
    marked = (i for i in range(index, middle, -1) if _is_marked(tokens[i - 1]))
    cut = next(marked, None)
    if cut is not None:
        return cut
    rest = range(index, min(index + (index - begin - 1) // 4, len(tokens)))
    ends = (i + 1 for i in rest if _is_marked(tokens[i]) or _is_last(tokens, i, limits))
    stop = next(ends, None)
    half = index if stop is None else (begin + stop + 1) // 2
    return next((i for i in range(half, index) if _is_word(tokens[i])), index)


def _is_last(tokens: Sequence[Token], index: int, limits: CueLimits) -> bool:
    """Whether what follows a word, if anything does, never shares a cue with it."""
    return index + 1 == len(tokens) or _parts(tokens[index], tokens[index + 1], limits)


def _is_marked(token: Token) -> bool:
    return (token.mark or token.text) in MARKS


def _is_word(token: Token) -> bool:
    return any(map(str.isalnum, token.text))


def wrapped(text: str, line_width: int) -> str:
    """A text in lines of so many columns, parted at blanks and beside CJK characters, not before marks."""
    lines = [""]
    for piece in _pieces(text):
        if lines[-1] and columns(lines[-1]) + columns(piece.rstrip()) > line_width:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return "\n".join(line.strip() for line in lines)


def _pieces(text: str) -> list[str]:
    """What is never parted; a blank is the beginning of a piece."""
    pieces = [""]
    last = ""
    for char in text:
        new = char.isspace() or (not last.isspace() and (_is_wide(char) or _is_wide(last)))
        if new and char not in MARKS and char not in CLOSING and pieces[-1]:
            pieces.append("")
        pieces[-1] += char
        last = char
    return pieces


def _is_wide(char: str) -> bool:
    return columns(char) == 2


def columns(text: str) -> int:
    """How wide a text is in a fixed font: a CJK character takes two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
