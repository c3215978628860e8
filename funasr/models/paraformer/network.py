"""Paraformer: features -> encoder frames -> tokens found by integrate-and-fire -> all token ids at once.

B batch, T frames, U tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.paraformer.decoder import ParaformerDecoder
from funasr.nn.cif import CifPredictorV2, Prediction
from funasr.nn.layers import Padding
from funasr.nn.sanm import SanmEncoder

P = TypeVar("P", bound="Paraformer")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch behind the encoder."""

    memory: Tensor
    """(B, T, D), zero at padding: nothing that reads it can see how long the other rows were."""
    lengths: Tensor
    """(B,)"""
    frames: Padding | None
    """None where no row is padded."""


class Paraformer(nn.Module):
    """The network with its official parameter names. Holds weights and nothing else."""

    accepts_hotwords = False
    has_timestamps = False

    def __init__(self, config: ParaformerConfig) -> None:
        super().__init__()
        self.config = config
        size = config.encoder.output_size
        self.encoder = SanmEncoder(config.encoder, config.input_size)
        self.decoder = self.build_decoder(config)
        self.predictor = self.build_predictor(config)
        assert size == config.predictor.idim

    @classmethod
    def from_official(cls: type[P], raw: Mapping[str, Any], vocab_size: int, input_size: int) -> P:
        """Build from a config.yaml. Weights are random until a checkpoint is loaded."""
        return cls(ParaformerConfig.from_official(raw, vocab_size, input_size))

    def build_decoder(self, config: ParaformerConfig) -> ParaformerDecoder:
        return ParaformerDecoder(config.decoder, config.encoder.output_size, config.vocab_size)

    def build_predictor(self, config: ParaformerConfig) -> CifPredictorV2:
        return CifPredictorV2(config.predictor)

    def encode(self, features: Tensor, lengths: Tensor, *, padded: bool = True) -> Encoded:
        """features (B, T, input), lengths (B,) >= 1. `padded=False` says that every row fills T."""
        dtype = self.encoder.after_norm.weight.dtype
        frames = Padding.of(lengths, features.shape[1], dtype) if padded else None
        memory = self.encoder(features, frames)
        return Encoded(memory if frames is None else memory * frames.frames, lengths, frames)

    def decode(self, embeds: Tensor, counts: Tensor, encoded: Encoded) -> Tensor:
        """embeds (B, U, D), counts (B,) -> hidden (B, U, D); multiply with `decoder.logits`."""
        tokens = Padding.of(counts, embeds.shape[1], encoded.memory.dtype)
        hidden: Tensor = self.decoder(embeds.to(encoded.memory.dtype), tokens, encoded.memory, encoded.frames)
        return hidden

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Prediction]:
        """Inference: features (B, T, input), lengths (B,) -> logits (B, U, V), and what was predicted."""
        encoded = self.encode(features, lengths)
        predicted: Prediction = self.predictor(encoded.memory, lengths)
        hidden = self.decode(predicted.embeds, predicted.counts, encoded)
        return self.decoder.logits(hidden), predicted
