"""CT-Transformer for live text: what came after the boundary is hidden from what came well before it.

B batch, T words, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from funasr.models.ct_transformer.config import CtTransformerConfig
from funasr.models.ct_transformer.network import CTTransformer
from funasr.nn.layers import Padding
from funasr.nn.sanm import SanmEncoder


class SanmVadEncoder(SanmEncoder):
    """Its layers look back only, except the last one, which also looks ahead up to the boundary."""

    def look(self, words: Tensor, lengths: Tensor, hidden: Tensor, hidden_last: Tensor) -> Tensor:
        """words (B, T, D), lengths (B,) -> hidden (B, T, D).

        hidden (B or 1, T, T) bool, True where row must not see column; hidden_last is that of the last layer.
        """
        x = self.enter(words)
        padding = Padding.of(lengths, words.shape[1], x.dtype)
        back = Padding(padding.frames, _hide(padding.keys, hidden))
        for layer in (*self.encoders0, *list(self.encoders)[:-1]):
            x = layer(x, back)
        ahead = Padding(padding.frames, _hide(padding.keys, hidden_last))
        for layer in list(self.encoders)[-1:]:
            x = layer(x, ahead)
        out: Tensor = self.after_norm(x)
        return out


class CTTransformerStreaming(CTTransformer):
    """The network of live texts."""

    ENCODER = "SANMVadEncoder"

    def build_encoder(self, config: CtTransformerConfig) -> SanmEncoder:
        return SanmVadEncoder(config.encoder, config.embed_unit)

    def encode(self, words: Tensor, lengths: Tensor, boundaries: Tensor, *, padded: bool) -> Tensor:
        size = words.shape[1]
        return self.encode_through(
            words, lengths, causal_mask(size, words.device), boundary_mask(size, lengths, boundaries)
        )

    def encode_through(self, words: Tensor, lengths: Tensor, hidden: Tensor, hidden_last: Tensor) -> Tensor:
        """`encode` with masks of one's own: see `SanmVadEncoder.look`."""
        assert isinstance(self.encoder, SanmVadEncoder)
        return self.encoder.look(words, lengths, hidden, hidden_last)


def causal_mask(size: int, device: torch.device) -> Tensor:
    """(1, T, T) bool, True where row must not see column: all that follows it."""
    return torch.ones(size, size, dtype=torch.bool, device=device).triu(1)[None]


def boundary_mask(size: int, lengths: Tensor, boundaries: Tensor) -> Tensor:
    """lengths (B,), boundaries (B,) -> (B, T, T) bool, True where row must not see column.

    With p words before the boundary, rows 0..p-2 do not see columns p and later. As upstream: the last word
    before the boundary does, for its mark is decided by what follows. A boundary outside of the text is none.
    """
    words = torch.arange(size, device=lengths.device)
    before = words[None, :, None] < (boundaries - 1)[:, None, None]
    after = words[None, None, :] >= boundaries[:, None, None]
    inside = ((boundaries > 0) & (boundaries < lengths))[:, None, None]
    return before & after & inside


def _hide(keys: Tensor, hidden: Tensor) -> Tensor:
    """keys (B, 1, 1, T) added to scores, hidden (B or 1, T, T) -> (B, 1, T, T)."""
    return keys.masked_fill(hidden[:, None], -math.inf)
