"""SenseVoice: queries and features -> encoder frames -> one vocabulary id a frame. Official checkpoint names.

B batch, Q queries, T frames, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from funasr.arrays import Features
from funasr.errors import InputError
from funasr.models.sense_voice.config import SenseVoiceConfig, SenseVoiceEncoderConfig
from funasr.nn.ctc import CtcHead
from funasr.nn.layers import Padding, frame_mask, layer_norm
from funasr.nn.sanm import SanmEncoder, SanmEncoderLayer
from funasr.stages.protocols import CtcRow

NORM_EPS = 1e-5
"""As upstream: not the 1e-12 of all other SANM networks."""

QUERY_ROWS = 16
"""Vectors in the table of queries."""

HEAD_FRAMES = 1024
"""Frames that are scored at a time: scores of a large batch over 25,055 ids would fill a gigabyte."""


class SenseVoiceEncoder(SanmEncoder):
    """A SANM encoder with a second stack of blocks behind its last norm."""

    def __init__(self, config: SenseVoiceEncoderConfig, input_size: int) -> None:
        super().__init__(config, input_size, NORM_EPS)
        self.tp_encoders = nn.ModuleList(
            SanmEncoderLayer(config, config.output_size, NORM_EPS) for _ in range(config.tp_blocks)
        )
        self.tp_norm = layer_norm(config.output_size, NORM_EPS)

    def forward(self, x: Tensor, padding: Padding | None) -> Tensor:
        """x (B, T, in) -> (B, T, D). What comes out at padded frames means nothing."""
        x = super().forward(x, padding)
        for layer in self.tp_encoders:
            x = layer(x, padding)
        out: Tensor = self.tp_norm(x)
        return out


class SenseVoiceSmall(nn.Module):
    """The network with its official parameter names. Holds weights and nothing else."""

    def __init__(self, config: SenseVoiceConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(QUERY_ROWS, config.input_size)
        self.encoder = SenseVoiceEncoder(config.encoder, config.input_size)
        self.ctc = CtcHead(config.encoder.output_size, config.vocab_size)

    @classmethod
    def from_official(cls, raw: Mapping[str, Any], vocab_size: int, input_size: int) -> SenseVoiceSmall:
        """Build from a config.yaml. Weights are random until a checkpoint is loaded."""
        return cls(SenseVoiceConfig.from_official(raw, vocab_size, input_size))

    def forward(self, features: Tensor, lengths: Tensor, queries: Tensor, *, padded: bool = True) -> Tensor:
        """features (B, T, input), lengths (B,), queries (Q,) or (B, Q) -> hidden (B, Q + T, D), for `ctc`.

        `padded=False` says that every row fills T.
        """
        asked = self.embed(queries).to(features.dtype).expand(features.shape[0], -1, -1)
        x = torch.cat([asked, features], dim=1)
        dtype = self.encoder.after_norm.weight.dtype
        padding = Padding.of(lengths + queries.shape[-1], x.shape[1], dtype) if padded else None
        hidden: Tensor = self.encoder(x, padding)
        return hidden

    @torch.inference_mode()
    def infer(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        queries: Sequence[int],
        banned: Sequence[int] = (),
    ) -> list[CtcRow]:
        """features (B, T, input), lengths (B,) in frames -> one row each, equal to what it gives alone.

        Rows of no frames are answered for their queries. Raises InputError for features of another width.
        """
        if features.ndim != 3 or features.shape[2] != self.config.input_size or len(lengths) != len(features):
            raise InputError(
                f"features of shape {features.shape} with {len(lengths)} lengths: this network takes "
                f"(batch, frames, {self.config.input_size}) and one length each"
            )
        if not len(lengths):
            return []
        sizes = np.asarray(lengths)
        device = self.encoder.after_norm.weight.device
        batch = torch.from_numpy(np.ascontiguousarray(features[:, : sizes.max()])).to(device)
        counts = torch.from_numpy(sizes).to(device)
        asked = torch.tensor(list(queries), device=device)
        hidden = self(batch, counts, asked, padded=bool((sizes < sizes.max()).any()))
        # Only real frames are scored, those of all rows one after the other.
        frames = hidden[frame_mask(counts + len(asked), hidden.shape[1])]
        scored = [self._best(part, banned) for part in frames.split(HEAD_FRAMES)]
        ids = torch.cat([part for part, _ in scored]).cpu().numpy()
        confidences = torch.cat([part for _, part in scored]).cpu().numpy()
        ends = np.cumsum(sizes + len(asked))[:-1]
        return [
            CtcRow(ids=row_ids, confidences=row_confidences)
            for row_ids, row_confidences in zip(np.split(ids, ends), np.split(confidences, ends), strict=True)
        ]

    def _best(self, frames: Tensor, banned: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(N, D) -> the best id that is not banned (N,), and its probability (N,) float32."""
        scores = self.ctc(frames).float()
        if banned:
            scores[:, list(banned)] = -torch.inf
        top, ids = scores.max(dim=-1)
        return ids, (top - scores.logsumexp(dim=-1)).exp()
