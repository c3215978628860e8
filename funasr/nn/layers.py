"""The small parts that all networks share: padding masks, normalisation, feed-forward layers, positions.

B batch, T frames, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from funasr.nn.dropout import Dropout, relu_dropout
from funasr.nn.packed import linear_relu


@dataclass(frozen=True, slots=True)
class Padding:
    """Which positions of a padded batch are real, in the two forms the layers need."""

    frames: Tensor
    """(B, T, 1) 1.0 where real, 0.0 where padding, in the dtype of the activations."""
    keys: Tensor
    """(B, 1, 1, T) added to attention scores: 0.0 where real, -inf where padding."""

    @classmethod
    def of(cls, lengths: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Padding:
        """lengths (B,) -> the masks of a batch padded to `size`. Every length must be at least 1."""
        real = frame_mask(lengths, size)
        keys = torch.zeros(real.shape, dtype=dtype, device=real.device).masked_fill(~real, -math.inf)
        return cls(real.unsqueeze(-1).to(dtype), keys[:, None, None, :])


def frame_mask(lengths: Tensor, size: int) -> Tensor:
    """lengths (B,) -> (B, size) bool, True where real."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def longest(lengths: Tensor) -> int:
    """The largest of lengths (B,). In a graph that is being made it stays a tensor, and is at least 1."""
    if torch.onnx.is_in_onnx_export():
        return lengths.max().clamp(min=1)  # type: ignore[return-value]
    return int(lengths.max())


def layer_norm(size: int, eps: float = 1e-12) -> nn.LayerNorm:
    """As upstream: epsilon is 1e-12 in nearly every network, not torch's 1e-5."""
    return nn.LayerNorm(size, eps=eps)


class FeedForward(nn.Module):
    """Position-wise feed-forward layer of an encoder: w_2(relu(w_1(x)))."""

    def __init__(self, size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.w_1 = nn.Linear(size, hidden)
        self.w_2 = nn.Linear(hidden, size)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w_2(dropped_relu(self.w_1, x, self.dropout))
        return y


class NormedFeedForward(nn.Module):
    """Feed-forward layer of a SANM decoder: a LayerNorm over the hidden width, no bias at the end."""

    def __init__(self, size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.w_1 = nn.Linear(size, hidden)
        self.w_2 = nn.Linear(hidden, size, bias=False)
        self.norm = layer_norm(hidden)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w_2(self.norm(dropped_relu(self.w_1, x, self.dropout)))
        return y


def dropped_relu(linear: nn.Module, x: Tensor, dropout: Dropout) -> Tensor:
    """dropout(relu(linear(x))): relu is fused with what is before it, in training with what is behind."""
    return relu_dropout(linear(x), dropout.p) if dropout.training else linear_relu(linear, x)


def sinusoids(frames: int, depth: int, device: torch.device, start: int = 1) -> Tensor:
    """(frames, depth) float32 position encoding of positions start, start + 1, ..."""
    return encode_positions(torch.arange(start, start + frames, dtype=torch.float32, device=device), depth)


def encode_positions(positions: Tensor, depth: int) -> Tensor:
    """positions (..., T) float32 -> (..., T, depth) float32.

    As upstream: positions count from 1; all sines come first, then all cosines. Always float32: half
    precision cannot tell positions above 2048 apart.
    """
    half = depth // 2
    step = math.log(10000.0) / (half - 1)
    scales = torch.exp(torch.arange(half, dtype=torch.float32, device=positions.device) * -step)
    angles = positions[..., None] * scales
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
