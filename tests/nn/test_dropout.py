"""Dropout of our own: how often, how much, and its gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from funasr.nn.dropout import Dropout, dropout, kept, relu_dropout
from funasr.nn.layers import Padding
from funasr.nn.sanm import attend


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_each_value_is_zero_or_larger_so_that_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    factors = kept(torch.empty(301, 333), p)

    assert (factors == 0).float().mean().item() == pytest.approx(p, abs=0.005)
    assert factors.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-4)
    assert factors.mean().item() == pytest.approx(1, abs=0.01)


def test_neighbours_that_share_a_random_number_do_not_share_their_fate() -> None:
    torch.manual_seed(0)
    dropped = (kept(torch.empty(40_000, 4), 0.5) == 0).float()

    assert (torch.corrcoef(dropped.T) - torch.eye(4)).abs().max() < 0.03


def test_the_same_seed_drops_the_same_values_and_the_next_call_others() -> None:
    torch.manual_seed(3)
    first, second = kept(torch.empty(50), 0.5), kept(torch.empty(50), 0.5)
    torch.manual_seed(3)

    assert torch.equal(kept(torch.empty(50), 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_results_have_the_type_of_what_they_are_made_from(dtype: torch.dtype) -> None:
    x = torch.ones(7, dtype=dtype)

    assert dropout(x, 0.5).dtype == relu_dropout(x, 0.5).dtype == dtype


def test_all_and_none_can_be_dropped() -> None:
    x = torch.ones(9)

    assert dropout(x, 1.0).tolist() == [0.0] * 9
    assert dropout(x, 0.0) is x
    assert relu_dropout(torch.tensor([-1.0, 2.0]), 0.0).tolist() == [0.0, 2.0]


def test_in_evaluation_nothing_is_dropped() -> None:
    x = torch.ones(9)

    assert Dropout(0.9).eval()(x) is x


def test_the_gradient_of_relu_and_dropout_is_that_of_the_two() -> None:
    x = torch.randn(50, 7, requires_grad=True)
    weights = torch.randn(50, 7)
    torch.manual_seed(5)
    (relu_dropout(x, 0.3) * weights).sum().backward()
    torch.manual_seed(5)
    factors = kept(x, 0.3)

    assert x.grad is not None
    torch.testing.assert_close(x.grad, (x > 0) * factors * weights)


def test_attention_with_dropout_is_the_plain_one_where_nothing_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("funasr.nn.sanm.kept", lambda x, p: torch.ones_like(x))
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, size, 8, requires_grad=True) for size in (3, 5, 5))
    padding = Padding.of(torch.tensor([5, 2]), 5)

    seen = attend(q, k, v, 2, padding, dropout=0.1)
    plain = attend(q, k, v, 2, padding)

    torch.testing.assert_close(seen, plain)
    for own, other in zip(
        torch.autograd.grad(seen.square().sum(), (q, k, v)),
        torch.autograd.grad(plain.square().sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


def test_what_attention_drops_has_no_part_in_its_gradients() -> None:
    q, k, v = (torch.randn(2, size, 8, requires_grad=True) for size in (3, 5, 5))
    padding = Padding.of(torch.tensor([5, 2]), 5)
    torch.manual_seed(7)
    seen = attend(q, k, v, 2, padding, dropout=0.4)
    torch.manual_seed(7)
    factors = kept(torch.empty(4, 3, 5), 0.4).view(2, 2, 3, 5)

    heads = [x.view(2, -1, 2, 4).transpose(1, 2) for x in (q, k, v)]
    share = (heads[0] @ heads[1].mT / 2 + padding.keys).softmax(dim=-1) * factors
    plain = (share @ heads[2]).transpose(1, 2).reshape(2, 3, 8)

    torch.testing.assert_close(seen, plain)
    for own, other in zip(
        torch.autograd.grad(seen.square().sum(), (q, k, v)),
        torch.autograd.grad(plain.square().sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


def test_attention_with_dropout_learns_in_16_bits() -> None:
    q, k, v = (torch.randn(2, 5, 8, requires_grad=True) for _ in range(3))

    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(1)
        seen = attend(*(x.bfloat16() for x in (q, k, v)), 2, None, dropout=0.3)
    own = torch.autograd.grad(seen.float().sum(), (q, k, v))
    torch.manual_seed(1)
    wide = torch.autograd.grad(attend(q, k, v, 2, None, dropout=0.3).sum(), (q, k, v))

    assert seen.dtype == torch.bfloat16
    for one, other in zip(own, wide, strict=True):
        torch.testing.assert_close(one, other, atol=0.05, rtol=0.05)


def test_a_row_that_hears_nothing_does_not_poison_the_rest() -> None:
    q, k, v = (torch.randn(2, 3, 8, requires_grad=True) for _ in range(3))
    silent = Padding(torch.ones(2, 3, 1), torch.zeros(2, 1, 3, 3))
    silent.keys[0, 0, 1] = -math.inf

    out = attend(q, k, v, 2, silent, dropout=0.5)
    F.mse_loss(out[1], torch.zeros_like(out[1])).backward()

    for x in (q, k, v):
        assert x.grad is not None
        assert x.grad.isfinite().all()
