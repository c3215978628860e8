"""Examples -> padded batches. B batch, T feature rows, D feature width, U targets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from funasr.arrays import Features
from funasr.errors import InputError

logger = logging.getLogger(__name__)

PADDING = -1
"""Fills targets behind the end of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One utterance to learn from."""

    key: str
    features: Features
    """(T, D)"""
    target: NDArray[np.int64]
    """(U,) token ids"""
    spans: NDArray[np.float32] | None = None
    """(U, 2) where each target begins and ends, in feature rows, when that is known."""
    places: NDArray[np.int64] | None = None
    """(S, 2) first and last place of each hotword in the target, -1 for none; S is the same for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Examples side by side."""

    keys: tuple[str, ...]
    features: Tensor
    """(B, T, D) float32, zero behind each row's end."""
    lengths: Tensor
    """(B,) int64 rows of features."""
    targets: Tensor
    """(B, U) int64, PADDING behind each row's end."""
    target_lengths: Tensor
    """(B,) int64"""
    spans: Tensor | None = None
    """(B, U, 2) float32, zero behind each row's end; None unless every example has them."""
    places: Tensor | None = None
    """(B, S, 2) int64; None unless every example has them."""

    def __reduce__(self) -> tuple[Any, ...]:
        """How a worker sends it. Each tensor would be a file to open: only the large one goes that way."""
        names = [field.name for field in fields(self) if field.name not in ("keys", "features")]
        small = {name: getattr(self, name) for name in names}
        arrays = {name: tensor.numpy() for name, tensor in small.items() if tensor is not None}
        return _received, (self.keys, self.features, arrays)

    def pin_memory(self) -> Batch:
        """The same batch in memory that a GPU reads from directly. Its name is that of torch's loader."""
        return Batch(
            keys=self.keys,
            features=self.features.pin_memory(),
            lengths=self.lengths.pin_memory(),
            targets=self.targets.pin_memory(),
            target_lengths=self.target_lengths.pin_memory(),
            spans=None if self.spans is None else self.spans.pin_memory(),
            places=None if self.places is None else self.places.pin_memory(),
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            keys=self.keys,
            features=self.features.to(device, non_blocking=True),
            lengths=self.lengths.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            target_lengths=self.target_lengths.to(device, non_blocking=True),
            spans=None if self.spans is None else self.spans.to(device, non_blocking=True),
            places=None if self.places is None else self.places.to(device, non_blocking=True),
        )


def _received(keys: tuple[str, ...], features: Tensor, arrays: Mapping[str, NDArray[Any]]) -> Batch:
    small: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Batch(keys=keys, features=features, **small)


class ExampleSource(Protocol):
    """A set of utterances. What `load` returns depends on (epoch, index) alone, so that any number of worker
    processes, and a run that was resumed, see the same data."""

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        """(N,) feature rows of each utterance, exactly or nearly: batches are planned with them."""
        ...

    def load(self, epoch: int, index: int) -> Example: ...


@dataclass(frozen=True, kw_only=True)
class Slices:
    """A data set in parts, of which one at a time is in memory (`data_split_num`)."""

    count: int
    load: Callable[[int, int], ExampleSource]
    """Epoch and number of a part, from 0 -> its utterances."""


def collate(examples: Sequence[Example]) -> Batch:
    """Pad to the longest."""
    rows = [len(example.features) for example in examples]
    counts = [len(example.target) for example in examples]
    width = examples[0].features.shape[1]
    features = np.zeros((len(examples), max(rows), width), dtype=np.float32)
    targets = np.full((len(examples), max(counts)), PADDING, dtype=np.int64)
    spans = np.zeros((len(examples), max(counts), 2), dtype=np.float32)
    for place, example in enumerate(examples):
        features[place, : rows[place]] = example.features
        targets[place, : counts[place]] = example.target
        if example.spans is not None:
            spans[place, : counts[place]] = example.spans
    known = all(example.spans is not None for example in examples)
    places = [example.places for example in examples if example.places is not None]
    return Batch(
        keys=tuple(example.key for example in examples),
        features=torch.from_numpy(features),
        lengths=torch.tensor(rows, dtype=torch.int64),
        targets=torch.from_numpy(targets),
        target_lengths=torch.tensor(counts, dtype=torch.int64),
        spans=torch.from_numpy(spans) if known else None,
        places=torch.from_numpy(np.stack(places)) if len(places) == len(examples) else None,
    )


class EpochBatches(Dataset[Batch]):
    """The planned batches of one epoch as a map-style dataset: item i is batch i, padded."""

    def __init__(self, source: ExampleSource, epoch: int, plan: Sequence[Sequence[int]]) -> None:
        self._source, self._epoch, self._plan = source, epoch, plan

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, number: int) -> Batch:
        """Examples that cannot be read are left out, with a warning. Raises InputError if none is left."""
        examples: list[Example] = []
        fault: InputError | None = None
        for index in self._plan[number]:
            try:
                examples.append(self._source.load(self._epoch, index))
            except InputError as error:
                logger.warning("left out of its batch: %s", error)
                fault = error
        if not examples and fault is not None:
            raise fault
        return collate(examples)
