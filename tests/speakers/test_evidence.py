"""Speakers found by evidence: how many there are follows from how far voices of people lie apart."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from funasr.errors import OptionError
from funasr.speakers.cluster import ClusterOptions, cluster
from funasr.speakers.evidence import AT_ONCE, Spread, follow, merge, part

BETWEEN = (0.075,) * 12
WITHIN = (0.0083,) * 12
SPREAD = Spread(between=BETWEEN, within=WITHIN)
Voices = NDArray[np.float32]


def talk(order: list[int], seed: int = 0, noise: float = 1.0) -> Voices:
    """A window of each of `order`, as a network of that spread has them."""
    rng = np.random.default_rng(seed)
    people = rng.normal(0, 3, (max(order) + 1, len(BETWEEN)))
    windows = people[order] + noise * rng.normal(0, 1, (len(order), len(BETWEEN)))
    return windows.astype(np.float32)


def same_parting(found: NDArray[np.int64], order: list[int]) -> bool:
    return len({*zip(found.tolist(), order, strict=True)}) == len({*order}) == len({*found.tolist()})


def test_a_merge_is_worth_what_the_formula_says() -> None:
    # One direction, variance 1 between people. Two windows at +2: the evidence of both in one group is
    # (16/3 - log 3)/2, of each alone (4/2 - log 2)/2: 0.81 better. At +2 and -2 it is 1.86 worse.
    one, two = np.ones(1), np.ones(2)

    assert merge(np.array([[2.0], [2.0]]), two, one, 1, 9).tolist() == [0, 0]
    assert merge(np.array([[2.0], [-2.0]]), two, one, 1, 9).tolist() == [0, 1]
    assert merge(np.array([[2.0], [-2.0]]), two, one, 1, 1).tolist() == [0, 0]
    assert merge(np.array([[2.0], [2.0]]), two, one, 2, 9).tolist() == [0, 1]


@pytest.mark.parametrize("people", [1, 2, 3, 5])
def test_the_number_of_speakers_is_found(people: int) -> None:
    order = [turn % people for turn in range(10) for _ in range(5)]

    found = part(talk(order), SPREAD)

    assert same_parting(found, order)


def test_voices_that_say_nothing_are_one_speaker() -> None:
    weak = Spread(between=(0.004,) * 12, within=(0.08,) * 12)
    noise = np.random.default_rng(1).normal(0, 1, (40, 12))

    assert set(part(noise, weak).tolist()) == {0}


def test_a_window_between_two_of_one_speaker_is_that_speakers_unless_it_is_clearly_not() -> None:
    order = [0] * 8 + [1] * 8
    x = SPREAD.white(talk(order))
    x[4] = 0.52 * x[9] + 0.48 * x[3]
    labels = np.array(order)
    labels[4] = 1

    assert follow(x, labels, SPREAD, forget=True).tolist() == order


@pytest.mark.parametrize("known", [1, 2, 3, 4, 9])
def test_a_number_that_is_given_is_kept_to(known: int) -> None:
    voices = talk([0, 0, 1, 1, 2, 2, 0, 1, 2])

    found = cluster(voices, ClusterOptions(count=known, spread=SPREAD))

    assert len(set(found.tolist())) == known


def test_the_number_stays_within_its_limits_and_order_of_appearance() -> None:
    voices = talk([2, 2, 0, 0, 1, 1, 3, 3])

    few = cluster(voices, ClusterOptions(max_count=2, spread=SPREAD))
    many = cluster(voices, ClusterOptions(min_count=6, spread=SPREAD))

    assert len(set(few.tolist())) == 2
    assert len(set(many.tolist())) >= 6
    assert few[0] == many[0] == 0


def test_long_recordings_are_parted_piece_by_piece_with_the_same_result() -> None:
    order = [int(x) for x in np.random.default_rng(3).integers(4, size=AT_ONCE // 2) for _ in range(8)]

    assert same_parting(part(talk(order), SPREAD), order)


def test_no_windows_and_one_window() -> None:
    assert part(np.zeros((0, 12)), SPREAD).tolist() == []
    assert part(np.ones((1, 12)), SPREAD).tolist() == [0]
    assert part(np.zeros((3, 12)), SPREAD).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"between": ()},
        {"within": (1.0, -1.0)},
        {"within": (1.0,)},
        {"weight": 0.0},
        {"stay": 1.5},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Spread(**{"between": BETWEEN, "within": WITHIN, **wrong})  # type: ignore[arg-type]
