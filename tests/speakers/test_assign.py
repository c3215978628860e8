"""Turns to words and sentences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.result import Segment, Token, Turn, main_speaker
from funasr.speakers.assign import Floor, assign_speakers, upstream_speaker
from tests.speakers.golden import diarization, seeded


def turn(start_ms: int, end_ms: int, speaker: int | str, channel: int | None = None) -> Turn:
    return Turn(start_ms=start_ms, end_ms=end_ms, speaker=speaker, channel=channel)


def word(start_ms: int | None, end_ms: int | None, speaker: int | None = None) -> Token:
    return Token(text="x", start_ms=start_ms, end_ms=end_ms, speaker=speaker)


@pytest.mark.parametrize(
    ("start", "end", "speaker"),
    [
        (100, 900, 0),
        (900, 1300, 1),  # 100 ms of the first, 300 of the second
        (800, 1200, 0),  # as much of both
        (2400, 2600, 1),  # in a pause, nearer to what was before
        (2800, 2900, 0),  # and nearer to what comes
        (9000, 9100, 0),  # after all turns
    ],
)
def test_a_stretch_is_of_who_holds_the_floor_for_most_of_it(start: int, end: int, speaker: int) -> None:
    floor = Floor([turn(0, 1000, 0), turn(1000, 2000, 1), turn(3000, 4000, 0)])

    assert floor.speaker(start, end) == speaker


def test_several_turns_of_one_speaker_are_added_up() -> None:
    floor = Floor([turn(0, 400, 0), turn(400, 900, 1), turn(900, 1300, 0)])

    assert floor.speaker(0, 1300) == 0


def test_nobody_speaks_where_there_are_no_turns() -> None:
    assert Floor([]).speaker(0, 100) is None


def test_words_take_the_speaker_of_their_own_time_and_those_without_times_that_of_their_segment() -> None:
    tokens = [word(100, 300), word(1100, 1300), word(None, None), word(2000, 2100)]
    segments = [
        Segment(start_ms=0, end_ms=1800, stop_token=3),
        Segment(start_ms=2000, end_ms=2500, first_token=3, stop_token=4),
    ]

    found = assign_speakers(
        tokens, segments, [turn(0, 1000, 0), turn(1000, 1800, 1), turn(2000, 2500, "Ann")]
    )

    assert [token.speaker for token in found] == [0, 1, 0, "Ann"]


def test_channels_do_not_hear_each_other() -> None:
    segments = [
        Segment(start_ms=0, end_ms=1000, channel=0, stop_token=1),
        Segment(start_ms=0, end_ms=1000, channel=1, first_token=1, stop_token=2),
    ]

    found = assign_speakers(
        [word(0, 500), word(0, 500)], segments, [turn(0, 1000, 0, 0), turn(0, 1000, 1, 1)]
    )

    assert [token.speaker for token in found] == [0, 1]


def test_a_sentence_is_of_who_speaks_longest_in_it() -> None:
    assert main_speaker([word(0, 100, 0), word(100, 200, 0), word(200, 600, 1)]) == 1


def test_without_times_words_are_counted() -> None:
    assert main_speaker([word(None, None, 0), word(None, None, 1), word(None, None, 1)]) == 1


def test_words_that_nobody_was_found_for_have_no_speaker() -> None:
    assert main_speaker([word(0, 10), word(10, 20)]) is None


@given(
    lengths=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 3000), st.integers(0, 3)), max_size=20),
    start=st.integers(0, 20_000),
    length=st.integers(0, 5000),
)
def test_looking_near_by_finds_what_looking_everywhere_finds(
    lengths: list[tuple[int, int, int]], start: int, length: int
) -> None:
    turns, now = [], 0
    for gap, spoken, speaker in lengths:
        turns.append(turn(now + gap, now + gap + spoken, speaker))
        now += gap + spoken
    held: dict[int | str, int] = {}
    for one in turns:
        overlap = min(one.end_ms, start + length) - max(one.start_ms, start)
        if overlap > 0:
            held[one.speaker] = held.get(one.speaker, 0) + overlap

    found = Floor(turns).speaker(start, start + length)

    if held:
        assert held[found] == max(held.values())  # type: ignore[index]
    else:
        distances = [max(one.start_ms - start - length, start - one.end_ms) for one in turns]
        nearest = [one.speaker for one, d in zip(turns, distances, strict=True) if d == min(distances)]
        assert found in nearest if turns else found is None


def test_the_rule_of_the_reference_is_known_exactly() -> None:
    assert_sentences(diarization())


def assert_sentences(golden: dict[str, Any]) -> None:
    for seed, expected in enumerate(golden["sentences"]):
        turns, sentences = seeded.timeline(seed)
        spoken = [turn(*one) for one in turns]

        assert [upstream_speaker(spoken, *sentence) for sentence in sentences] == expected


def test_where_the_reference_raises_its_bar_twice_the_majority_still_counts() -> None:
    turns = [turn(0, 1000, 0), turn(1000, 1900, 1), turn(1900, 2600, 1)]

    assert Floor(turns).speaker(0, 2600) == 1
    assert upstream_speaker(turns, 0, 2600) == 0
