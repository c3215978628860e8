"""CAM++ for inference: the same function, its normalisations folded into the layers before them.

Channels come last in memory, so that convolutions of one frame are matrix products, and a dense block is one
array into which each layer writes its columns, instead of an ever longer copy. That halves the time.

B batch, T frames, C channels, G growth, E embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from funasr.arrays import Features
from funasr.models.campplus.config import SEGMENT_FRAMES
from funasr.models.campplus.layers import DenseBlock, DenseLayer, Head, ResidualBlock, Transit
from funasr.nn.packed import conv_relu, linear_relu
from funasr.nn.spread import spread

ROWS_ON_CPU = 16
"""Windows of 1.5 s that one thread computes at once: more would not be faster."""
ROWS_ON_GPU = 512

TINY = 1e-20
"""A normalisation's scale that is none."""

HEAD_FRAMES = 4000
"""Frames that the head computes at once: its activations are 10 kB a frame, and ten minutes have 60,000."""
HEAD_CONTEXT = 10
"""Frames on either side that a frame behind the head depends on: ten convolutions of three."""


class FusedCampplus(nn.Module):
    """An `Embedder` made of a loaded `Campplus`. It cannot be trained or saved."""

    def __init__(
        self, head: Head, xvector: nn.Sequential, *, size: int, feature_size: int, min_frames: int
    ) -> None:
        """The parts of a `Campplus`, in `eval` mode."""
        super().__init__()
        self.size, self.feature_size, self.min_frames = size, feature_size, min_frames
        layers: dict[str, Any] = dict(xvector.named_children())
        self.head = _FusedHead(head)
        tdnn = layers["tdnn"]
        self.tdnn = _as_2d(fuse_conv_bn_eval(tdnn.linear, tdnn.nonlinear.batchnorm))
        self.blocks = nn.ModuleList(
            _FusedBlock(layers[f"block{i}"], layers[f"transit{i}"])
            for i in range(1, 1 + sum(name.startswith("block") for name in layers))
        )
        self.out = _Affine(layers["out_nonlinear"].batchnorm)
        dense = layers["dense"]
        self.dense = _linear(dense.linear, dense.nonlinear.batchnorm)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, T, F), every row of that length -> (B, E)."""
        x = F.relu(self.tdnn(self.head(features)))  # (B, C, 1, T), channels last
        y = x.squeeze(2).transpose(1, 2)
        stretches = _Stretches.of(y)
        for block in self.blocks:
            y = block(y, stretches)
        y = self.out(y)
        mean, deviation = _mean_and_deviation(y)
        voices: Tensor = self.dense(torch.cat([mean, deviation], dim=1))
        return voices

    def embed(self, features: Features) -> NDArray[np.float32]:
        """features (B, T, F), every row of that length -> (B, E), each what it is alone."""
        total = len(features)
        voices = np.empty((total, self.size), dtype=np.float32)
        on_cpu = self.out.shift.device.type == "cpu"
        rows = ROWS_ON_CPU if on_cpu else ROWS_ON_GPU
        if on_cpu and total > rows:  # as many rows for each thread
            threads = torch.get_num_threads()
            rows = -(-total // (threads * -(-total // (threads * rows))))

        @torch.inference_mode()
        def some(start: int) -> None:
            chunk = torch.from_numpy(np.require(features[start : start + rows], np.float32, ["C", "W"]))
            voices[start : start + rows] = self(chunk.to(self.out.shift)).float().cpu().numpy()

        starts = range(0, total, rows)
        if on_cpu:
            spread(some, starts)
        else:
            for start in starts:
                some(start)
        return voices


def _mean_and_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (B, T, C) -> (B, C) each, over time. As products: a tenth of the time of `torch.std_mean`."""
    size = x.shape[1]
    if torch.onnx.is_in_onnx_export():
        deviation, mean = torch.std_mean(x, dim=1, unbiased=True)
        return mean, deviation
    ones = x.new_ones(1, size)
    mean = ones @ x / size
    away = x - mean
    return mean.squeeze(1), (ones @ away.square_() / (size - 1)).sqrt_().squeeze(1)


