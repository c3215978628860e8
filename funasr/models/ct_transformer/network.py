"""CT-Transformer: word ids -> one punctuation label a word. Official checkpoint names.

B batch, T words, D width, V vocabulary, C labels.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from funasr.models.ct_transformer.config import CtTransformerConfig
from funasr.nn.layers import Padding
from funasr.nn.sanm import SanmEncoder
from funasr.nn.spread import spread

M = TypeVar("M", bound="CTTransformer")

WORDS_ON_CPU = 640
"""Words computed at once: their activations stay in the cache of one core."""


class CTTransformer(nn.Module):
    """The network of whole texts: every word sees all others. Holds weights and nothing else."""

    ENCODER = "SANMEncoder"
    new_lengths = True
    """Windows of words are of any length: see `ColumnLinear`."""

    def __init__(self, config: CtTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.embed_unit)
        self.encoder = self.build_encoder(config)
        self.decoder = nn.Linear(config.encoder.output_size, config.labels)

    @classmethod
    def from_official(cls: type[M], raw: Mapping[str, Any], vocab_size: int, input_size: int = 0) -> M:
        """Build from a config.yaml. Weights are random until a checkpoint is loaded. No `input_size`."""
        return cls(CtTransformerConfig.from_official(raw, vocab_size, cls.ENCODER))

    def build_encoder(self, config: CtTransformerConfig) -> SanmEncoder:
        return SanmEncoder(config.encoder, config.embed_unit)

    def encode(self, words: Tensor, lengths: Tensor, boundaries: Tensor, *, padded: bool) -> Tensor:
        """words (B, T, D), lengths (B,), boundaries (B,) -> hidden (B, T, D)."""
        dtype = self.encoder.after_norm.weight.dtype
        hidden: Tensor = self.encoder(words, Padding.of(lengths, words.shape[1], dtype) if padded else None)
        return hidden

    def forward(
        self, ids: Tensor, lengths: Tensor, boundaries: Tensor | None = None, *, padded: bool = True
    ) -> Tensor:
        """ids (B, T), lengths (B,) -> logits (B, T, C). `padded=False` says that every row fills T.

        boundaries (B,), for networks of live texts: how many words of each row were there before.
        """
        if boundaries is None:
            boundaries = torch.zeros_like(lengths)
        logits: Tensor = self.decoder(self.encode(self.embed(ids), lengths, boundaries, padded=padded))
        return logits

    def label(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64], boundaries: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """ids (B, T), lengths (B,) >= 1 -> the best label of each word (B, T); meaningless at padding."""
        labels = np.zeros(ids.shape, dtype=np.int64)

        def some(rows: slice) -> None:
            size = int(lengths[rows].max())
            labels[rows, :size] = self._label(
                ids[rows, :size], lengths[rows], None if boundaries is None else boundaries[rows]
            )

        if self.embed.weight.device.type == "cpu":
            spread(some, _rows_at_once(lengths, torch.get_num_threads()))
        else:
            some(slice(0, len(ids)))
        return labels

    @torch.inference_mode()
    def _label(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64], boundaries: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        device = self.embed.weight.device
        logits = self(
            torch.from_numpy(ids).to(device),
            torch.from_numpy(lengths).to(device),
            None if boundaries is None else torch.from_numpy(boundaries).to(device),
            padded=bool((lengths < ids.shape[1]).any()),
        )
        return np.asarray(logits.argmax(dim=-1).cpu().numpy())


def _rows_at_once(lengths: NDArray[np.int64], threads: int) -> list[slice]:
    """lengths (B,) -> stretches of neighbours with about as many words each, as many as threads can share."""
    until = np.cumsum(lengths)
    count = -(-int(until[-1]) // WORDS_ON_CPU)
    if count > 1:
        count = -(-count // threads) * threads
    # A row belongs to the part that its middle lies in.
    edges = np.searchsorted(until - lengths / 2, until[-1] * np.arange(1, count) / count)
    bounds = [0, *np.unique(edges).tolist(), len(lengths)]
    return [slice(start, stop) for start, stop in itertools.pairwise(bounds) if stop > start]
