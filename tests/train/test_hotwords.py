"""Which parts of a sentence are drawn as its hotwords."""

from __future__ import annotations

import numpy as np
import pytest

from funasr.train.hotwords import MOST, REACH, draw_places


def drawn(size: int, times: int = 2000) -> np.ndarray:
    rng = np.random.default_rng(size)
    return np.stack([draw_places(size, rng) for _ in range(times)])


@pytest.mark.parametrize("size", [0, 1])
def test_one_token_is_no_hotword(size: int) -> None:
    assert (drawn(size, 50) == -1).all()


def test_two_tokens_are_one_hotword_in_three_of_four_sentences() -> None:
    first = drawn(2)[:, 0].tolist()

    assert first.count([0, 1]) / len(first) == pytest.approx(0.75, abs=0.03)
    assert first.count([0, 1]) + first.count([-1, -1]) == len(first)


@pytest.mark.parametrize("size", [3, 8, 12, 13, 14, 15, 16, 17, 24, 60])
def test_hotwords_have_two_to_eight_tokens_of_the_sentence_and_do_not_touch(size: int) -> None:
    places = drawn(size)
    real = places[places[:, :, 0] >= 0]

    assert places.shape[1:] == (MOST, 2)
    assert (real[:, 1] > real[:, 0]).all()
    assert (real[:, 1] - real[:, 0] <= REACH).all()
    assert real.max() < size
    both = places[places[:, 1, 0] >= 0]
    assert (both[:, 1, 0] > both[:, 0, 1]).all()
    assert len(both) / len(places) == pytest.approx(0.075 if size > 12 else 0, abs=0.025)


def test_every_place_of_a_sentence_can_begin_or_end_a_hotword() -> None:
    places = drawn(6)[:, 0]

    assert {*places[:, 0].tolist()} == {-1, 0, 1, 2, 3, 4}
    assert {*places[:, 1].tolist()} == {-1, 1, 2, 3, 4, 5}
