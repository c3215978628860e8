from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.arrays import Samples
from funasr.pipeline.cutting import MergingStream, SampleBuffer, SpeechCutter, WholeCutter
from funasr.result import Segment


class ScriptedStream:
    """Reports given segments once their end has been heard, one sample a millisecond."""

    def __init__(self, segments: list[tuple[int, int]]) -> None:
        self._left = [Segment(start_ms=s, end_ms=e) for s, e in segments]
        self._heard = 0

    @property
    def earliest_start_ms(self) -> int:
        return self._left[0].start_ms if self._left else self._heard

    def accept(self, samples: Samples) -> list[Segment]:
        self._heard += len(samples)
        closed = [segment for segment in self._left if segment.end_ms <= self._heard]
        self._left = self._left[len(closed) :]
        return closed

    def flush(self) -> list[Segment]:
        rest, self._left = self._left, []
        return rest


def merge(segments: list[tuple[int, int]], limit_ms: int, block: int = 700_000) -> list[list[int]]:
    stream = MergingStream(ScriptedStream(segments), limit_ms)
    merged: list[Segment] = []
    for _ in range(0, 700_000, block):
        merged += stream.accept(np.zeros(block, np.float32))
    merged += stream.flush()
    return [[segment.start_ms, segment.end_ms] for segment in merged]


@pytest.mark.parametrize(
    ("segments", "merged"),
    [
        (
            [(0, 2000), (2500, 4000), (5000, 9000), (9500, 16000), (20000, 21000)],
            [[0, 9500], [9500, 21000]],
        ),
        ([(1000, 2000), (30000, 31000)], [[1000, 2000], [30000, 31000]]),
        ([(500_000, 501_000), (501_500, 503_000)], [[500_000, 503_000]]),
        ([(0, 60_000), (60_500, 61_000)], [[0, 60_000], [60_500, 61_000]]),
        ([(1000, 2000)], [[1000, 2000]]),
        ([], []),
    ],
)
def test_segments_are_merged_up_to_the_limit(
    segments: list[tuple[int, int]], merged: list[list[int]]
) -> None:
    """The first case is upstream's own result; in the second it also has the pause as a segment."""
    assert merge(segments, 15_000) == merged
    assert merge(segments, 15_000, block=1000) == merged


def test_a_long_pause_is_not_held_while_segments_are_merged() -> None:
    stream = MergingStream(ScriptedStream([(1000, 2000)]), 15_000)

    pieces = stream.accept(np.zeros(5_000, np.float32)) + stream.accept(np.zeros(600_000, np.float32))

    assert [(piece.start_ms, piece.end_ms) for piece in pieces] == [(1000, 2000)]
    assert stream.earliest_start_ms == 605_000


@given(
    st.lists(st.integers(1, 400), max_size=20).filter(lambda gaps: len(gaps) % 2 == 0),
    st.lists(st.integers(1, 300), max_size=40),
)
def test_speech_cut_while_it_arrives_is_the_speech_cut_from_the_whole(
    gaps: list[int], sizes: list[int]
) -> None:
    edges = np.cumsum(gaps).tolist()
    segments = list(zip(edges[::2], edges[1::2], strict=True))
    sound = np.arange(sum(sizes), dtype=np.float32)
    cutter = SpeechCutter(ScriptedStream(segments), rate=1000, channel=1)

    cut: list[tuple[Segment, Samples]] = []
    for block in np.split(sound, np.cumsum(sizes)[:-1]) if sizes else []:
        cut += cutter.accept(block)
    cut += cutter.flush()

    assert [(s.start_ms, s.end_ms) for s, _ in cut] == segments
    for segment, samples in cut:
        assert segment.channel == 1
        np.testing.assert_array_equal(samples, sound[segment.start_ms : segment.end_ms])


def test_the_buffer_holds_only_what_may_still_be_needed() -> None:
    buffer = SampleBuffer(rate=1000)
    buffer.append(np.arange(10, dtype=np.float32))
    buffer.forget_before(6)

    assert buffer.end == 10
    np.testing.assert_array_equal(buffer.cut(6, 8), [6, 7])
    np.testing.assert_array_equal(buffer.cut(8, 99), [8, 9])


def test_without_a_detector_a_channel_is_one_segment() -> None:
    cutter = WholeCutter(rate=16000)
    list(cutter.accept(np.zeros(16000, np.float32)))
    list(cutter.accept(np.ones(8000, np.float32)))

    [(segment, samples)] = cutter.flush()

    assert (segment.start_ms, segment.end_ms, len(samples)) == (0, 1500, 24000)
