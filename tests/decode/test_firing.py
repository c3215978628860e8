"""Times of tokens chunk by chunk, against those that are given when the whole utterance is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.decode.cif import prefix_peaks
from funasr.decode.firing import fired_spans
from funasr.decode.timestamps import token_times


def fires(*ends: float) -> np.ndarray:
    return np.array(ends, dtype=np.float32)


def test_a_token_begins_two_frames_before_its_fire_and_ends_where_the_next_begins() -> None:
    spans = fired_spans(fires(3.5, 6.0, 9.25), decided=10, final=True)

    assert spans == [(1.5, 4.0), (4.0, 7.25), (7.25, 10.0)]


def test_the_last_of_a_chunk_ends_a_frame_before_what_is_decided() -> None:
    assert fired_spans(fires(3.5, 6.0), decided=10) == [(1.5, 4.0), (4.0, 9.0)]


def test_the_first_ones_of_a_chunk_begin_after_the_last_of_the_chunk_before() -> None:
    assert fired_spans(fires(10.5, 11.0), before=9.0, decided=20) == [(9.0, 9.0), (9.0, 19.0)]


def test_nothing_begins_before_the_sound_or_lasts_longer_than_twelve_frames() -> None:
    assert fired_spans(fires(1.0, 20.0), decided=60) == [(0.0, 12.0), (18.0, 30.0)]


def test_no_fires_are_no_tokens() -> None:
    assert fired_spans(fires(), before=3.0, decided=5) == []


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(2.1, 9.0), min_size=2, max_size=20),
    st.integers(0, 12),
    st.sampled_from([(10, 5), (8, 4), (3, 0)]),
)
def test_times_agree_with_those_of_the_whole_utterance(
    gaps: list[float], silence: int, shape: tuple[int, int]
) -> None:
    """Within a frame and a half; but a chunk that ends before the next word begins ends the last one, too."""
    size, right = shape
    places = np.floor(np.cumsum(gaps)).astype(int)  # the frames that fire, each by a weight of its own
    frames = int(places[-1]) + 1 + silence
    alphas = np.zeros(frames, dtype=np.float32)
    alphas[places] = 1.0
    whole = token_times(alphas, prefix_peaks(alphas), len(places) - 1, upsample_rate=1)

    spans: list[tuple[float, float]] = []
    chunk_of: list[int] = []
    bounds = [*range(size - right, frames, size), frames]
    first = 0
    for number, decided in enumerate(bounds):
        ends = fires(*(float(place) + 1 for place in places if first <= place < decided))
        before = spans[-1][1] if spans else 0.0
        spans += fired_spans(ends, before=before, decided=decided, final=decided == frames)
        chunk_of += [number] * len(ends)
        first = decided

    assert [s for span in spans for s in span] == sorted(s for span in spans for s in span)
    for i, (start_ms, end_ms) in enumerate(whole):
        start, end = spans[i]
        assert abs(start * 60 - start_ms) <= 91
        assert end * 60 <= end_ms + 91
        if chunk_of[i + 1] == chunk_of[i] and i + 1 < len(whole):
            assert end * 60 == pytest.approx(end_ms, abs=91)
