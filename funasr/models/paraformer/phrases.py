"""Hotwords as vectors, one a phrase, encoded once and remembered.

B batch, N phrases (the "no hotword" entry is the last), D width.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from funasr.nn.layers import Padding
from funasr.stages.phrases import Ids, Recent, listed
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
        if not torch.onnx.is_in_onnx_export() and not bool(self.priors.any()):
            return None
        keys = self.priors[:, None, None, :].to(self.vectors.dtype)
        return Padding(torch.ones_like(self.vectors[..., :1]), keys)

    def pick(self, indices: Tensor) -> Phrases:
        """indices (B, K) into the N of a shared list, or of each row's own -> a list for each row."""
        rows, width = indices.shape[0], self.vectors.shape[2]
        wide = indices[..., None].expand(-1, -1, width)
        return Phrases(
            self.vectors.expand(rows, -1, -1).gather(1, wide), self.priors.expand(rows, -1).gather(1, indices)
        )


class PhraseMemory:
    """The last few hotword lists, encoded."""

    def __init__(self, encode: Callable[[Ids], Tensor]) -> None:
        self._encode = encode
        self._recent: Recent[Tensor] = Recent()

    def phrases(self, hotwords: Hotwords | None, sos: int, encoder: nn.LSTM) -> Phrases:
        """The phrases with the "no hotword" entry, `(sos,)`, behind them. Phrases without ids are skipped.

        `encoder` is what encodes them: what it said before its weights changed is not used again.
        """
        ids, priors = listed(hotwords, sos)
        vectors = self._recent.get((ids, _stamp(encoder)), lambda: self._encode(ids))
        return Phrases(vectors, torch.tensor([priors], dtype=torch.float32, device=vectors.device))


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
