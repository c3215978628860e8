"""Hotwords as vectors, one a phrase, encoded once and remembered.

B batch, N phrases (the "no hotword" entry is the last), D width.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from funasr.nn.layers import Padding
from funasr.stages.protocols import Hotwords

Ids: TypeAlias = tuple[tuple[int, ...], ...]
"""Phrases as token ids."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """What the hotword branch of a network looks at."""

    vectors: Tensor
    """(1, N, D), the same for every row of a batch, or (B, N, D)."""
    priors: Tensor
    """(1 or B, N) float32, added to attention scores: log of the user's weights, 0 where it is 1."""

    def padding(self) -> Padding | None:
        """The priors as the attention layers take them; None where all are 0."""
        if not bool(self.priors.any()):
            return None
        keys = self.priors[:, None, None, :].to(self.vectors.dtype)
        return Padding(torch.ones_like(self.vectors[..., :1]), keys)

    def pick(self, indices: Tensor) -> Phrases:
        """indices (B, K) into the N of a shared list -> a list for each row."""
        return Phrases(self.vectors[0][indices], self.priors[0][indices])


class PhraseMemory:
    """The last few hotword lists, encoded. Safe to share between threads; bounded."""

    def __init__(self, encode: Callable[[Ids], Tensor], size: int = 16) -> None:
        self._encode, self._size = encode, size
        self._known: OrderedDict[tuple[Ids, Hashable], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        # A copy of a network starts with an empty memory: locks cannot be copied.
        return PhraseMemory, (self._encode, self._size)

    def phrases(self, hotwords: Hotwords | None, sos: int, encoder: nn.LSTM) -> Phrases:
        """The phrases with the "no hotword" entry, `(sos,)`, behind them. Phrases without ids are skipped.

        `encoder` is what encodes them: what it said before its weights changed is not used again.
        """
        given = [] if hotwords is None else zip(hotwords.ids, hotwords.weights, strict=True)
        kept = [(ids, weight) for ids, weight in given if ids]
        ids = (*(phrase for phrase, _ in kept), (sos,))
        priors = [*(math.log(weight) for _, weight in kept), 0.0]
        vectors = self._vectors(ids, _stamp(encoder))
        return Phrases(vectors, torch.tensor([priors], dtype=torch.float32, device=vectors.device))

    def _vectors(self, ids: Ids, stamp: Hashable) -> Tensor:
        key = ids, stamp
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        vectors = self._encode(ids)
        with self._lock:
            self._known[key] = vectors
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return vectors


def _stamp(encoder: nn.LSTM) -> Hashable:
    """Another value whenever the weights are others: moved, rounded, trained or loaded."""
    weight = encoder.weight_hh_l0
    assert isinstance(weight, Tensor)
    version = 0 if weight.is_inference() else weight._version
    return weight.data_ptr(), weight.dtype, str(weight.device), version


def padded_ids(ids: Ids, device: torch.device) -> tuple[Tensor, Tensor]:
    """Phrases of ids -> (N, L) int64 padded with 0, and lengths (N,)."""
    lengths = torch.tensor([len(phrase) for phrase in ids], device=device)
    table = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long, device=device)
    for row, phrase in zip(table, ids, strict=True):
        row[: len(phrase)] = torch.tensor(phrase, device=device)
    return table, lengths
