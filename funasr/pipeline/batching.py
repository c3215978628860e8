"""Lengths of utterances -> batches of similar length. Pure arithmetic: a pencil can check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """How large a batch may become."""

    batch_size_s: float = 300.0
    """Seconds of audio in a batch, padding included. One utterance may exceed it: it goes alone."""
    batch_size_threshold_s: float = 60.0
    """Utterances longer than this go alone."""
    batch_size: int | None = None
    """Most utterances in a batch; None for no limit."""
    max_padding: float = 0.1
    """Most padding in a batch, as a share of it. Padding is computed and thrown away."""


def plan_batches(lengths_ms: Sequence[int], limits: BatchLimits) -> list[list[int]]:
    """Groups of indices into `lengths_ms`; every index occurs once, shortest utterances first.

    Utterances are sorted by length and a batch is closed when the next one would break a limit.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    batch_ms = 0
    for index in sorted(range(len(lengths_ms)), key=lengths_ms.__getitem__):
        length = lengths_ms[index]
        if batch and not _fits(length, len(batch) + 1, batch_ms + length, limits):
            batches.append(batch)
            batch, batch_ms = [], 0
        batch.append(index)
        batch_ms += length
    if batch:
        batches.append(batch)
    return batches


def _fits(longest_ms: int, count: int, total_ms: int, limits: BatchLimits) -> bool:
    padded_ms = longest_ms * count
    return (
        longest_ms <= limits.batch_size_threshold_s * 1000
        and padded_ms <= limits.batch_size_s * 1000
        and (limits.batch_size is None or count <= limits.batch_size)
        and padded_ms - total_ms <= limits.max_padding * padded_ms
    )
