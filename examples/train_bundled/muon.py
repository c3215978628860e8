"""An optimiser for short runs: matrices take steps that are equally long in all directions.

Muon of Jordan et al. 2024 (kellerjordan.github.io/posts/muon): the momentum of a matrix, or of the filters of
a convolution as rows, is made orthogonal by five rounds of a polynomial. All else is learnt as by Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of x, x^3 and x^5: singular values from 0.01 to 1 come to lie between 0.7 and 1.2 in five rounds."""
BETAS = (0.9, 0.999)
EPS = 1e-8


class Muon(Optimizer):
    """Two groups: `matrices`, with a learning rate of about 0.02, and `others`, with one as for Adam."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], others: Iterable[nn.Parameter], *, lr: float, other_lr: float
    ) -> None:
        groups = [
            {"params": list(matrices), "lr": lr, "matrix": True},
            {"params": list(others), "lr": other_lr, "matrix": False},
        ]
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = self._matrix if group["matrix"] else self._other
                    parameter.add_(update(parameter.grad, self.state[parameter]), alpha=-group["lr"])

    def _matrix(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        if not state:
            state["mean"] = torch.zeros_like(gradient)
        mean = state["mean"].lerp_(gradient, 1 - MOMENTUM)
        rows = gradient.lerp(mean, MOMENTUM).flatten(1)
        return orthogonal(rows).view_as(gradient) * max(1.0, rows.shape[0] / rows.shape[1]) ** 0.5

    def _other(self, gradient: Tensor, state: dict[str, Any]) -> Tensor:
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["step"] += 1
        mean = state["mean"].lerp_(gradient, 1 - BETAS[0])
        square = state["square"].lerp_(gradient.square(), 1 - BETAS[1])
        first, second = (1 - beta ** float(state["step"]) for beta in BETAS)
        return (mean / first) / ((square / second).sqrt() + EPS)


def orthogonal(rows: Tensor, rounds: int = 5) -> Tensor:
    """(N, D) -> (N, D) with the same singular vectors and singular values near 1."""
    a, b, c = COEFFICIENTS
    wide = rows if rows.shape[0] <= rows.shape[1] else rows.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if rows.shape[0] <= rows.shape[1] else x.T
