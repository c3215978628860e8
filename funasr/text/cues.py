"""Transcript -> subtitle cues: short stretches of text with a start and an end."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from funasr.result import Segment, Token, Transcript, main_speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class CueLimits:
    """When a cue is closed. The defaults are those of common subtitle guides: 2 lines, 7 seconds."""

    max_width: int = 84
    """Columns of text; a CJK character takes two."""
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
    limits and parted at sentence marks and where another speaker begins. Words without times give one cue a
    segment.
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
    begin = first
    for index in range(first + 1, stop + 1):
        if index == stop or _parts(transcript.tokens, begin, index, limits):
            tokens = transcript.tokens[begin:index]
            yield Cue(
                start_ms=tokens[0].start_ms or 0,
                end_ms=max(token.end_ms or 0 for token in tokens),
                text=transcript.text_of(begin, index),
                channel=segment.channel,
                speaker=tokens[0].speaker,
            )
            begin = index


def _parts(tokens: tuple[Token, ...], begin: int, index: int, limits: CueLimits) -> bool:
    """Whether a cue that began at `begin` must end before the word at `index`."""
    last, next_ = tokens[index - 1], tokens[index]
    if not any(map(str.isalnum, next_.text)):  # a mark that the recognizer wrote as a word of its own
        return False
    start, end = tokens[begin].start_ms or 0, next_.end_ms or 0
    return (
        (last.mark or last.text) in {"。", "？", "！", ".", "?", "!"}
        or next_.speaker != last.speaker
        or (next_.start_ms or 0) - (last.end_ms or 0) > limits.max_pause_ms
        or end - start > limits.max_duration_ms
        or sum(_width(token.text) + 1 for token in tokens[begin : index + 1]) > limits.max_width
    )


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
