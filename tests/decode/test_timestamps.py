"""Weights -> token times. Those in tests/golden/decode/times.json are upstream's (make_decode.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.decode.cif import integrate, prefix_peaks
from funasr.decode.greedy import kept_positions
from funasr.decode.timestamps import bounded, token_times

Weights: TypeAlias = NDArray[np.float32]

GOLDEN = Path(__file__).parents[1] / "golden" / "decode" / "times.json"


@pytest.fixture
def four_words() -> Weights:
    """60 frames of 20 ms; the tokens begin 1.5 frames before the fires at 9, 16, 18, 40 and 50."""
    alphas = np.zeros(60, dtype=np.float32)
    alphas[[9, 16, 40, 50]] = 1.0
    alphas[17:19] = 0.5
    return alphas


def test_tokens_lie_between_fires_with_silence_where_they_are_far_apart(
    four_words: Weights,
) -> None:
    assert token_times(four_words, None, 4) == [(150, 290), (290, 330), (330, 570), (770, 1085)]


def test_sums_may_be_given(four_words: Weights) -> None:
    assert token_times(four_words, integrate(four_words), 4) == token_times(four_words, None, 4)


def test_weights_are_scaled_when_there_are_fewer_tokens_than_fires(four_words: Weights) -> None:
    before = four_words.copy()

    assert token_times(four_words, None, 2) == [(290, 530), (770, 1085)]
    np.testing.assert_array_equal(four_words, before)  # on a copy: the caller may use them again


def test_even_weights_give_even_times() -> None:
    assert token_times(np.full(30, 0.1, dtype=np.float32), None, 2) == [(150, 350), (350, 600)]


def test_the_offset_of_a_segment_moves_all_times(four_words: Weights) -> None:
    assert token_times(four_words, None, 4, offset_ms=1000) == [
        (1150, 1290),
        (1290, 1330),
        (1330, 1570),
        (1770, 2085),
    ]


def test_frames_of_a_model_without_a_timestamp_predictor_last_60_ms() -> None:
    alphas = np.array([0, 0, 1, 0, 1, 0, 0, 1, 0, 0], dtype=np.float32)  # fires at 2, 4, 7

    assert token_times(alphas, prefix_peaks(alphas), 2, upsample_rate=1) == [(30, 150), (150, 600)]


def test_other_frame_lengths_scale_times() -> None:
    alphas = np.full(30, 0.1, dtype=np.float32)

    assert token_times(alphas, None, 2, frame_ms=30.0) == [(75, 175), (175, 300)]


def test_no_tokens_have_no_times(four_words: Weights) -> None:
    assert token_times(four_words, None, 0) == []


def test_tokens_without_any_weight_share_the_sound_evenly() -> None:
    assert token_times(np.zeros(30, dtype=np.float32), None, 2) == [(0, 240), (300, 540)]


def test_times_stay_inside_the_sound() -> None:
    alphas = np.zeros(30, dtype=np.float32)
    alphas[[0, 28]] = 1.0  # begins 1.5 frames before frame 0

    assert token_times(alphas, None, 1) == [(0, 210)]
    assert token_times(np.full(30, 0.1, dtype=np.float32), None, 2, duration_ms=590) == [
        (150, 350),
        (350, 590),
    ]
    assert bounded([(-5, 3), (7, 4), (90, 120)], 100) == [(0, 3), (7, 7), (90, 100)]


def test_times_equal_upstreams() -> None:
    assert assert_equals_upstream(GOLDEN) >= 240


def assert_equals_upstream(path: Path) -> int:
    """Compare with upstream wherever it gives every token a time; the number of cases that had one."""
    compared = 0
    for weights, total, count, rate, offset, expected in json.loads(path.read_text()):
        alphas = np.array(weights, dtype=np.float32) / np.float32(1024)
        if alphas.sum() > 0:
            alphas *= np.float32(total) / alphas.sum()
        times = token_times(alphas, None, count, upsample_rate=rate, offset_ms=offset)
        assert len(times) == count
        if expected is not None and len(expected) == count:
            compared += 1
            assert times == bounded([(start, end) for start, end in expected]), (weights, total, count)
    return compared


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 700), min_size=1, max_size=80),
    st.integers(0, 20),
    st.sampled_from([1, 3]),
    st.integers(0, 5000),
)
def test_every_token_has_a_time_inside_the_sound_in_order(
    weights: list[int], count: int, rate: int, duration_ms: int
) -> None:
    alphas = np.array(weights, dtype=np.float32) / 1024

    times = token_times(alphas, None, count, upsample_rate=rate, duration_ms=duration_ms)

    assert len(times) == count
    assert all(0 <= start <= end <= duration_ms for start, end in times)
    assert times == sorted(times)


def test_special_ids_are_dropped_wherever_they_stand_and_repeats_are_kept() -> None:
    ids = np.array([1, 7, 7, 0, 2, 9, 2], dtype=np.int64)

    assert kept_positions(ids).tolist() == [1, 2, 5]
    assert kept_positions(np.zeros(0, dtype=np.int64)).tolist() == []
