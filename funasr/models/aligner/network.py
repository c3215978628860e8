"""MonotonicAligner: features -> weights that fire where the tokens of a known text begin.

It does not read the text: how many tokens there are is all that its weights are scaled to. B batch, T frames,
R weights a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from funasr.arrays import Features
from funasr.errors import InputError
from funasr.models.aligner.config import AlignerConfig
from funasr.nn.cif import CifPredictorV3
from funasr.nn.layers import Padding
from funasr.nn.sanm import SanmEncoder


class MonotonicAligner(nn.Module):
    """The network with its official parameter names. Holds weights and nothing else."""

    def __init__(self, config: AlignerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = SanmEncoder(config.encoder, config.input_size)
        # `cif_conv1d` and `cif_output` are in the checkpoint; alignment has no use for them.
        self.predictor = CifPredictorV3(config.predictor)

    @classmethod
    def from_official(
        cls, raw: Mapping[str, Any], vocab_size: int = 0, input_size: int = 560
    ) -> MonotonicAligner:
        """Build from a config.yaml. Weights are random until a checkpoint is loaded. No `vocab_size`."""
        return cls(AlignerConfig.from_official(raw, input_size))

    @property
    def upsample_rate(self) -> int:
        """R."""
        return self.config.predictor.upsample_times

    def forward(self, features: Tensor, lengths: Tensor, *, padded: bool = True) -> Tensor:
        """features (B, T, input), lengths (B,) -> weights (B, R * T), zero at padding.

        `padded=False` says that every row fills T.
        """
        dtype = self.encoder.after_norm.weight.dtype
        padding = Padding.of(lengths, features.shape[1], dtype) if padded else None
        memory = self.encoder(features, padding)
        if padding is not None:
            memory = memory * padding.frames
        return self.predictor.fine_weights(memory, lengths)

    @torch.inference_mode()
    def weigh(self, features: Features, lengths: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """features (B, T, input), lengths (B,) >= 1 -> weights of each row (R * length,).

        Raises InputError for features of another width.
        """
        if features.ndim != 3 or features.shape[2] != self.config.input_size or len(lengths) != len(features):
            raise InputError(
                f"features of shape {features.shape} with {len(lengths)} lengths: this network takes "
                f"(batch, frames, {self.config.input_size}) and one length each"
            )
        device = self.encoder.after_norm.weight.device
        sizes = np.asarray(lengths)
        batch = torch.from_numpy(np.ascontiguousarray(features[:, : sizes.max()])).to(device)
        alphas = self(
            batch,
            torch.from_numpy(sizes).to(device),
            padded=bool((sizes < sizes.max()).any()),
        )
        rows = alphas.cpu().numpy()
        ends = (sizes * self.upsample_rate).tolist()
        return [row[:end] for row, end in zip(rows, ends, strict=True)]
