"""Labelled windows, which overlap -> turns, which do not: who holds the floor when. Integer milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from funasr.result import Turn

SHORTEST_MS = 700
"""A turn shorter than this is given to a neighbour."""

GRID_MS = 10


def make_turns(windows: Iterable[Turn]) -> list[Turn]:
    """Windows of one channel, in any order -> turns by start.

    Windows of one speaker that touch are joined; where those of two overlap, the middle of the overlap is
    the border.
    """
    turns = _joined(sorted(windows, key=lambda turn: turn.start_ms))
    for index in range(1, len(turns)):
        before, after = turns[index - 1], turns[index]
        if before.end_ms > after.start_ms:
            middle = _on_grid(before.end_ms + after.start_ms)
            turns[index - 1] = replace(before, end_ms=middle)
            turns[index] = replace(after, start_ms=middle)
    return _joined(_smoothed(turns))


def _joined(turns: Sequence[Turn]) -> list[Turn]:
    joined: list[Turn] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if last is not None and last.speaker == turn.speaker and turn.start_ms <= last.end_ms:
            joined[-1] = replace(last, end_ms=turn.end_ms)
        else:
            joined.append(turn)
    return joined


def _smoothed(turns: Sequence[Turn]) -> list[Turn]:
    """Short turns take the speaker of the nearer neighbour; of the one before if both are as near."""
    if len(turns) < 2:
        return list(turns)
    done = list(turns)
    for index, turn in enumerate(turns):
        if turn.end_ms - turn.start_ms >= SHORTEST_MS:
            continue
        if index == 0:
            neighbour = done[1]
        elif index == len(turns) - 1:
            neighbour = done[-2]
        else:
            gap_before = turn.start_ms - turns[index - 1].end_ms
            gap_after = turns[index + 1].start_ms - turn.end_ms
            neighbour = done[index - 1] if gap_before <= gap_after else done[index + 1]
        done[index] = replace(turn, speaker=neighbour.speaker)
    return done


def _on_grid(twice_ms: int) -> int:
    """Half of it, rounded to a hundredth of a second; half of one to the even side, as upstream."""
    return round(twice_ms / 2 / GRID_MS) * GRID_MS
