"""What training a speaker model minimises, with pencil numbers."""

from __future__ import annotations

import math

import pytest
import torch

from funasr.models.campplus.loss import AngularMarginLoss, PairLoss


def axes(margin: float, scale: float = 1.0) -> AngularMarginLoss:
    """Two speakers, along the first and the second axis."""
    loss = AngularMarginLoss(2, 2, margin=margin, scale=scale)
    loss.weight.data = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    return loss


def test_without_a_margin_it_is_the_cross_entropy_of_the_scaled_cosines() -> None:
    voices = torch.tensor([[10.0, 0.0], [1.0, 1.0]])

    loss, stats = axes(margin=0.0, scale=2.0)(voices, torch.tensor([0, 1]))

    # Cosines (1, 0) and (0.707, 0.707): log(1 + e^-2) and log 2.
    assert loss.item() == pytest.approx((math.log1p(math.exp(-2)) + math.log(2)) / 2, abs=1e-5)
    assert stats["acc"].item() in (0.5, 1.0)  # the second voice is as near to one as to the other


def test_the_margin_is_an_angle_added_to_the_right_one() -> None:
    angle = 0.5
    voice = torch.tensor([[math.cos(angle), math.sin(angle)]])

    loss, _ = axes(margin=0.2)(voice, torch.tensor([0]))

    right, wrong = math.cos(0.7), math.sin(angle)
    assert loss.item() == pytest.approx(math.log1p(math.exp(wrong - right)), abs=1e-5)


def test_the_loss_grows_with_the_angle_to_the_very_opposite() -> None:
    angles = torch.linspace(0, math.pi, 60)
    voices = torch.stack([angles.cos(), torch.zeros(60), angles.sin()], dim=1)
    loss = AngularMarginLoss(3, 2, margin=0.3, scale=1.0)
    loss.weight.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

    losses = [loss(voice[None], torch.tensor([0]))[0].item() for voice in voices]

    assert losses == sorted(losses)


def test_gradients_are_finite_where_a_voice_points_exactly_at_its_speaker() -> None:
    voices = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)

    axes(margin=0.2, scale=32.0)(voices, torch.tensor([0, 0]))[0].backward()

    assert voices.grad is not None
    assert voices.grad.isfinite().all()


def test_pairs_are_found_among_the_others_by_their_cosine() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[5.0, 0.0], [0.0, 0.1]])

    loss, stats = PairLoss(scale=3.0)(first, second, torch.tensor([7, 9]))

    assert loss.item() == pytest.approx(math.log1p(math.exp(-3)), abs=1e-5)
    assert stats["acc"].item() == 1.0


def test_two_pairs_of_one_speaker_are_not_told_apart() -> None:
    same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])

    loss, _ = PairLoss()(same, same, torch.tensor([4, 4]))

    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_voices_that_start_at_random_learn_to_be_apart() -> None:
    torch.manual_seed(0)
    voices = torch.nn.Parameter(torch.randn(12, 8))
    speakers = torch.arange(6).repeat(2)
    pairs, named = PairLoss(), AngularMarginLoss(8, 6)
    optimizer = torch.optim.Adam([voices, *pairs.parameters(), *named.parameters()], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = pairs(voices[:6], voices[6:], speakers[:6])[0] + named(voices, speakers)[0]
        loss.backward()
        optimizer.step()

    assert pairs(voices[:6], voices[6:], speakers[:6])[1]["acc"].item() == 1.0
    assert named(voices, speakers)[1]["acc"].item() == 1.0
