"""Live sound, block by block -> utterances: where each begins, its sound as it comes, where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from funasr.arrays import Samples
from funasr.pipeline.cutting import SampleBuffer
from funasr.stages.detector import Detector
from funasr.vad.endpoint import Event, SpeechEnd, SpeechStart

AGAIN_MS = 1000
"""Where speech goes on without a pause, so much of it at most is heard by two utterances."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An utterance begins at `start_ms`, which is some way back: speech is noticed late."""

    start_ms: int
    """Where its sound begins."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """The next sound of the open utterance; the first begins at its `start_ms`."""

    samples: Samples


@dataclass(frozen=True, slots=True, eq=False)
class Closed:
    """The open utterance was the speech in [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    samples: Samples
    """Exactly that stretch, as a recording would be cut."""


Happening: TypeAlias = Opened | Heard | Closed


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UtterancesState:
    """What is remembered between blocks."""

    detector: Any
    """The state of the detector's stream."""
    first: int
    """Sample of the stream at which `held` begins."""
    held: Samples
    """Sound that the open utterance, or the next one, may still need."""
    open_ms: int | None
    given: int
    """Samples of the stream up to which the open utterance was handed out."""

    @property
    def nbytes(self) -> int:
        return int(self.detector.nbytes + self.held.nbytes)


class Utterances:
    """The speech of one stream, cut out while it goes on.

    An utterance is handed out from where its speech begins, some sound before that included (the detector's
    `lookback_time_start_point`), so that its first word is whole. It is handed out without waiting for its
    end, which is noticed late too: so it contains the pause that ended it, except the block in which that
    was noticed. That silence lets a recognizer say the last word before it is told that nothing follows. If
    words begin again in that very moment, their sound is in both utterances, and whole in the second. But
    silero-vad cuts speech that is too long at a pause far back, behind which words have been heard already:
    the next utterance then begins where they end.

    Holds the sound since the open utterance began: a detector's `max_single_segment_time` bounds it.
    """

    def __init__(self, detector: Detector, options: Any = None, state: UtterancesState | None = None) -> None:
        self._rate = detector.fs
        self._buffer = SampleBuffer(self._rate)
        self._open_ms: int | None = None
        self._given = 0
        if state is None:
            self._detector = detector.stream(options)
        else:
            self._detector = detector.stream(options, state=state.detector)
            self._buffer = SampleBuffer(self._rate, state.held, state.first)
            self._open_ms, self._given = state.open_ms, state.given

    @property
    def state(self) -> UtterancesState:
        return UtterancesState(
            detector=self._detector.state,
            first=self._buffer.first,
            held=self._buffer.held,
            open_ms=self._open_ms,
            given=self._given,
        )

    def accept(self, block: Samples) -> Iterator[Happening]:
        """A block of sound -> what happened in it, in order. To be read to its end."""
        self._buffer.append(block)
        yield from self._follow(self._detector.accept(block))
        if self._open_ms is not None:
            yield from self._give(self._buffer.end)
        self._buffer.forget_before(self._detector.earliest_start_ms)

    def flush(self) -> Iterator[Happening]:
        """No more sound will come: an open utterance ends."""
        yield from self._follow(self._detector.flush())

    def _follow(self, events: Sequence[Event]) -> Iterator[Happening]:
        ended: int | None = None
        for event in events:
            if isinstance(event, SpeechStart):
                self._open_ms = start_ms = event.start_ms
                heard_ms = self._given * 1000 // self._rate
                if start_ms == ended and heard_ms - start_ms > AGAIN_MS:
                    start_ms = heard_ms
                self._given = self._sample(start_ms)
                yield Opened(start_ms)
            elif isinstance(event, SpeechEnd):
                yield from self._give(self._sample(event.end_ms))
                self._open_ms, ended = None, event.end_ms
                samples = self._buffer.cut(event.start_ms, event.end_ms)
                yield Closed(event.start_ms, event.end_ms, samples)

    def _give(self, stop: int) -> Iterator[Heard]:
        """The sound of the open utterance that was not handed out, up to that sample."""
        if stop > self._given:
            samples = self._buffer.between(self._given, stop)
            self._given = stop
            if len(samples):
                yield Heard(samples)

    def _sample(self, ms: int) -> int:
        return ms * self._rate // 1000
