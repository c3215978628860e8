"""Continuous integrate-and-fire: frames -> tokens. Weights add up over time; each full unit is one token.

All of it is float32 (running sums float64), whatever the rest of the network uses. B batch, T frames,
D width, U tokens, R upsampling rate of the timestamp head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from funasr.errors import ModelFilesError
from funasr.nn.layers import frame_mask, longest
from funasr.nn.recurrent import both_ways
from funasr.nn.sanm import SanmEncoderConfig


@dataclass(frozen=True, kw_only=True)
class CifPredictorConfig:
    """`predictor_conf` of the official config.yaml, same field names."""

    idim: int = 512
    threshold: float = 1.0
    l_order: int = 1
    r_order: int = 1
    tail_threshold: float = 0.0
    """Weight of the frame that inference adds behind the last real one."""
    tail_mask: bool = True
    smooth_factor: float = 1.0
    noise_threshold: float = 0.0
    smooth_factor2: float = 1.0
    noise_threshold2: float = 0.0
    upsample_times: int = 5
    upsample_type: str = "cnn"
    use_cif1_cnn: bool = True

    def __post_init__(self) -> None:
        if self.threshold != 1.0:
            raise ModelFilesError(f"predictor_conf.threshold is {self.threshold}; only 1.0 is built")


def require_equal_widths(encoder: SanmEncoderConfig, predictor: CifPredictorConfig) -> None:
    """Raises ModelFilesError where a predictor does not take what the encoder gives."""
    if encoder.output_size != predictor.idim:
        raise ModelFilesError(
            f"encoder_conf.output_size is {encoder.output_size} and predictor_conf.idim {predictor.idim}: "
            "they must be equal"
        )


BLOCK = 256
"""Tokens whose shares of the frames are worked out together."""

UNUSED_PREDICTOR_KEYS = frozenset(
    [
        "dropout",
        "residual",
        "cnn_groups",
        "tf2torch_tensor_name_prefix_torch",
        "tf2torch_tensor_name_prefix_tf",
    ]
)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a predictor says about a batch."""

    embeds: Tensor
    """(B, U, D) acoustic embedding of each token, zero behind a row's count."""
    counts: Tensor
    """(B,) int64 tokens in each row."""
    alphas: Tensor
    """(B, T) weights as fired; at inference (B, T + 1), the tail's weight at each row's end."""
    quantity: Tensor
    """(B,) float sum of the weights as predicted: before scaling, without the tail."""


