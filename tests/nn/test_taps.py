"""The convolution over time, beside torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from funasr.nn.taps import along_time


@pytest.mark.parametrize(("taps", "left"), [(3, 1), (11, 5), (11, 10), (4, 0)])
@pytest.mark.parametrize("size", [1, 2, 17])
@pytest.mark.parametrize("together", [1, 1000, 10**6])
def test_results_and_gradients_are_those_of_torch(
    taps: int, left: int, size: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("funasr.nn.taps.CACHED", together)
    torch.manual_seed(0)
    x = torch.randn(3, size, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 1, taps, dtype=torch.float64, requires_grad=True)

    own = along_time(x, weight, left)
    plain = F.conv1d(F.pad(x.transpose(1, 2), (left, taps - 1 - left)), weight, groups=6).transpose(1, 2)

    torch.testing.assert_close(own, plain)
    for one, other in zip(
        torch.autograd.grad(own.square().sum(), (x, weight)),
        torch.autograd.grad(plain.square().sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_what_does_not_learn_gets_no_gradient() -> None:
    x, weight = torch.randn(1, 5, 4, requires_grad=True), torch.randn(4, 1, 3)

    along_time(x, weight, 1).sum().backward()

    assert x.grad is not None
    assert weight.grad is None
    assert not along_time(x.detach(), weight, 1).requires_grad
