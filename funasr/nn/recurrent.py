"""LSTMs over padded batches. B batch, T frames, D width, H hidden width.

On a CPU a PackedSequence is cut step by step, and the gradient of each cut is a zero-filled tensor as large
as the whole input: training time grows with the square of the length (3/4 of a step at 90 frames). There the
rows are turned around within their own lengths instead. On a GPU cuDNN takes the packed form as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def both_ways(lstm: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """One bidirectional layer: x (B, T, D), lengths (B,) -> (B, T, 2 * H).

    The backward direction of each row starts at the row's own end. What stands at padding means nothing.
    """
    if x.is_cuda:
        return packed_both_ways(lstm, x, lengths)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    there = _run([getattr(lstm, name) for name in names], x)
    order = reversal(lengths, x.shape[1])
    back = _run([getattr(lstm, f"{name}_reverse") for name in names], _reorder(x, order))
    return torch.cat([there, _reorder(back, order)], dim=-1)


def packed_both_ways(lstm: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """The same by a PackedSequence; padding comes out as 0."""
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    hidden, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=x.shape[1])
    return hidden


def last_hidden(lstm: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """A forward LSTM's top layer at each row's last real step: x (B, T, D), lengths (B,) >= 1 -> (B, H)."""
    hidden, _ = lstm(x)
    rows = torch.arange(x.shape[0], device=x.device)
    last: Tensor = hidden[rows, lengths - 1]
    return last


def reversal(lengths: Tensor, size: int) -> Tensor:
    """(B,) -> (B, size) indices that turn each row around and leave its padding in place. Its own inverse."""
    steps = torch.arange(size, device=lengths.device)[None, :]
    turned = lengths[:, None] - 1 - steps
    return torch.where(turned >= 0, turned, steps)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order[:, :, None].expand_as(x))


def _run(weights: list[Tensor], x: Tensor) -> Tensor:
    """One layer, one direction, from a zero state."""
    state = x.new_zeros(1, x.shape[0], weights[1].shape[1])
    hidden: Tensor = torch.lstm(x, (state, state), weights, True, 1, 0.0, False, False, True)[0]
    return hidden
