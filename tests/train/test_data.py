"""Examples side by side."""

from __future__ import annotations

from dataclasses import fields
from multiprocessing.reduction import ForkingPickler

import numpy as np
import torch

from funasr.train.data import PADDING, Example, collate


def example(rows: int, tokens: list[int], spans: bool = False) -> Example:
    return Example(
        key=f"{rows}",
        features=np.full((rows, 2), rows, dtype=np.float32),
        target=np.array(tokens, dtype=np.int64),
        spans=np.ones((len(tokens), 2), dtype=np.float32) if spans else None,
    )


def test_features_are_padded_with_zeros_and_targets_with_minus_one() -> None:
    batch = collate([example(1, [7, 8]), example(3, [9])])

    assert batch.features.tolist() == [[[1, 1], [0, 0], [0, 0]], [[3, 3]] * 3]
    assert batch.lengths.tolist() == [1, 3]
    assert batch.targets.tolist() == [[7, 8], [9, PADDING]]
    assert batch.target_lengths.tolist() == [2, 1]
    assert batch.spans is None


def test_places_are_there_when_every_example_has_them_also_one_without_words() -> None:
    batch = collate([example(2, [], spans=True), example(1, [4], spans=True)])

    assert batch.spans is not None
    assert batch.spans.tolist() == [[[0, 0]], [[1, 1]]]
    assert batch.target_lengths.tolist() == [0, 1]


def test_a_batch_comes_out_of_a_worker_as_it_was_with_one_tensor_in_shared_memory() -> None:
    batch = collate([example(2, [5], spans=True), example(1, [4, 6], spans=True)])

    sent = ForkingPickler.dumps(batch)
    received = ForkingPickler.loads(sent)

    assert bytes(sent).count(b"rebuild_storage") == 1
    for field in fields(batch):
        one, other = getattr(batch, field.name), getattr(received, field.name)
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, field.name
