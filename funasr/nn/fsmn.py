"""FSMN encoder: feed-forward layers with a learned memory of the frames before. Names are the checkpoint's.

B batch, T frames, P projection channels, L = (lorder - 1) * lstride remembered frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from funasr import config as settings
from funasr.errors import ModelFilesError


@dataclass(frozen=True, kw_only=True)
class FsmnConfig:
    """`encoder_conf` of the official config.yaml, same field names; defaults of the released fsmn-vad."""

    input_dim: int = 400
    input_affine_dim: int = 140
    fsmn_layers: int = 4
    linear_dim: int = 250
    proj_dim: int = 128
    lorder: int = 20
    """Frames one block sees: the current one and lorder - 1 before it."""
    rorder: int = 0
    """Frames after the current one. Only 0: a stream cannot look ahead, and no released model does."""
    lstride: int = 1
    rstride: int = 0
    output_affine_dim: int = 140
    output_dim: int = 248

    def __post_init__(self) -> None:
        if self.rorder != 0:
            raise ModelFilesError(
                f"encoder_conf.rorder is {self.rorder}: only 0 is supported (no look-ahead)"
            )

    @classmethod
    def from_official(cls, encoder_conf: Mapping[str, Any]) -> FsmnConfig:
        return settings.pick(cls, encoder_conf, "encoder_conf", frozenset({"use_softmax"}))

    @property
    def remembered(self) -> int:
        """L."""
        return (self.lorder - 1) * self.lstride


@dataclass(frozen=True)
class FsmnState:
    """What streams remember between chunks; the network itself remembers nothing."""

    pasts: tuple[Tensor, ...]
    """One (B, P, L) tensor a layer."""

    @classmethod
    def initial(cls, config: FsmnConfig, batch: int = 1, like: Tensor | None = None) -> FsmnState:
        """Zeros; device and dtype of `like`."""
        like = torch.zeros(()) if like is None else like
        shape = (batch, config.proj_dim, config.remembered)
        return cls(tuple(like.new_zeros(shape) for _ in range(config.fsmn_layers)))

    @property
    def nbytes(self) -> int:
        return sum(past.nbytes for past in self.pasts)


class NamedLinear(nn.Module):
    """A linear layer one level down, where the checkpoint has it: `<name>.linear.weight`."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x)
        return y


class FsmnMemory(nn.Module):
    """Adds to every frame a learned weighted sum of itself and the frames before it."""

    def __init__(self, config: FsmnConfig) -> None:
        super().__init__()
        self.dim = dim = config.proj_dim
        self.frames = config.lorder
        self.stride = config.lstride
        # Name and 4-D weight are the official checkpoint's: (P, 1, lorder, 1).
        self.conv_left = nn.Conv2d(dim, dim, (config.lorder, 1), groups=dim, bias=False)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, P), past (B, P, L) -> y (B, T, P), the next past (B, P, L).

        A whole utterance is a stream of one chunk: pass zeros for `past`.
        """
        seen = torch.cat([past, x.transpose(1, 2)], dim=2)  # (B, P, L + T)
        # As a 1-D convolution: on CPU twice as fast as the same one with a second dimension of 1.
        weight = self.conv_left.weight.squeeze(-1)
        # The frame itself is one more to its own weight: a pass over the activations less.
        itself = torch.tensor([0.0] * (self.frames - 1) + [1.0], dtype=weight.dtype, device=weight.device)
        memory = F.conv1d(seen, weight + itself, dilation=self.stride, groups=self.dim)
        return memory.transpose(1, 2), seen[:, :, seen.shape[2] - past.shape[2] :]


class FsmnLayer(nn.Module):
    """Project, remember, expand."""

    def __init__(self, config: FsmnConfig) -> None:
        super().__init__()
        self.linear = NamedLinear(config.linear_dim, config.proj_dim, bias=False)
        self.fsmn_block = FsmnMemory(config)
        self.affine = NamedLinear(config.proj_dim, config.linear_dim)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, linear_dim) -> the same shape, and the next past."""
        y, past = self.fsmn_block(self.linear(x), past)
        return torch.relu_(self.affine(y)), past


class FsmnEncoder(nn.Module):
    """Features -> one logit a class and frame."""

    def __init__(self, config: FsmnConfig) -> None:
        super().__init__()
        self.config = config
        self.in_linear1 = NamedLinear(config.input_dim, config.input_affine_dim)
        self.in_linear2 = NamedLinear(config.input_affine_dim, config.linear_dim)
        self.fsmn = nn.ModuleList([FsmnLayer(config) for _ in range(config.fsmn_layers)])
        self.out_linear1 = NamedLinear(config.linear_dim, config.output_affine_dim)
        self.out_linear2 = NamedLinear(config.output_affine_dim, config.output_dim)

    def forward(self, features: Tensor, state: FsmnState) -> tuple[Tensor, FsmnState]:
        """features (B, T, input_dim) -> logits (B, T, output_dim), and the next state."""
        # As the checkpoint was trained: nothing between the two linear layers at either end.
        x = torch.relu_(self.in_linear2(self.in_linear1(features)))
        pasts: list[Tensor] = []
        for layer, past in zip(self.fsmn, state.pasts, strict=True):
            x, past = layer(x, past)
            pasts.append(past)
        return self.out_linear2(self.out_linear1(x)), FsmnState(tuple(pasts))
