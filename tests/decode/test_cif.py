"""Weights -> fires. Goldens in tests/golden/decode/fires.json are upstream's, made by make_decode.py."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.decode.cif import cif_weights, fire, integrate, prefix_peaks

FIRES = json.loads((Path(__file__).parents[1] / "golden" / "decode" / "fires.json").read_text())


def test_a_token_fires_each_time_the_weights_sum_to_one() -> None:
    alphas = np.array([0.4, 0.4, 0.4, 0.1, 0.8], dtype=np.float32)

    matrix, fired_at, left_over = cif_weights(alphas)

    assert fired_at == [2, 4]
    assert left_over == pytest.approx(0.1, abs=1e-6)
    expected = [
        [0.4, 0.4, 0.2, 0.0, 0.0],
        [0.0, 0.0, 0.2, 0.1, 0.7],  # frame 2 is shared: 0.2 closes one token, 0.2 opens the next
    ]
    np.testing.assert_allclose(matrix, expected, atol=1e-6)


def test_no_frames_and_no_weight_give_no_tokens() -> None:
    for alphas in (np.zeros(0, dtype=np.float32), np.zeros(5, dtype=np.float32)):
        matrix, fired_at, left_over = cif_weights(alphas)
        assert (matrix.shape, fired_at, left_over) == ((0, len(alphas)), [], 0.0)
        assert integrate(alphas).tolist() == prefix_peaks(alphas).tolist() == [0.0] * len(alphas)


def test_another_threshold_fires_at_that_sum() -> None:
    matrix, fired_at, left_over = cif_weights(np.array([1.0, 1.0, 1.0], dtype=np.float32), threshold=2.0)

    assert (fired_at, left_over) == ([1], 1.0)
    np.testing.assert_allclose(matrix, [[1.0, 1.0, 0.0]])


def test_sums_are_those_before_the_threshold_is_taken_off() -> None:
    alphas = np.array([0.5, 0.75, 0.25, 0.5], dtype=np.float32)

    np.testing.assert_array_equal(integrate(alphas, threshold=1.0), [0.5, 1.25, 0.5, 1.0])
    np.testing.assert_array_equal(prefix_peaks(alphas), [0.5, 1.25, 0.5, 1.0])


def test_sums_equal_upstreams() -> None:
    for alphas, sequential, prefix in FIRES:
        weights = np.array(alphas, dtype=np.float32)
        np.testing.assert_array_equal(integrate(weights), np.array(sequential, dtype=np.float32))
        # The embeddings' predictor corrects its sums by another order of operations; the fires are the same.
        np.testing.assert_allclose(prefix_peaks(weights), prefix, atol=2e-6)
        np.testing.assert_array_equal(prefix_peaks(weights) >= 1, np.array(prefix) >= 1)


ALPHAS = st.lists(st.integers(0, 1024), max_size=60).map(
    lambda values: np.array(values, dtype=np.float32) / 1024
)


@settings(max_examples=200, deadline=None)
@given(ALPHAS)
def test_no_weight_is_lost_or_used_twice(alphas: np.ndarray) -> None:
    matrix, fired_at, left_over = cif_weights(alphas)

    assert matrix.min(initial=0.0) >= 0.0
    np.testing.assert_allclose(matrix.sum(axis=1), np.ones(len(fired_at)), atol=1e-5)
    assert matrix.sum() + left_over == pytest.approx(alphas.sum(), abs=1e-4)
    assert (matrix.sum(axis=0) <= alphas + 1e-6).all()
    assert fired_at == sorted(fired_at)
    # Weights of at most 1 fire at most once a frame, and the three ways to find the fires agree.
    assert len(set(fired_at)) == len(fired_at)
    assert np.flatnonzero(prefix_peaks(alphas) >= 1).tolist() == fired_at
    assert np.flatnonzero(integrate(alphas, threshold=1.0) >= 1).tolist() == fired_at


def test_ten_seconds_take_less_than_a_millisecond() -> None:
    alphas = np.full(500, 0.1, dtype=np.float32)
    taken = []
    for _ in range(20):
        begin = time.perf_counter()
        integrate(alphas)
        taken.append(time.perf_counter() - begin)
    assert min(taken) < 1e-3


def test_a_chunk_fires_where_the_weights_sum_to_one_and_hands_on_what_is_left() -> None:
    fired = fire(np.array([0.4, 0.4, 0.4, 0.1, 0.8], dtype=np.float32))

    expected = [
        [0.4, 0.4, 0.2, 0.0, 0.0],
        [0.0, 0.0, 0.2, 0.1, 0.7],
        [0.0, 0.0, 0.0, 0.0, 0.1],  # the token that has not fired
    ]
    np.testing.assert_allclose(fired.shares, expected, atol=1e-6)
    np.testing.assert_allclose(fired.ends, [2.5, 4 + 7 / 8], atol=1e-6)  # 0.2 of 0.4, and 0.7 of 0.8
    assert fired.rest == pytest.approx(0.1, abs=1e-6)


def test_a_chunk_of_no_weight_hands_on_what_it_was_given() -> None:
    fired = fire(np.array([0.75, 0.0, 0.0], dtype=np.float32))

    np.testing.assert_array_equal(fired.shares, [[0.75, 0, 0]])
    assert (fired.ends.tolist(), fired.rest) == ([], 0.75)


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.lists(st.integers(0, 60), max_size=5),
)
@settings(deadline=None, max_examples=100)
def test_chunks_fire_as_all_frames_at_once_do(weights: list[float], cuts: list[int]) -> None:
    alphas = np.array(weights, dtype=np.float32)
    whole = fire(np.concatenate([np.zeros(1, dtype=np.float32), alphas]))

    ends: list[float] = []
    carry, start = 0.0, 0
    for stop in [*sorted(min(cut, len(alphas)) for cut in cuts), len(alphas)]:
        part = fire(np.concatenate([np.array([carry], dtype=np.float32), alphas[start:stop]]))
        ends += (part.ends + start).tolist()
        carry, start = part.rest, stop

    np.testing.assert_allclose(ends, whole.ends, atol=1e-4)
    assert carry == whole.rest
    np.testing.assert_allclose(whole.shares[:-1].sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(whole.shares.sum(axis=0)[1:], alphas, atol=1e-6)
    assert (np.diff(whole.ends) >= 0).all()
