"""Blocks of sound in, stretches of speech out, in bounded memory: a file is never held whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from funasr.arrays import Samples
from funasr.result import Segment
from funasr.stages.detector import DetectorStream
from funasr.vad.segments import finished


class SegmentStream(Protocol):
    """A voice activity detector listening to one channel."""

    @property
    def earliest_start_ms(self) -> int:
        """No segment still to come starts before this."""
        ...

    def accept(self, samples: Samples) -> list[Segment]: ...

    def flush(self) -> list[Segment]: ...


class DetectedSegments:
    """A live detector seen as a source of finished segments."""

    def __init__(self, stream: DetectorStream) -> None:
        self._stream = stream

    @property
    def earliest_start_ms(self) -> int:
        return self._stream.earliest_start_ms

    def accept(self, samples: Samples) -> list[Segment]:
        return finished(self._stream.accept(samples))

    def flush(self) -> list[Segment]:
        return finished(self._stream.flush())


class SampleBuffer:
    """The last stretch of a recording: appended at one end, forgotten at the other, cut anywhere between."""

    def __init__(self, rate: int, held: Samples | None = None, first: int = 0) -> None:
        """`held` and `first` are those of a buffer that this one goes on from."""
        self._rate = rate
        self._held: Samples = np.zeros(0, np.float32) if held is None else held
        self._first = first

    @property
    def held(self) -> Samples:
        """What is not forgotten; never written to."""
        return self._held

    @property
    def first(self) -> int:
        """The number of samples forgotten."""
        return self._first

    @property
    def end(self) -> int:
        """Samples appended so far."""
        return self._first + len(self._held)

    def append(self, samples: Samples) -> None:
        self._held = np.concatenate([self._held, samples])

    def cut(self, start_ms: int, end_ms: int) -> Samples:
        """A copy of [start_ms, end_ms), shorter where the recording ends before."""
        return self.between(start_ms * self._rate // 1000, end_ms * self._rate // 1000)

    def between(self, start: int, stop: int) -> Samples:
        """The same by sample numbers."""
        return self._held[max(start - self._first, 0) : max(stop - self._first, 0)].copy()

    def forget_before(self, ms: int) -> None:
        drop = min(ms * self._rate // 1000, self.end) - self._first
        if drop > 0:
            self._held = self._held[drop:].copy()
            self._first += drop


class SpeechCutter:
    """Cuts one channel into its speech segments as the sound arrives."""

    def __init__(self, stream: SegmentStream, rate: int, channel: int | None = None) -> None:
        self._stream = stream
        self._buffer = SampleBuffer(rate)
        self._channel = channel

    def accept(self, samples: Samples) -> Iterator[tuple[Segment, Samples]]:
        self._buffer.append(samples)
        yield from self._cut(self._stream.accept(samples))
        self._buffer.forget_before(self._stream.earliest_start_ms)

    def flush(self) -> Iterator[tuple[Segment, Samples]]:
        yield from self._cut(self._stream.flush())

    def _cut(self, segments: Iterable[Segment]) -> Iterator[tuple[Segment, Samples]]:
        for segment in segments:
            own = Segment(start_ms=segment.start_ms, end_ms=segment.end_ms, channel=self._channel)
            yield own, self._buffer.cut(own.start_ms, own.end_ms)


class WholeCutter:
    """Without a detector the whole channel is one segment; it is held in memory until its end."""

    def __init__(self, rate: int, channel: int | None = None) -> None:
        self._rate = rate
        self._channel = channel
        self._blocks: list[Samples] = []

    def accept(self, samples: Samples) -> Iterator[tuple[Segment, Samples]]:
        self._blocks.append(samples)
        return iter(())

    def flush(self) -> Iterator[tuple[Segment, Samples]]:
        samples = np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)
        self._blocks = []
        end_ms = len(samples) * 1000 // self._rate
        yield Segment(start_ms=0, end_ms=end_ms, channel=self._channel), samples


class MergingStream:
    """A detector whose segments are joined until they last `limit_ms` (upstream's `merge_vad`).

    As upstream, starts and ends of segments are cut points, and a piece is closed at the last one that keeps
    it under the limit, pauses included. Unlike upstream, a piece begins where its speech does, and what holds
    no speech is no piece: a long pause is neither recognized nor held in memory.
    """

    def __init__(self, stream: SegmentStream, limit_ms: int) -> None:
        self._stream = stream
        self._limit_ms = limit_ms
        self._begin = 0
        self._point = 0  # the last cut point
        self._speech: int | None = None  # where speech began since `_begin`

    @property
    def earliest_start_ms(self) -> int:
        return self._stream.earliest_start_ms if self._speech is None else self._speech

    def accept(self, samples: Samples) -> list[Segment]:
        merged = self._merge(self._stream.accept(samples))
        # The next point will be this late at least: what is complete need not wait for it.
        if self._stream.earliest_start_ms - self._begin >= self._limit_ms:
            self._close(merged, speaking=False)
        return merged

    def flush(self) -> list[Segment]:
        merged = self._merge(self._stream.flush())
        self._close(merged, speaking=False)
        return merged

    def _merge(self, segments: Iterable[Segment]) -> list[Segment]:
        merged: list[Segment] = []
        for segment in segments:
            if segment.start_ms - self._begin >= self._limit_ms:
                self._close(merged, speaking=False)
            if self._speech is None:
                self._speech = segment.start_ms
            self._point = segment.start_ms
            if segment.end_ms - self._begin >= self._limit_ms:
                self._close(merged, speaking=True)
            self._point = segment.end_ms
        return merged

    def _close(self, merged: list[Segment], *, speaking: bool) -> None:
        """The piece ends at the last point; `speaking`: which is the start of a segment."""
        if self._point <= self._begin:
            return
        if self._speech is not None and self._speech < self._point:
            merged.append(Segment(start_ms=self._speech, end_ms=self._point))
        self._begin = self._point
        self._speech = self._point if speaking else None
