"""Frames -> tokens, with a pencil and against a slow way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.decode.ctc import Run, collapse


def test_repeats_are_one_token_and_blanks_part_tokens() -> None:
    ids = np.array([0, 7, 7, 0, 7, 4, 4, 0])
    confidences = np.array([0.9, 0.25, 0.5, 0.9, 0.75, 0.125, 0.25, 0.9], np.float32)

    assert collapse(ids, confidences) == [
        Run(id=7, start=1, stop=3, confidence=0.5),
        Run(id=7, start=4, stop=5, confidence=0.75),
        Run(id=4, start=5, stop=7, confidence=0.25),
    ]


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_blanks_alone_and_no_frames_are_no_tokens(frames: int) -> None:
    assert collapse(np.zeros(frames, np.int64), np.ones(frames, np.float32)) == []


@given(st.lists(st.integers(0, 3), max_size=40))
def test_runs_partition_the_frames_that_are_not_blank(said: list[int]) -> None:
    runs = collapse(np.array(said, dtype=np.int64), np.linspace(0, 1, len(said), dtype=np.float32))

    drawn = [0] * len(said)
    for run in runs:
        drawn[run.start : run.stop] = [run.id] * (run.stop - run.start)
    assert drawn == said
    assert all(a.stop < b.start or a.id != b.id for a, b in itertools.pairwise(runs))
    assert all(run.confidence == pytest.approx((run.stop - 1) / max(len(said) - 1, 1)) for run in runs)
