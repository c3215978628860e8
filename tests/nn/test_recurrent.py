"""LSTMs over padded rows against torch's packed sequences."""

from __future__ import annotations

import torch
from torch import nn

from funasr.nn.recurrent import both_ways, last_hidden, packed_both_ways, reversal


def test_rows_are_turned_around_within_their_lengths() -> None:
    assert reversal(torch.tensor([3, 1]), 4).tolist() == [[2, 1, 0, 3], [0, 1, 2, 3]]


def test_both_directions_equal_a_packed_lstm_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(4, 5, batch_first=True, bidirectional=True)
    x, lengths = torch.randn(3, 6, 4, requires_grad=True), torch.tensor([4, 6, 1])
    real = (torch.arange(6)[None] < lengths[:, None])[..., None]

    wanted = packed_both_ways(lstm, x, lengths)
    given = both_ways(lstm, x, lengths) * real

    torch.testing.assert_close(given, wanted)
    (wanted_grad,) = torch.autograd.grad(wanted.square().sum(), x)
    (given_grad,) = torch.autograd.grad(given.square().sum(), x)
    torch.testing.assert_close(given_grad, wanted_grad)


def test_the_last_real_step_is_taken() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(4, 5, num_layers=2, batch_first=True)
    x = torch.randn(2, 6, 4)

    both = last_hidden(lstm, x, torch.tensor([6, 3]))

    torch.testing.assert_close(both[0], lstm(x[:1])[1][0][-1, 0])
    torch.testing.assert_close(both[1], lstm(x[1:, :3])[1][0][-1, 0])
