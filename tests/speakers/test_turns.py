"""Labelled windows to turns."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from funasr.result import Turn
from funasr.speakers.cluster import by_appearance
from funasr.speakers.turns import make_turns
from tests.speakers.golden import diarization, seeded


def turns(*spans: tuple[int, int, int]) -> list[Turn]:
    return [Turn(start_ms=start, end_ms=end, speaker=speaker) for start, end, speaker in spans]


def spans(found: list[Turn]) -> list[tuple[int, int, int | str]]:
    return [(turn.start_ms, turn.end_ms, turn.speaker) for turn in found]


def test_windows_of_one_speaker_join_and_two_speakers_meet_in_the_middle() -> None:
    windows = turns((0, 1500, 0), (750, 2250, 0), (1500, 3000, 1), (3000, 4500, 1))

    # 2250 and 1500 have their middle at 1875, which is rounded to a hundredth of a second
    assert spans(make_turns(windows)) == [(0, 1880, 0), (1880, 4500, 1)]


def test_a_pause_parts_the_turns_of_one_speaker() -> None:
    assert spans(make_turns(turns((0, 1500, 0), (2000, 3500, 0)))) == [(0, 1500, 0), (2000, 3500, 0)]


def test_a_turn_too_short_to_be_one_goes_to_the_nearer_neighbour() -> None:
    found = make_turns(turns((0, 2000, 0), (2100, 2600, 1), (2900, 5000, 2)))

    assert spans(found) == [(0, 2000, 0), (2100, 2600, 0), (2900, 5000, 2)]


def test_a_short_first_turn_goes_to_the_next_and_a_short_last_one_to_the_one_before() -> None:
    found = make_turns(turns((0, 500, 0), (500, 3000, 1), (3000, 3600, 2)))

    assert spans(found) == [(0, 3600, 1)]


def test_a_single_short_turn_stays() -> None:
    assert spans(make_turns(turns((0, 300, 4)))) == [(0, 300, 4)]


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(20, 150), st.integers(0, 3)), min_size=1, max_size=30)
)
def test_turns_are_in_order_and_do_not_overlap(spoken: list[tuple[int, int, int]]) -> None:
    windows: list[Turn] = []
    start = end = 0
    for step, length, speaker in spoken:
        start = max(end - 750, start) + step * 10
        end = max(start + length * 10, end + 10)
        windows.append(Turn(start_ms=start, end_ms=end, speaker=speaker))

    found = make_turns(windows)

    assert found[0].start_ms == windows[0].start_ms
    assert found[-1].end_ms == max(window.end_ms for window in windows)
    for before, after in itertools.pairwise(found):
        assert before.start_ms <= before.end_ms <= after.start_ms


def test_turns_are_those_of_the_reference_within_a_hundredth_of_a_second() -> None:
    # A short turn between two that touch it takes the one before. The reference rounds its times one by
    # one on the way and then sees a gap where there is none.
    assert equal_timelines(diarization()) >= 59


def equal_timelines(golden: dict[str, Any]) -> int:
    equal = 0
    for seed, (windows, expected) in enumerate(zip(golden["windows"], golden["turns"], strict=True)):
        labels = by_appearance(np.array(seeded.labels(len(windows), seed)))
        found = spans(
            make_turns(
                [
                    Turn(start_ms=round(start), end_ms=round(end), speaker=int(label))
                    for (start, end), label in zip(windows, labels, strict=True)
                ]
            )
        )
        equal += len(found) == len(expected) and all(
            abs(start - a * 1000) < 10.1 and abs(end - b * 1000) < 10.1 and speaker == s
            for (start, end, speaker), (a, b, s) in zip(found, expected, strict=True)
        )
    return equal
