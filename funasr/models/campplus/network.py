"""CAM++: features (B, T, 80) -> voices (B, E). Official checkpoint names.

B batch, T frames, C channels, F frequency bins, E embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from funasr.arrays import Features
from funasr.models.campplus.config import BLOCKS, CampplusConfig
from funasr.models.campplus.fused import FusedCampplus
from funasr.models.campplus.layers import (
    HEAD_CHANNELS,
    DenseBlock,
    Head,
    Nonlinear,
    Projection,
    Statistics,
    Tdnn,
    Transit,
)


class Campplus(nn.Module):
    """The network of `model: CAMPPlus`; an `Embedder`. Holds weights and nothing else."""

    Config = CampplusConfig

    min_frames = 3
    """Fewer leave one frame after the first layer, and one frame has no deviation."""

    def __init__(self, config: CampplusConfig) -> None:
        super().__init__()
        self.config = config
        self.head = Head()
        channels = config.init_channels
        self.xvector = nn.Sequential()
        self.xvector.add_module("tdnn", Tdnn(HEAD_CHANNELS * (config.feat_dim // 8), channels))
        for number, (layers, dilation) in enumerate(BLOCKS, 1):
            self.xvector.add_module(f"block{number}", DenseBlock(channels, layers, config, dilation))
            channels += layers * config.growth_rate
            self.xvector.add_module(f"transit{number}", Transit(channels))
            channels //= 2
        self.xvector.add_module("out_nonlinear", Nonlinear(channels))
        self.xvector.add_module("stats", Statistics())
        self.xvector.add_module("dense", Projection(2 * channels, config.embedding_size))

    @classmethod
    def from_official(cls, raw: Mapping[str, Any], vocab_size: int = 0, input_size: int = 0) -> Campplus:
        """Build from a config.yaml. Weights are random until a checkpoint is loaded."""
        return cls(CampplusConfig.from_official(raw, vocab_size, input_size))

    @property
    def size(self) -> int:
        """E."""
        return self.config.embedding_size

    @property
    def feature_size(self) -> int:
        """F."""
        return self.config.feat_dim

    def forward(self, features: Tensor) -> Tensor:
        """features (B, T, F), T >= min_frames, every row of that length -> (B, E), not normalised."""
        y: Tensor = self.xvector(self.head(features))
        return y

    def fused(self) -> FusedCampplus:
        """The form for inference, of the weights loaded now."""
        self.eval()
        return FusedCampplus(
            self.head,
            self.xvector,
            size=self.size,
            feature_size=self.feature_size,
            min_frames=self.min_frames,
        )

    @torch.inference_mode()
    def embed(self, features: Features) -> NDArray[np.float32]:
        """features (B, T, F), every row of that length -> (B, E), each what it is alone."""
        weight = self.head.conv1.weight
        chunk = torch.from_numpy(np.require(features, np.float32, ["C", "W"]))
        voices: NDArray[np.float32] = self(chunk.to(weight)).float().cpu().numpy()
        return voices
