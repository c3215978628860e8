"""Lengths -> batches of indices: like lengths together, limited in size, the same on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funasr.errors import OptionError

BATCH_TYPES = ("token", "length", "example")


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """Names of `dataset_conf`, where they have one there."""

    batch_type: str = "token"
    """What batch_size counts: `token` (or `length`) the lengths, padding included; `example` the examples."""
    batch_size: int = 6000
    batch_size_sample_max: int = 200
    """Examples in a batch, at most."""
    sort_size: int = 1024
    """Examples sorted by length together: larger means less padding and less mixing."""
    max_token_length: int = 2048
    """Longer examples are left out."""
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.batch_type not in BATCH_TYPES:
            raise OptionError(
                f"dataset_conf.batch_type={self.batch_type!r}: expected {', '.join(map(repr, BATCH_TYPES))}"
            )
        for name in ("batch_size", "batch_size_sample_max", "sort_size", "max_token_length"):
            if getattr(self, name) < 1:
                raise OptionError(f"dataset_conf.{name}={getattr(self, name)!r}: expected 1 or more")


def plan_epoch(
    lengths: NDArray[np.int64],
    config: SamplerConfig,
    *,
    epoch: int,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
) -> list[list[int]]:
    """The batches of one rank, in order. Depends on the arguments alone: a resumed run skips the first ones.

    All examples are shuffled, cut in windows of `sort_size`, sorted by length in each, filled into batches,
    and the batches shuffled. Every rank gets as many; a few are repeated to make that so.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(lengths)) if config.shuffle else np.arange(len(lengths))
    order = order[lengths[order] <= config.max_token_length]
    batches: list[list[int]] = []
    for start in range(0, len(order), config.sort_size):
        window = order[start : start + config.sort_size]
        window = window[np.argsort(lengths[window], kind="stable")]
        batches += _fill(window.tolist(), lengths, config)
    if config.shuffle:
        batches = [batches[place] for place in rng.permutation(len(batches))]
    dealt = len(batches) + -len(batches) % world
    return [batches[place % len(batches)] for place in range(rank, dealt, world)]


def _fill(window: Sequence[int], lengths: NDArray[np.int64], config: SamplerConfig) -> list[list[int]]:
    """Indices in order of length -> batches. An example longer than `batch_size` is one of its own."""
    by_example = config.batch_type == "example"
    most = config.batch_size if by_example else config.batch_size_sample_max
    batches: list[list[int]] = []
    current: list[int] = []
    for index in window:
        padded = int(lengths[index]) * (len(current) + 1)
        if current and (len(current) >= most or (not by_example and padded > config.batch_size)):
            batches.append(current)
            current = []
        current.append(index)
    if current:
        batches.append(current)
    return batches
