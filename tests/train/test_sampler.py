"""Which examples train together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.errors import OptionError
from funasr.train.sampler import SamplerConfig, plan_epoch


def test_batches_hold_like_lengths_up_to_the_padded_size() -> None:
    lengths = np.array([5, 1, 4, 2, 3])

    plan = plan_epoch(lengths, SamplerConfig(batch_size=8, shuffle=False), epoch=0)

    # By length: 1 2 | 3 4 | 5. A third would make 3 * 3 = 9 > 8.
    assert plan == [[1, 3], [4, 2], [0]]


def test_an_example_longer_than_a_batch_is_alone_and_one_over_the_limit_is_left_out() -> None:
    lengths = np.array([10, 100, 2000])

    plan = plan_epoch(lengths, SamplerConfig(batch_size=50, max_token_length=1000, shuffle=False), epoch=0)

    assert plan == [[0], [1]]


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=80),
    world=st.integers(1, 4),
    size=st.integers(60, 200),
    epoch=st.integers(0, 3),
)
def test_all_ranks_together_see_every_example_and_each_as_many_batches(
    lengths: list[int], world: int, size: int, epoch: int
) -> None:
    config = SamplerConfig(batch_size=size, batch_size_sample_max=7, sort_size=16)
    rows = np.array(lengths)

    plans = [plan_epoch(rows, config, epoch=epoch, rank=rank, world=world) for rank in range(world)]

    assert len({len(plan) for plan in plans}) == 1
    batches = [batch for plan in plans for batch in plan]
    assert {index for batch in batches for index in batch} == set(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= 7
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= size


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    lengths = np.arange(1, 200)
    config = SamplerConfig(batch_size=400)

    first = plan_epoch(lengths, config, epoch=0, seed=5)

    assert first == plan_epoch(lengths, config, epoch=0, seed=5)
    assert first != plan_epoch(lengths, config, epoch=1, seed=5)
    assert first != plan_epoch(lengths, config, epoch=0, seed=6)


def test_batches_can_be_counted_in_examples() -> None:
    lengths = np.array([500, 3, 400, 1, 2], dtype=np.int64)
    config = SamplerConfig(batch_type="example", batch_size=2, shuffle=False)

    assert plan_epoch(lengths, config, epoch=0) == [[3, 4], [1, 2], [0]]
    with pytest.raises(OptionError, match="'example'"):
        SamplerConfig(batch_type="examples")