class _FusedHead(nn.Module):
    def __init__(self, head: Head) -> None:
        super().__init__()
        self.conv1 = fuse_conv_bn_eval(head.conv1, head.bn1)
        self.blocks = nn.Sequential(*(_FusedResidual(block) for block in (*head.layer1, *head.layer2)))
        self.conv2 = fuse_conv_bn_eval(head.conv2, head.bn2)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, F) -> (B, C, 1, T)."""
        frames = x.shape[1]
        if frames <= HEAD_FRAMES:
            return self._block(x)
        blocks = []
        for start in range(0, frames, HEAD_FRAMES):
            stop = min(start + HEAD_FRAMES, frames)
            first = max(start - HEAD_CONTEXT, 0)
            block = self._block(x[:, first : stop + HEAD_CONTEXT])
            blocks.append(block[..., start - first : stop - first])
        return torch.cat(blocks, dim=-1)

    def _block(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2).unsqueeze(1).contiguous(memory_format=torch.channels_last)
        y = conv_relu(self.conv2, self.blocks(conv_relu(self.conv1, y)))
        return y.flatten(1, 2).unsqueeze(2)


class _FusedResidual(nn.Module):
    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.conv1 = fuse_conv_bn_eval(block.conv1, block.bn1)
        self.conv2 = fuse_conv_bn_eval(block.conv2, block.bn2)
        self.shortcut: nn.Module = nn.Identity()
        if len(block.shortcut):
            around: Any = block.shortcut
            self.shortcut = fuse_conv_bn_eval(around[0], around[1])

    def forward(self, x: Tensor) -> Tensor:
        # Nobody reads x after this block.
        return conv_relu(self.conv2, conv_relu(self.conv1, x), self.shortcut(x))


@dataclass(frozen=True)
class _Stretches:
    """The S stretches of SEGMENT_FRAMES frames that T frames have."""

    shares: Tensor
    """(S, T) what each frame adds to each context: its part in the mean of all, and of the stretch."""
    of_frame: Tensor | None
    """(T,) the stretch of each frame; None for speech of one."""

    @classmethod
    def of(cls, x: Tensor) -> _Stretches:
        """x (B, T, C)."""
        size = x.shape[1]
        if size <= SEGMENT_FRAMES:
            return cls(x.new_full((1, size), 2 / size), None)
        of_frame = torch.arange(size, device=x.device) // SEGMENT_FRAMES
        count = (size + SEGMENT_FRAMES - 1) // SEGMENT_FRAMES
        members = (torch.arange(count, device=x.device)[:, None] == of_frame).float()
        # The last stretch has a mean over its own length.
        return cls((1 / size + members / members.sum(dim=1, keepdim=True)).to(x.dtype), of_frame)

    def context(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, S, C): the mean over time plus the mean of each stretch."""
        return self.shares @ x

    def spread(self, mask: Tensor) -> Tensor:
        """(B, S, C) -> (B, T, C), or what broadcasts to it."""
        return mask if self.of_frame is None else mask[:, self.of_frame]


class _FusedBlock(nn.Module):
    """A dense block and the halving after it: (B, T, C) -> (B, T, C')."""

    def __init__(self, block: DenseBlock, transit: Transit) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_FusedDenseLayer(layer) for layer in block.layers())
        self.linear = _RectifiedLinear(transit.nonlinear.batchnorm, transit.linear)

    def forward(self, x: Tensor, stretches: _Stretches) -> Tensor:
        if torch.onnx.is_in_onnx_export():  # a graph has no places to write to
            for layer in self.layers:
                x = torch.cat([x, layer(x, stretches)], dim=2)
            return self.linear(x)  # type: ignore[no-any-return]
        seen = x.new_empty(*x.shape[:2], self.linear.inputs)
        filled = x.shape[2]
        seen[..., :filled] = x
        for layer in self.layers:
            assert isinstance(layer, _FusedDenseLayer)
            added, mask = layer.parts(seen[..., :filled], stretches)
            torch.mul(added, mask, out=seen[..., filled : filled + added.shape[2]])
            filled += added.shape[2]
        y: Tensor = self.linear(seen)
        return y


class _FusedDenseLayer(nn.Module):
    """(B, T, C) -> the (B, T, G) that it adds."""

    def __init__(self, layer: DenseLayer) -> None:
        super().__init__()
        mask = layer.cam_layer
        self.linear = _RectifiedLinear(layer.nonlinear1.batchnorm, layer.linear1, layer.nonlinear2.batchnorm)
        self.local = _Neighbours(mask.linear_local)
        self.mask1 = _linear(mask.linear1)
        self.mask2 = _linear(mask.linear2)

    def forward(self, x: Tensor, stretches: _Stretches) -> Tensor:
        added, mask = self.parts(x, stretches)
        return added * mask

    def parts(self, x: Tensor, stretches: _Stretches) -> tuple[Tensor, Tensor]:
        """Two whose product is what it adds."""
        inner = self.linear.relu(x)
        mask = torch.sigmoid(self.mask2(linear_relu(self.mask1, stretches.context(inner))))
        return self.local(inner), stretches.spread(mask)


