"""Events of the endpointer -> segments, and the pairs of numbers that upstream's callers know."""

from __future__ import annotations

from collections.abc import Iterable

from funasr.result import Segment
from funasr.vad.endpoint import Event, SpeechEnd, SpeechStart


def finished(events: Iterable[Event]) -> list[Segment]:
    """The segments that ended."""
    return [Segment(start_ms=e.start_ms, end_ms=e.end_ms) for e in events if isinstance(e, SpeechEnd)]


def stream_pairs(events: Iterable[Event]) -> list[list[int]]:
    """Events of one call in upstream's streaming form.

    `[start, -1]` speech began; `[-1, end]` speech that an earlier call announced has ended; `[start, end]`
    both in this call.
    """
    pairs: list[list[int]] = []
    announced = False
    for event in events:
        if isinstance(event, SpeechStart):
            pairs.append([event.start_ms, -1])
            announced = True
        elif announced:
            pairs[-1][1] = event.end_ms
            announced = False
        else:
            pairs.append([-1, event.end_ms])
    return pairs
