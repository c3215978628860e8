"""Voices to speakers: made-up voices whose speakers are known, and the reference's labels for some."""

from __future__ import annotations

import builtins
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.errors import MissingDependencyError, OptionError
from funasr.speakers.cluster import (
    ClusterOptions,
    by_appearance,
    centres,
    cluster,
    merge_similar,
    normalized,
)
from tests.speakers.golden import diarization, seeded

A, B, C = np.eye(3, dtype=np.float32)


def test_labels_count_up_in_the_order_of_first_appearance() -> None:
    assert by_appearance(np.array([7, 7, 2, 7, 5, 2])).tolist() == [0, 0, 1, 0, 2, 1]


def test_the_centre_of_a_speaker_is_the_mean_of_its_voices() -> None:
    voices = np.array([[2, 0], [0, 4], [4, 2]], dtype=np.float32)

    np.testing.assert_array_equal(centres(voices, np.array([0, 1, 0])), [[3, 1], [0, 4]])


def test_a_voice_of_zeros_stays_and_nothing_is_divided_by_zero() -> None:
    np.testing.assert_allclose(normalized(np.array([[3, 4], [0, 0]], np.float32)), [[0.6, 0.8], [0, 0]])


def test_of_three_speakers_the_two_that_are_alike_become_one() -> None:
    voices = np.stack([A, B, A + 0.1 * C, C])

    labels = merge_similar(voices, np.array([0, 1, 2, 3]), ClusterOptions(merge_thr=0.9))

    assert labels.tolist() == [0, 1, 0, 2]


def test_merging_stops_at_the_least_number_of_speakers() -> None:
    labels = merge_similar(
        np.stack([A, A, A]), np.array([0, 1, 2]), ClusterOptions(merge_thr=0.5, min_count=2)
    )

    assert len(set(labels.tolist())) == 2


@pytest.mark.parametrize("case", range(len(seeded.CLUSTERED)))
def test_labels_are_those_of_the_reference(case: int) -> None:
    count, speakers, known = seeded.CLUSTERED[case]
    voices, _ = seeded.voices(count, speakers, case)
    expected = np.array([int(digit) for digit in diarization()["clusters"][case]])

    found = cluster(voices, ClusterOptions(count=known))

    np.testing.assert_array_equal(found, by_appearance(expected))


@pytest.mark.parametrize("count", [2, 7, 19])
def test_a_short_recording_of_two_speakers_is_not_given_to_one(count: int) -> None:
    voices, whose = seeded.voices(400, 2, 5)
    both = np.concatenate([voices[whose == 0][: count // 2], voices[whose == 1][: count - count // 2]])
    expected = [0] * (count // 2) + [1] * (count - count // 2)

    assert cluster(both).tolist() == expected
    assert cluster(both, ClusterOptions(count=2)).tolist() == expected


def test_a_short_recording_of_one_speaker_stays_one() -> None:
    voices, _ = seeded.voices(15, 1, 3)

    assert not cluster(voices).any()


@pytest.mark.parametrize("each", [4, 50])
def test_the_number_of_speakers_is_kept_between_its_bounds(each: int) -> None:
    voices, whose = seeded.voices(800, 4, 8)
    voices = np.concatenate([voices[whose == speaker][:each] for speaker in range(4)])

    assert cluster(voices).max() == 3
    assert cluster(voices, ClusterOptions(max_count=2)).max() <= 1
    assert cluster(voices, ClusterOptions(min_count=6)).max() >= 5
    assert not cluster(voices, ClusterOptions(max_count=1)).any()


def test_more_speakers_than_windows_are_as_many_as_there_are_windows() -> None:
    assert sorted(cluster(np.stack([A, B, C]), ClusterOptions(count=9)).tolist()) == [0, 1, 2]


@pytest.mark.parametrize("total", [0, 1, 5, 40, 2100])
def test_voices_that_do_not_differ_are_one_speaker(total: int) -> None:
    labels = cluster(np.ones((total, 8), dtype=np.float32))

    assert len(labels) == total
    assert not labels.any()


@settings(max_examples=25, deadline=None)
@given(
    total=st.integers(0, 60),
    size=st.integers(1, 6),
    count=st.none() | st.integers(1, 5),
    distinct=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_any_voices_give_labels_in_the_order_of_appearance(
    total: int, size: int, count: int | None, distinct: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    voices = rng.standard_normal((distinct, size)).astype(np.float32)[rng.integers(0, distinct, total)]

    labels = cluster(voices, ClusterOptions(count=count))

    assert labels.shape == (total,)
    assert by_appearance(labels).tolist() == labels.tolist()
    if count is not None and total:
        assert labels.max() < count


@pytest.mark.parametrize(
    ("total", "most_bytes"),
    [
        (5_000, 160e6),  # all pairs would be 200 MB in double precision
        pytest.param(14_400, 250e6, marks=pytest.mark.slow),  # three hours; 1.6 GB
    ],
)
def test_long_recordings_cluster_in_seconds_and_in_little_memory(total: int, most_bytes: float) -> None:
    voices, whose = seeded.voices(total, 6, 1)
    began = time.thread_time()
    tracemalloc.start()

    labels = cluster(voices)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.thread_time() - began < 40
    assert peak < most_bytes
    assert (labels == by_appearance(whose)).mean() > 0.99


def test_many_windows_and_a_known_number() -> None:
    voices, whose = seeded.voices(3000, 4, 2)

    assert (cluster(voices, ClusterOptions(count=4)) == by_appearance(whose)).mean() > 0.99


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 0}, "preset_spk_num is 0; it must be a number of speakers, 1 or more"),
        ({"min_count": 3, "max_count": 2}, "min_spk_num is 3 and max_spk_num 2"),
        ({"merge_thr": 78}, "merge_thr is 78; it is a cosine"),
        ({"merge_th": 0.7}, "Did you mean 'merge_thr'"),
    ],
)
def test_a_number_that_makes_no_sense_is_answered(given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ClusterOptions.from_official(given)


def test_without_scikit_learn_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(MissingDependencyError, match=r'pip install "funasr\[speakers\]"'):
        cluster(np.eye(3, dtype=np.float32))
