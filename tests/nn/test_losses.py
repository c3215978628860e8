"""Losses against the formulas written out, and against torch where it has the same."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from funasr.nn.losses import accuracy, label_smoothing_loss, quantity_loss


def test_smoothing_is_the_divergence_from_ninety_percent_on_the_label() -> None:
    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0, math.log(4)]]])  # probabilities 1/8 x 4, 1/2
    q = [0.025, 0.025, 0.025, 0.025, 0.9]
    p = [0.125, 0.125, 0.125, 0.125, 0.5]
    expected = sum(a * (math.log(a) - math.log(b)) for a, b in zip(q, p, strict=True))

    assert label_smoothing_loss(logits, torch.tensor([[4]]), smoothing=0.1).item() == pytest.approx(expected)


def test_a_model_that_answers_the_smoothed_target_has_no_loss() -> None:
    q = torch.tensor([[[0.9, 0.025, 0.025, 0.025, 0.025]]])

    loss = label_smoothing_loss(q.log(), torch.tensor([[0]]), smoothing=0.1)

    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_without_smoothing_it_is_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 4, 7), torch.randint(0, 7, (3, 4))

    loss = label_smoothing_loss(logits, targets, smoothing=0.0)

    torch.testing.assert_close(loss, F.cross_entropy(logits.flatten(0, 1), targets.flatten()))


def test_ignored_positions_count_for_nothing() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5)
    targets = torch.tensor([[1, 2, -1], [3, -1, -1]])
    kept = torch.stack([logits[0, 0], logits[0, 1], logits[1, 0]])[None]

    loss = label_smoothing_loss(logits, targets, smoothing=0.1)
    per_row = label_smoothing_loss(logits, targets, smoothing=0.1, normalize_length=False)

    torch.testing.assert_close(loss, label_smoothing_loss(kept, torch.tensor([[1, 2, 3]]), smoothing=0.1))
    torch.testing.assert_close(per_row, loss * 3 / 2)  # 3 tokens, 2 rows


def test_quantity_is_the_error_in_the_number_of_tokens() -> None:
    predicted, lengths = torch.tensor([2.5, 4.0]), torch.tensor([3, 2])

    assert quantity_loss(predicted, lengths).item() == pytest.approx(2.5 / 5)
    assert quantity_loss(predicted, lengths, normalize_length=False).item() == pytest.approx(2.5 / 2)


def test_accuracy_is_over_labels_that_count() -> None:
    logits = torch.eye(3)[None]

    assert accuracy(logits, torch.tensor([[0, 1, 0]])).item() == pytest.approx(2 / 3)
    assert accuracy(logits, torch.tensor([[0, -1, -1]])).item() == 1
    assert accuracy(logits, torch.tensor([[-1, -1, -1]])).item() == 0
