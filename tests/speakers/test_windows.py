"""Windows over a stretch of speech: numbers for a pencil, then those of the reference."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.speakers.windows import plan_windows
from tests.speakers.golden import diarization, seeded


@pytest.mark.parametrize(
    ("seconds", "windows"),
    [
        (0.5, [(0, 0.5)]),
        (1.5, [(0, 1.5)]),
        (1.6, [(0, 1.5), (0.1, 1.6)]),
        (2.26, [(0, 1.5), (0.75, 2.25), (0.76, 2.26)]),
        (4.0, [(0, 1.5), (0.75, 2.25), (1.5, 3), (2.25, 3.75), (2.5, 4)]),
    ],
)
def test_windows_step_by_three_quarters_of_a_second_and_the_last_is_drawn_back(
    seconds: float, windows: list[tuple[float, float]]
) -> None:
    found = plan_windows(round(seconds * 16000), 16000)

    assert found == [(round(start * 16000), round(stop * 16000)) for start, stop in windows]


def test_no_sound_has_no_windows() -> None:
    assert plan_windows(0, 16000) == []


@given(length=st.integers(1, 400_000), rate=st.sampled_from([8000, 16000]))
def test_windows_cover_all_speech_and_are_as_long_as_they_can_be(length: int, rate: int) -> None:
    windows = plan_windows(length, rate)

    assert windows[0][0] == 0
    assert windows[-1][1] == length
    for start, stop in windows:
        assert stop - start == min(rate * 3 // 2, length)
    for (start, stop), (next_start, next_stop) in itertools.pairwise(windows):
        assert start < next_start <= stop < next_stop


def test_windows_are_those_of_the_reference() -> None:
    assert_windows(diarization())


def assert_windows(golden: dict[str, Any]) -> None:
    for seed, expected in enumerate(golden["windows"]):
        found = [
            [begin + start / 16, begin + stop / 16]
            for begin, end in seeded.segments(seed)
            for start, stop in plan_windows((end - begin) * 16, 16000)
        ]
        assert found == expected
