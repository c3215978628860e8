"""Hotwords as vectors, one a phrase, encoded once and remembered.

B batch, N phrases (the "no hotword" entry is the last), D width.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from funasr.nn.layers import Padding
from funasr.stages.protocols import Hotwords


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
    """The last few hotword lists, encoded. Safe to share between threads; bounded.

    Network weights do not change while it serves, so an entry never goes stale.
    """

    def __init__(self, encode: Callable[[tuple[tuple[int, ...], ...]], Tensor], size: int = 16) -> None:
        self._encode, self._size = encode, size
        self._known: OrderedDict[tuple[tuple[int, ...], ...], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        # A copy of a network starts with an empty memory: locks cannot be copied.
        return PhraseMemory, (self._encode, self._size)

    def phrases(self, hotwords: Hotwords | None, sos: int) -> Phrases:
        """The phrases with the "no hotword" entry, `(sos,)`, behind them. Phrases without ids are skipped."""
        given = [] if hotwords is None else zip(hotwords.ids, hotwords.weights, strict=True)
        kept = [(ids, weight) for ids, weight in given if ids]
        ids = (*(phrase for phrase, _ in kept), (sos,))
        priors = [*(math.log(weight) for _, weight in kept), 0.0]
        vectors = self._vectors(ids)
        return Phrases(vectors, torch.tensor([priors], dtype=torch.float32, device=vectors.device))

    def _vectors(self, ids: tuple[tuple[int, ...], ...]) -> Tensor:
        with self._lock:
            if ids in self._known:
                self._known.move_to_end(ids)
                return self._known[ids]
        vectors = self._encode(ids)
        with self._lock:
            self._known[ids] = vectors
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return vectors


def padded_ids(ids: tuple[tuple[int, ...], ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Phrases of ids -> (N, L) int64 padded with 0, and lengths (N,)."""
    lengths = torch.tensor([len(phrase) for phrase in ids], device=device)
    table = torch.zeros(len(ids), int(lengths.max()), dtype=torch.long, device=device)
    for row, phrase in zip(table, ids, strict=True):
        row[: len(phrase)] = torch.tensor(phrase, device=device)
    return table, lengths
