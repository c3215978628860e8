"""Paraformer: features -> encoder frames -> tokens found by integrate-and-fire -> all token ids at once.

B batch, T frames, U tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from funasr.arrays import Features
from funasr.errors import InputError
from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.paraformer.decoder import ParaformerDecoder
from funasr.nn.cif import CifPredictorV2, Prediction
from funasr.nn.ctc import CtcHead
from funasr.nn.layers import Padding
from funasr.nn.sanm import SanmEncoder
from funasr.stages.protocols import AcousticRow, Hotwords

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
        if config.ctc_weight:
            self.ctc = CtcHead(size, config.vocab_size)  # read by training alone
        assert size == config.predictor.idim

    @classmethod
    def from_official(cls: type[P], raw: Mapping[str, Any], vocab_size: int, input_size: int) -> P:
        """Build from a config.yaml. Weights are random until a checkpoint is loaded."""
        return cls(ParaformerConfig.from_official(raw, vocab_size, input_size))

    def build_decoder(self, config: ParaformerConfig) -> ParaformerDecoder:
        return ParaformerDecoder(config.decoder, config.encoder.output_size, config.vocab_size)

    def build_predictor(self, config: ParaformerConfig) -> CifPredictorV2:
        return CifPredictorV2(config.predictor)

    @property
    def device(self) -> torch.device:
        """Where the network is. Read off a layer that is never packed."""
        return self.encoder.after_norm.weight.device

    def encode(self, features: Tensor, lengths: Tensor, *, padded: bool = True) -> Encoded:
        """features (B, T, input), lengths (B,) >= 1. `padded=False` says that every row fills T."""
        dtype = self.encoder.after_norm.weight.dtype
        frames = Padding.of(lengths, features.shape[1], dtype) if padded else None
        memory = self.encoder(features, frames)
        return Encoded(memory if frames is None else memory * frames.frames, lengths, frames)

    def decode(self, embeds: Tensor, counts: Tensor, encoded: Encoded, *, padded: bool = True) -> Tensor:
        """embeds (B, U, D), counts (B,) -> hidden (B, U, D); multiply with `decoder.logits`.

        `padded=False` says that every row fills U.
        """
        if embeds.shape[1] == 0:
            return embeds.to(encoded.memory.dtype)
        padded = padded and len(counts) > 1
        tokens = Padding.of(counts, embeds.shape[1], encoded.memory.dtype) if padded else None
        hidden: Tensor = self.decoder(embeds.to(encoded.memory.dtype), tokens, encoded.memory, encoded.frames)
        return hidden

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Prediction]:
        """Inference: features (B, T, input), lengths (B,) -> logits (B, U, V), and what was predicted."""
        encoded = self.encode(features, lengths)
        predicted: Prediction = self.predictor(encoded.memory, lengths)
        return Paraformer.score(self, predicted, encoded), predicted

    @torch.inference_mode()
    def infer(
        self, features: Features, lengths: NDArray[np.int64], hotwords: Hotwords | None = None
    ) -> list[AcousticRow]:
        """features (B, T, input), lengths (B,) in frames -> one row each, equal to what it gives alone.

        Rows of no frames are answered with no tokens. Raises InputError for features of another width.
        """
        if features.ndim != 3 or features.shape[2] != self.config.input_size or len(lengths) != len(features):
            raise InputError(
                f"features of shape {features.shape} with {len(lengths)} lengths: this network takes "
                f"(batch, frames, {self.config.input_size}) and one length each"
            )
        rows = [empty_row() for _ in lengths]
        heard = np.flatnonzero(np.asarray(lengths) > 0)
        if len(heard):
            sizes = np.asarray(lengths)[heard]
            batch = torch.from_numpy(np.ascontiguousarray(features[heard, : sizes.max()])).to(self.device)
            encoded = self.encode(
                batch, torch.from_numpy(sizes).to(self.device), padded=bool((sizes < sizes.max()).any())
            )
            for index, row in zip(heard, self.answer(encoded, hotwords), strict=True):
                rows[index] = row
        return rows

    def answer(self, encoded: Encoded, hotwords: Hotwords | None) -> list[AcousticRow]:
        """The rest of `infer`, behind the encoder."""
        predicted: Prediction = self.predictor(encoded.memory, encoded.lengths)
        ids, confidences = self.choose(predicted, encoded, hotwords)
        alphas, lengths, rate = self.firing(predicted, encoded)
        counts = predicted.counts.tolist()
        sizes = lengths.tolist()
        all_ids, all_confidences, all_alphas = (
            ids.cpu().numpy(),
            confidences.cpu().numpy(),
            alphas.cpu().numpy(),
        )
        return [
            AcousticRow(
                ids=all_ids[i, :count],
                confidences=all_confidences[i, :count],
                alphas=all_alphas[i, : sizes[i]],
                upsample_rate=rate,
            )
            for i, count in enumerate(counts)
        ]

    def choose(
        self, predicted: Prediction, encoded: Encoded, hotwords: Hotwords | None
    ) -> tuple[Tensor, Tensor]:
        """-> the best id at each position and its probability, both (B, U). Hotwords are not known here."""
        return best(self.score(predicted, encoded))

    def score(self, predicted: Prediction, encoded: Encoded) -> Tensor:
        """-> logits (B, U, V)."""
        return self.decoder.logits(self.decode(predicted.embeds, predicted.counts, encoded))

    def firing(self, predicted: Prediction, encoded: Encoded) -> tuple[Tensor, Tensor, int]:
        """-> weights for timestamps (B, N), how many of them are each row's (B,), weights a frame."""
        return predicted.alphas, encoded.lengths + 1, 1


def best(logits: Tensor) -> tuple[Tensor, Tensor]:
    """logits (B, U, V) -> the largest one's id (B, U), and its softmax probability (B, U) float32."""
    logits = logits.float()
    top, ids = logits.max(dim=-1)
    return ids, (top - logits.logsumexp(dim=-1)).exp()


def empty_row() -> AcousticRow:
    """What is heard in nothing."""
    nothing = np.zeros(0, dtype=np.float32)
    return AcousticRow(ids=np.zeros(0, dtype=np.int64), confidences=nothing, alphas=nothing)