class CifPredictorV2(nn.Module):
    """Finds the tokens: weights from a small convolution, then integrate-and-fire."""

    def __init__(self, config: CifPredictorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.l_order + config.r_order + 1
        self.cif_conv1d = nn.Conv1d(config.idim, config.idim, width)
        self.cif_output = nn.Linear(config.idim, 1)

    def forward(self, memory: Tensor, lengths: Tensor, target_lengths: Tensor | None = None) -> Prediction:
        """memory (B, T, D), zero at padding; lengths (B,).

        With `target_lengths` (B,) each row's weights are scaled so that it fires that often.
        """
        with torch.autocast(memory.device.type, enabled=False):
            memory = memory.float()
            alphas = self.weights(memory, lengths)
            quantity = alphas.sum(dim=1)
            if target_lengths is not None:
                counts = target_lengths
                alphas = alphas * (counts / quantity.clamp(min=1e-6))[:, None]
            else:
                alphas = self.add_tail(alphas, lengths)
                memory = F.pad(memory, (0, 0, 0, 1))
                counts = running_sum(alphas)[:, -1].floor().long()
            # Exactly `counts` units are dealt out when the row was scaled to them, whatever rounding says.
            bounds = token_bounds(alphas, counts if target_lengths is not None else None)
            size = longest(counts)
            embeds = weigh(memory, bounds, size) * frame_mask(counts, size)[..., None]
            return Prediction(embeds, counts, alphas, quantity)

    def weights(self, memory: Tensor, lengths: Tensor) -> Tensor:
        """memory (B, T, D) -> (B, T) weights in 0..1, zero at padding."""
        logits = self.cif_output(F.relu(self._around(memory))).squeeze(-1)
        alphas = F.relu(logits.sigmoid() * self.config.smooth_factor - self.config.noise_threshold)
        return alphas * frame_mask(lengths, alphas.shape[1])

    def _around(self, memory: Tensor) -> Tensor:
        """memory (B, T, D) -> (B, T, D), each frame with its neighbours."""
        before, behind, conv = self.config.l_order, self.config.r_order, self.cif_conv1d
        if not self.training:
            seen = F.pad(memory.transpose(1, 2), (before, behind))
            return conv(seen).transpose(1, 2)  # type: ignore[no-any-return]
        # As one product: with its gradient two thirds of a convolution's time.
        seen, size = F.pad(memory, (0, 0, before, behind)), memory.shape[1]
        neighbours = [seen[:, tap : tap + size] for tap in range(before + behind + 1)]
        return F.linear(torch.cat(neighbours, dim=2), conv.weight.transpose(1, 2).flatten(1), conv.bias)

    def add_tail(self, alphas: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) -> (B, T + 1): one more frame of weight `tail_threshold` behind each row's last real one."""
        size = alphas.shape[1] + 1
        ends = lengths if self.config.tail_mask else torch.full_like(lengths, size - 1)
        tail = torch.arange(size, device=alphas.device)[None, :] == ends[:, None]
        return F.pad(alphas, (0, 1)) + self.config.tail_threshold * tail


class CifPredictorV3(CifPredictorV2):
    """Has a second head that looks more finely at time (R weights a frame), for timestamps."""

    def __init__(self, config: CifPredictorConfig) -> None:
        super().__init__(config)
        if config.upsample_type != "cnn_blstm" or config.use_cif1_cnn:
            raise ModelFilesError(
                f"predictor_conf has upsample_type {config.upsample_type!r} and use_cif1_cnn "
                f"{config.use_cif1_cnn}; this version builds 'cnn_blstm' and false"
            )
        dim, rate = config.idim, config.upsample_times
        self.upsample_cnn = nn.ConvTranspose1d(dim, dim, rate, rate)
        self.blstm = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
        self.cif_output2 = nn.Linear(2 * dim, 1)

    def fine_weights(self, memory: Tensor, lengths: Tensor) -> Tensor:
        """memory (B, T, D), zero at padding -> (B, R * T) weights, zero at padding. Not scaled."""
        with torch.autocast(memory.device.type, enabled=False):
            fine = self._finer(memory.float())
            fine_lengths = lengths * self.config.upsample_times
            hidden = both_ways(self.blstm, fine, fine_lengths)
            logits = self.cif_output2(hidden).squeeze(-1)
            alphas = F.relu(logits.sigmoid() * self.config.smooth_factor2 - self.config.noise_threshold2)
            return alphas * frame_mask(fine_lengths, alphas.shape[1])

    def _finer(self, memory: Tensor) -> Tensor:
        """memory (B, T, D) -> (B, R * T, D)."""
        conv = self.upsample_cnn
        if not self.training:
            return conv(memory.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]
        # As one product: with its gradient half of a convolution's time.
        assert conv.bias is not None
        weight = conv.weight.permute(2, 1, 0).flatten(0, 1)
        fine = F.linear(memory, weight, conv.bias.repeat(self.config.upsample_times))
        return fine.view(len(memory), -1, memory.shape[2])


def running_sum(alphas: Tensor) -> Tensor:
    """(B, T) -> (B, T) cumulative weights, in float64 where the device has it."""
    wide = torch.float32 if alphas.device.type == "mps" else torch.float64
    return alphas.to(wide).cumsum(dim=1)


def token_bounds(alphas: Tensor, counts: Tensor | None) -> Tensor:
    """(B, T) -> (B, T + 1) running sums from 0. With `counts` (B,) each row ends at exactly its count.

    Scaled weights add up to their target only within rounding; without the last step the final token of some
    rows would get no frame at all.
    """
    sums = F.pad(running_sum(alphas), (1, 0))
    if counts is None:
        return sums
    target = counts.to(sums.dtype)[:, None]
    # The last weighted frame and all behind it reach the target: the sum no longer grows there.
    last = sums >= sums[:, -1:]
    return torch.where(last, target, torch.minimum(sums, target))


def firing_peaks(alphas: Tensor, threshold: float) -> Tensor:
    """(B, T) weights of less than the threshold -> (B, T) sums since the last fire, as it was reached.

    What `funasr.decode.cif.integrate` finds step by step, but for rounding.
    """
    sums = running_sum(alphas)
    fired = F.pad((sums / threshold).floor(), (1, 0))[:, :-1]
    return (sums - fired * threshold).to(alphas.dtype)


def weigh(memory: Tensor, bounds: Tensor, tokens: int) -> Tensor:
    """memory (B, T, D), bounds (B, T + 1) -> (B, tokens, D), each token the sum of its share of the frames.

    A block of tokens at a time: their shares are a (tokens, T) matrix, and an hour of sound has many of both.
    A graph that is being made has one block, for there `tokens` is not known.
    """
    if torch.onnx.is_in_onnx_export():
        return overlaps(bounds, 0, tokens).to(memory.dtype) @ memory
    blocks = [
        overlaps(bounds, start, min(start + BLOCK, tokens)).to(memory.dtype) @ memory
        for start in range(0, tokens, BLOCK)
    ]
    return torch.cat(blocks, dim=1) if blocks else memory[:, :0]


def overlaps(bounds: Tensor, start: int, stop: int) -> Tensor:
    """(B, T + 1) running sums -> (B, stop - start, T): how much of a frame is token u's, in [u, u + 1)."""
    begins = torch.arange(start, stop, dtype=bounds.dtype, device=bounds.device)[None, :, None]
    upper = torch.minimum(bounds[:, None, 1:], begins + 1)
    lower = torch.maximum(bounds[:, None, :-1], begins)
    return (upper - lower).clamp(min=0)