class _Neighbours(nn.Module):
    """A convolution of three frames, as one product for all, and their sum: (B, T, C) -> (B, T, G)."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        [self.far] = conv.dilation
        taps = conv.weight.detach().permute(2, 0, 1).flatten(0, 1)
        self.linear = nn.Linear(taps.shape[1], taps.shape[0], bias=False, device="meta")
        self.linear.weight = nn.Parameter(taps.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        before, here, after = self.linear(x).chunk(3, dim=2)
        if torch.onnx.is_in_onnx_export():  # a graph has no places to write to
            before, after = (F.pad(y, (0, 0, by, -by)) for y, by in ((before, self.far), (after, -self.far)))
            return here + before + after  # type: ignore[no-any-return]
        here[:, self.far :] += before[:, : -self.far]
        here[:, : -self.far] += after[:, self.far :]
        return here  # type: ignore[no-any-return]


class _RectifiedLinear(nn.Module):
    """A normalisation, ReLU and a linear layer: a(relu(x * s + t)) + b is a * s (max(x, -t / s)) + a(t) + b.

    So of the long rows of a dense block nothing but the greater of two numbers has to be worked out. Where s
    is negative it is the lesser, and where it is zero the number is no matter.
    """

    floor: Tensor
    ceiling: Tensor | None

    def __init__(self, norm: nn.BatchNorm1d, conv: nn.Conv1d, after: nn.BatchNorm1d | None = None) -> None:
        super().__init__()
        scale, shift = _affine(norm)
        dead = scale.abs() < TINY
        bend = torch.where(dead, 0.0, -shift / torch.where(dead, 1.0, scale))
        self.inputs = len(scale)
        self.linear = _linear(conv, after)
        weight, bias = self.linear.weight.detach(), self.linear.bias.detach()
        self.linear.bias = nn.Parameter(bias + weight @ torch.where(dead, shift.relu(), shift))
        self.linear.weight = nn.Parameter(weight * torch.where(dead, 0.0, scale))
        self.register_buffer("floor", torch.where(scale < 0, -torch.inf, bend))
        falling = bool((scale < 0).any())
        self.register_buffer("ceiling", torch.where(scale < 0, bend, torch.inf) if falling else None)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self._bent(x))
        return y

    def relu(self, x: Tensor) -> Tensor:
        """relu(forward(x))."""
        return linear_relu(self.linear, self._bent(x))

    def _bent(self, x: Tensor) -> Tensor:
        bent = torch.maximum(x, self.floor)
        return bent if self.ceiling is None else torch.minimum(bent, self.ceiling)


class _Affine(nn.Module):
    """relu(x * scale + shift): a batch normalisation that nothing stands before, and its ReLU."""

    scale: Tensor
    shift: Tensor

    def __init__(self, norm: nn.BatchNorm1d) -> None:
        super().__init__()
        scale, shift = _affine(norm)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale).relu_()


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """A batch normalisation as x * scale + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    return scale, shift + norm.bias.detach() if norm.affine else shift


def _linear(conv: nn.Conv1d, norm: nn.BatchNorm1d | None = None) -> nn.Linear:
    """A convolution of one frame, and the normalisation after it."""
    weight = conv.weight.detach().flatten(1)
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach()
    if norm is not None:
        scale, shift = _affine(norm)
        weight, bias = weight * scale[:, None], bias * scale + shift
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias)
    return linear


def _as_2d(conv: nn.Conv1d) -> nn.Conv2d:
    """The same convolution for (B, C, 1, T), which unlike (B, C, T) may have its channels last in memory."""
    [kernel], [stride], [dilation] = conv.kernel_size, conv.stride, conv.dilation
    assert isinstance(conv.padding, tuple)
    wide = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (1, kernel),
        (1, stride),
        (0, conv.padding[0]),
        (1, dilation),
        bias=conv.bias is not None,
        device="meta",
    )
    weight = conv.weight.detach().unsqueeze(2).contiguous(memory_format=torch.channels_last)
    wide.weight = nn.Parameter(weight)
    if conv.bias is not None:
        wide.bias = nn.Parameter(conv.bias.detach())
    return wide
