"""The layers of CAM++, by the names of the checkpoint. B batch, T frames, C channels, E embedding size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from funasr.models.campplus.config import KERNEL, SEGMENT_FRAMES, CampplusConfig

HEAD_CHANNELS = 32


class Nonlinear(nn.Module):
    """Batch normalisation and ReLU, under the names of the checkpoint."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.batchnorm(x))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions over frequency and time, and a way around them."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, channels, 1, (stride, 1), bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class Head(nn.Module):
    """The convolutional front: (B, T, F) -> (B, 32 * F / 8, T)."""

    def __init__(self) -> None:
        super().__init__()
        size = HEAD_CHANNELS
        self.conv1 = nn.Conv2d(1, size, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(size)
        self.layer1 = nn.Sequential(ResidualBlock(size, 2), ResidualBlock(size, 1))
        self.layer2 = nn.Sequential(ResidualBlock(size, 2), ResidualBlock(size, 1))
        self.conv2 = nn.Conv2d(size, size, 3, (2, 1), 1, bias=False)
        self.bn2 = nn.BatchNorm2d(size)

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2).unsqueeze(1)
        y = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(y)))))
        y = F.relu(self.bn2(self.conv2(y)))
        return y.flatten(1, 2)


class Tdnn(nn.Module):
    """The first layer over time, which halves the number of frames."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(inputs, channels, 5, 2, 2, bias=False)
        self.nonlinear = Nonlinear(channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.nonlinear(self.linear(x))
        return y


class ContextMask(nn.Module):
    """A convolution whose channels are weighed by the mean of the utterance and of the stretch around."""

    def __init__(self, inputs: int, channels: int, dilation: int) -> None:
        super().__init__()
        padding = (KERNEL - 1) // 2 * dilation
        self.linear_local = nn.Conv1d(inputs, channels, KERNEL, 1, padding, dilation, bias=False)
        self.linear1 = nn.Conv1d(inputs, inputs // 2, 1)
        self.linear2 = nn.Conv1d(inputs // 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.sigmoid(self.linear2(F.relu(self.linear1(self.context(x)))))
        y: Tensor = self.linear_local(x)
        if mask.shape[2] > 1:
            mask = mask.repeat_interleave(SEGMENT_FRAMES, dim=2)[:, :, : x.shape[2]]
        return y * mask

    def context(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, S): mean over time plus the mean of each of the S stretches."""
        whole = x.mean(dim=2, keepdim=True)
        if x.shape[2] <= SEGMENT_FRAMES:
            return 2 * whole
        parts = F.avg_pool1d(x, SEGMENT_FRAMES, ceil_mode=True)  # the last one over its own length
        return whole + parts


class DenseLayer(nn.Module):
    """(B, C, T) -> the (B, growth, T) that it adds."""

    def __init__(self, inputs: int, config: CampplusConfig, dilation: int) -> None:
        super().__init__()
        inner = config.bn_size * config.growth_rate
        self.nonlinear1 = Nonlinear(inputs)
        self.linear1 = nn.Conv1d(inputs, inner, 1, bias=False)
        self.nonlinear2 = Nonlinear(inner)
        self.cam_layer = ContextMask(inner, config.growth_rate, dilation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))
        return y


class DenseBlock(nn.ModuleDict):
    """Layers each of which sees what all before it made: (B, C, T) -> (B, C + layers * growth, T)."""

    def __init__(self, inputs: int, layers: int, config: CampplusConfig, dilation: int) -> None:
        super().__init__(
            {
                f"tdnnd{i + 1}": DenseLayer(inputs + i * config.growth_rate, config, dilation)
                for i in range(layers)
            }
        )

    def layers(self) -> Iterator[DenseLayer]:
        for layer in self.values():
            assert isinstance(layer, DenseLayer)
            yield layer

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.values():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class Transit(nn.Module):
    """Halves the channels after a block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = Nonlinear(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.nonlinear(x))
        return y


class Statistics(nn.Module):
    """(B, C, T) -> (B, 2 C): mean and standard deviation over time."""

    def forward(self, x: Tensor) -> Tensor:
        # As upstream: the unbiased deviation. It needs two frames.
        return torch.cat([x.mean(dim=2), x.std(dim=2, unbiased=True)], dim=1)


class Projection(nn.Module):
    """(B, C) -> (B, E)."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(inputs, size, 1, bias=False)
        self.nonlinear = nn.Sequential()
        self.nonlinear.add_module("batchnorm", nn.BatchNorm1d(size, affine=False))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.nonlinear(self.linear(x.unsqueeze(2)).squeeze(2))
        return y
