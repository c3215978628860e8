"""ERes2NetV2: features (B, T, 80) -> voices (B, E). Names of the released checkpoint.

B batch, T frames, C channels, F frequency bins, E embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from funasr.arrays import Features
from funasr.models.eres2net.config import Eres2NetV2Config

ROWS = 16
"""Windows computed at once: their activations are 50 MB a layer."""

STRIDES = (1, 2, 2, 2)


class Fusion(nn.Module):
    """Two maps of C channels into one, each channel of each place by its own share."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 4
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, inner, 1),
            nn.BatchNorm2d(inner),
            nn.SiLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        share = 1 + torch.tanh(self.local_att(torch.cat([x, y], dim=1)))
        fused: Tensor = x * share + y * (2 - share)
        return fused


class Block(nn.Module):
    """A residual block whose groups of channels see one another in turn: (B, C, F, T) -> (B, C', F', T')."""

    def __init__(
        self, config: Eres2NetV2Config, inputs: int, number: int, stride: int, *, fusing: bool
    ) -> None:
        """`number` is that of the layer the block is in, 1 to 4."""
        super().__init__()
        width, outputs = config.group_width(number), config.outputs(number)
        self.conv1 = nn.Conv2d(inputs, width * config.scale, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width * config.scale)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(config.scale)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(config.scale))
        self.fuse_models = nn.ModuleList(Fusion(width) for _ in range(config.scale - 1 if fusing else 0))
        self.conv3 = nn.Conv2d(width * config.scale, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        groups = clipped(self.bn1(self.conv1(x))).chunk(len(self.convs), dim=1)
        done: list[Tensor] = []
        for index, (conv, norm) in enumerate(zip(self.convs, self.bns, strict=True)):
            y = groups[index]
            if done:
                y = self.fuse_models[index - 1](done[-1], y) if len(self.fuse_models) else done[-1] + y
            done.append(clipped(norm(conv(y))))
        return clipped(self.bn3(self.conv3(torch.cat(done, dim=1))) + self.shortcut(x))


class Eres2NetV2(nn.Module):
    """The network of `model: ERes2NetV2`; an `Embedder`. Holds weights and nothing else."""

    Config = Eres2NetV2Config

    min_frames = 9
    """Fewer leave one frame after the last layer, and one frame has no deviation."""

    def __init__(self, config: Eres2NetV2Config) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(1, config.m_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.m_channels)
        self.layer1 = _layer(config, 1)
        self.layer2 = _layer(config, 2)
        self.layer3 = _layer(config, 3)
        self.layer4 = _layer(config, 4)
        outputs = config.outputs(4)
        self.layer3_ds = nn.Conv2d(config.outputs(3), outputs, 3, 2, 1, bias=False)
        self.fuse34 = Fusion(outputs)
        self.seg_1 = nn.Linear(2 * outputs * (config.feat_dim // 8), config.embedding_size)

    @classmethod
    def from_official(cls, raw: Mapping[str, Any], vocab_size: int = 0, input_size: int = 0) -> Eres2NetV2:
        """Build from a config.yaml, or from nothing. Weights are random until a checkpoint is loaded."""
        return cls(Eres2NetV2Config.from_official(raw, vocab_size, input_size))

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
        x = features.transpose(1, 2).unsqueeze(1)
        x = F.relu(self.bn1(self.conv1(x)))
        third = self.layer3(self.layer2(self.layer1(x)))
        y = self.fuse34(self.layer4(third), self.layer3_ds(third))
        variance, mean = torch.var_mean(y, dim=3, unbiased=True)
        pooled = torch.cat([mean.flatten(1), (variance + 1e-8).sqrt().flatten(1)], dim=1)
        voices: Tensor = self.seg_1(pooled)
        return voices

    @torch.inference_mode()
    def embed(self, features: Features) -> NDArray[np.float32]:
        """features (B, T, F), every row of that length -> (B, E), each what it is alone."""
        voices = np.empty((len(features), self.size), dtype=np.float32)
        for start in range(0, len(features), ROWS):
            chunk = torch.from_numpy(np.require(features[start : start + ROWS], np.float32, ["C", "W"]))
            voices[start : start + ROWS] = self(chunk.to(self.conv1.weight)).float().cpu().numpy()
        return voices


def _layer(config: Eres2NetV2Config, number: int) -> nn.Sequential:
    before = config.m_channels if number == 1 else config.outputs(number - 1)
    count, stride = config.num_blocks[number - 1], STRIDES[number - 1]
    first = Block(config, before, number, stride, fusing=number > 2)
    rest = (Block(config, config.outputs(number), number, 1, fusing=number > 2) for _ in range(count - 1))
    return nn.Sequential(first, *rest)


def clipped(x: Tensor) -> Tensor:
    """ReLU up to 20."""
    return F.hardtanh(x, 0.0, 20.0)
