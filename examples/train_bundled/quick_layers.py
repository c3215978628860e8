"""Stand-ins that compute what the network's own layers compute in training, in a fraction of the CPU time.

On one core of the machine this was tuned on, forward and backward of a batch of 64 x 45 rows: the timestamp
head's LSTM 1400 -> 310 ms. Nothing here has parameters of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from funasr.nn.cif import CifPredictorV3
from funasr.nn.layers import Padding, frame_mask
from funasr.nn.sanm import SanmAttention, split_heads


class _PlainAttention(SanmAttention):
    """Products of queries and keys as they stand in the book: for short rows the gradient of torch's own
    function takes many times as long. All is bfloat16 where the projections are."""

    def forward(self, x: Tensor, padding: Padding | None) -> Tensor:
        query, key, value = self.linear_q_k_v(x).chunk(3, dim=-1)
        with torch.autocast(x.device.type, enabled=False):
            q, k, v = (split_heads(part, self.heads) for part in (query, key, value))
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
            if padding is not None:
                value = value * padding.frames.to(value.dtype)
                scores = scores + padding.keys.to(scores.dtype)
            seen = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
            block = self.fsmn_block
            memory: Tensor = _ShiftedSum.apply(value, block.weight[:, 0].T, block.left) + value
            if padding is not None:
                memory = memory * padding.frames.to(memory.dtype)
        out: Tensor = self.linear_out(seen) + memory
        return out


class _ShiftedSum(torch.autograd.Function):
    """A depthwise convolution as a sum of products, without turning the rows around."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, left: int) -> Tensor:
        """x (B, T, D), weight (K, D) -> (B, T, D); row t reads rows t - left to t - left + K - 1."""
        size, kernel = x.shape[1], len(weight)
        around = nn.functional.pad(x, (0, 0, left, kernel - 1 - left))
        weight = weight.to(x.dtype).contiguous()
        ctx.save_for_backward(around, weight)
        ctx.left = left
        out = around[:, :size] * weight[0]
        for k in range(1, kernel):
            out.addcmul_(around[:, k : k + size], weight[k])
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        around, weight = ctx.saved_tensors
        size = grad.shape[1]
        to_around = torch.zeros_like(around)
        to_weight = []
        rows = grad.new_ones(grad.shape[0] * size)  # a product with them is a sum, and a quick one
        for k in range(len(weight)):
            to_around[:, k : k + size].addcmul_(grad, weight[k])
            to_weight.append(rows @ (grad * around[:, k : k + size]).flatten(0, 1))
        return to_around[:, ctx.left : ctx.left + size], torch.stack(to_weight).float(), None


class _SameTypeNorm(nn.LayerNorm):
    """bfloat16 in, bfloat16 out."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return nn.functional.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


def use_quick_encoder(model: nn.Module) -> None:
    """A SANM encoder whose frames are bfloat16 from the first projection on, where that is. No dropout of
    attention weights. Swaps classes, not modules."""
    for module in model.modules():
        if type(module) is SanmAttention:
            module.__class__ = _PlainAttention
        elif type(module) is nn.LayerNorm:
            module.__class__ = _SameTypeNorm


def fine_weights(predictor: CifPredictorV3, memory: Tensor, lengths: Tensor) -> Tensor:
    """`CifPredictorV3.fine_weights` without packing: the backward direction reads rows turned around.

    memory (B, T, D), lengths (B,) -> (B, R * T)
    """
    config, lstm = predictor.config, predictor.blstm
    with torch.autocast(memory.device.type, enabled=False):
        fine = predictor.upsample_cnn(memory.float().transpose(1, 2)).transpose(1, 2)
        fine_lengths = lengths * config.upsample_times
        size = fine.shape[1]
        places = torch.arange(size, device=fine.device)[None, :]
        # Position i of a row of length n reads n - 1 - i; padding stays where it is.
        turned = torch.where(places < fine_lengths[:, None], fine_lengths[:, None] - 1 - places, places)
        turned = turned[:, :, None].expand(-1, -1, fine.shape[2])
        ahead = _one_way(lstm, fine, "")
        back = _one_way(lstm, fine.gather(1, turned), "_reverse").gather(1, turned)
        logits = predictor.cif_output2(torch.cat([ahead, back], dim=2)).squeeze(-1)
        alphas = torch.relu(logits.sigmoid() * config.smooth_factor2 - config.noise_threshold2)
        return alphas * frame_mask(fine_lengths, size)


def _one_way(lstm: nn.LSTM, x: Tensor, direction: str) -> Tensor:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = [getattr(lstm, name + direction) for name in names]
    start = x.new_zeros(1, x.shape[0], lstm.hidden_size)
    out: Tensor = torch.lstm(x, (start, start), weights, True, 1, 0.0, True, False, True)[0]
    return out
