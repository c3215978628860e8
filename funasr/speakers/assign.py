"""Turns -> the speaker of each word, by its time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace

from funasr.result import Segment, Token, Turn

Speaker = int | str


class Floor:
    """The turns of one channel, by start and apart from one another, made ready for questions."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: turn.start_ms)
        self._starts = [turn.start_ms for turn in self._turns]

    def speaker(self, start_ms: int, end_ms: int) -> Speaker | None:
        """Who holds the floor for most of [start_ms, end_ms); of equals, the one who speaks first.

        Where nobody does: the one whose turn is nearest. None without turns.
        """
        held: dict[Speaker, int] = {}
        for turn in self._around(start_ms, end_ms):
            overlap = min(turn.end_ms, end_ms) - max(turn.start_ms, start_ms)
            if overlap > 0:
                held[turn.speaker] = held.get(turn.speaker, 0) + overlap
        if held:
            return max(held, key=held.__getitem__)
        nearest = min(
            self._around(start_ms, end_ms),
            key=lambda turn: max(turn.start_ms - end_ms, start_ms - turn.end_ms),
            default=None,
        )
        return None if nearest is None else nearest.speaker

    def _around(self, start_ms: int, end_ms: int) -> Sequence[Turn]:
        """The turns that overlap, and one on either side."""
        first = bisect_right(self._starts, start_ms) - 1
        return self._turns[max(first, 0) : bisect_right(self._starts, end_ms) + 1]


def assign_speakers(
    tokens: Sequence[Token], segments: Sequence[Segment], turns: Sequence[Turn]
) -> tuple[Token, ...]:
    """The same words, each with its speaker; a word without times has the speaker of most of its segment."""
    floors = {channel: Floor(t for t in turns if t.channel == channel) for channel in _channels(segments)}
    assigned = list(tokens)
    for segment in segments:
        floor = floors[segment.channel]
        most = floor.speaker(segment.start_ms, segment.end_ms)
        for index in range(segment.first_token, segment.stop_token):
            token = tokens[index]
            speaker = most
            if token.start_ms is not None and token.end_ms is not None:
                speaker = floor.speaker(token.start_ms, token.end_ms)
            assigned[index] = replace(token, speaker=speaker)
    return tuple(assigned)


def upstream_speaker(turns: Sequence[Turn], start_ms: int, end_ms: int) -> Speaker:
    """The speaker that upstream gives a sentence, for comparison with it.

    Its bar for the next turn is raised twice by a turn that takes the sentence, so that about one sentence in
    14 goes to someone who speaks less of it than another.
    """
    chosen: Speaker = 0
    bar = 0
    for turn in turns:
        overlap = max(min(turn.end_ms, end_ms) - max(turn.start_ms, start_ms), 0)
        if overlap > bar:
            bar, chosen = overlap, turn.speaker
        if overlap > 0 and turn.speaker == chosen:
            bar += overlap
    return chosen


def _channels(segments: Iterable[Segment]) -> set[int | None]:
    return {segment.channel for segment in segments}
