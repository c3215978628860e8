from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from funasr.pipeline.batching import BatchLimits, plan_batches


def test_utterances_of_one_length_share_a_batch_up_to_the_seconds_allowed() -> None:
    assert plan_batches([1000] * 5, BatchLimits(batch_size_s=3)) == [[0, 1, 2], [3, 4]]


def test_shortest_come_first_and_unlike_lengths_do_not_share_a_batch() -> None:
    assert plan_batches([5000, 1000, 1000, 1050], BatchLimits()) == [[1, 2, 3], [0]]


def test_an_utterance_over_the_threshold_goes_alone() -> None:
    limits = BatchLimits(batch_size_threshold_s=60, max_padding=1.0)
    assert plan_batches([63_000, 59_000, 60_000, 70_000], limits) == [[1, 2], [0], [3]]


def test_batch_size_one_means_one_at_a_time() -> None:
    assert plan_batches([1000, 1000], BatchLimits(batch_size=1)) == [[0], [1]]


def test_an_utterance_longer_than_a_whole_batch_is_still_recognized() -> None:
    assert plan_batches([9000], BatchLimits(batch_size_s=1)) == [[0]]


@given(
    st.lists(st.integers(0, 100_000), max_size=60),
    st.floats(0.1, 400),
    st.integers(1, 8) | st.none(),
    st.floats(0, 1),
)
def test_every_utterance_is_in_exactly_one_batch_and_no_limit_is_broken(
    lengths: list[int], batch_size_s: float, batch_size: int | None, max_padding: float
) -> None:
    limits = BatchLimits(batch_size_s=batch_size_s, batch_size=batch_size, max_padding=max_padding)

    batches = plan_batches(lengths, limits)

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        if len(batch) > 1:
            padded = max(lengths[i] for i in batch) * len(batch)
            assert padded <= batch_size_s * 1000
            assert padded - sum(lengths[i] for i in batch) <= max_padding * padded
            assert batch_size is None or len(batch) <= batch_size
