"""Stacking at a low frame rate: numbers a reader checks with a pencil, then a direct reading of the rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.arrays import Features
from funasr.features.lfr import stack_frames


def numbered(count: int) -> Features:
    return np.arange(1, count + 1, dtype=np.float32)[:, None]


def test_seven_frames_every_six_with_the_ends_repeated() -> None:
    rows = stack_frames(numbered(8), 7, 6)

    np.testing.assert_array_equal(rows, [[1, 1, 1, 1, 2, 3, 4], [4, 5, 6, 7, 8, 8, 8]])


def test_five_frames_around_each_frame() -> None:
    rows = stack_frames(numbered(3), 5, 1)

    np.testing.assert_array_equal(rows, [[1, 1, 1, 2, 3], [1, 1, 2, 3, 3], [1, 2, 3, 3, 3]])


def test_a_single_frame_fills_its_row() -> None:
    np.testing.assert_array_equal(stack_frames(numbered(1), 7, 6), np.ones((1, 7)))


def test_no_frames_are_no_rows() -> None:
    assert stack_frames(np.empty((0, 80), dtype=np.float32), 7, 6).shape == (0, 560)


@pytest.mark.parametrize(("frames", "rows"), [(6, 1), (7, 2), (998, 167)])
def test_one_row_for_six_frames_begun(frames: int, rows: int) -> None:
    assert len(stack_frames(numbered(frames), 7, 6)) == rows


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3))
def test_a_row_is_the_frames_around_its_place_clamped_to_the_sound(
    count: int, m: int, n: int, width: int
) -> None:
    frames = np.random.default_rng(count).random((count, width), dtype=np.float32)
    places = np.arange(-(-count // n))[:, None] * n + np.arange(m) - (m - 1) // 2

    expected = frames[places.clip(0, count - 1)].reshape(len(places), m * width)

    np.testing.assert_array_equal(stack_frames(frames, m, n), expected)
