"""What training minimises: its parts with pencil numbers, and that it can be minimised."""

from __future__ import annotations

import json

import pytest
import torch

from funasr.models.paraformer.loss import ParaformerLoss, glance, with_end
from tests.models.small import CLASSES, GOLDEN, network, seeded


def fresh(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return CLASSES[name].from_official(seeded.config(name), seeded.VOCAB, seeded.INPUT)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    features = torch.from_numpy(seeded.features(3, 20))
    targets = torch.tensor([[5, 6, 7, 8], [9, 10, -1, -1], [11, -1, -1, -1]])
    return features, torch.tensor([20, 13, 9]), targets, torch.tensor([4, 2, 1])


def test_the_end_token_stands_behind_each_sentence() -> None:
    config = fresh("Paraformer").config

    labels, lengths = with_end(torch.tensor([[5, 6, 0], [7, 0, 0]]), torch.tensor([2, 1]), config)

    assert labels.tolist() == [[5, 6, 2], [7, 2, -1]]
    assert lengths.tolist() == [3, 2]


def test_an_empty_sentence_is_the_end_token_alone() -> None:
    config = fresh("Paraformer").config

    labels, lengths = with_end(torch.zeros(2, 1, dtype=torch.long), torch.tensor([1, 0]), config)

    assert labels.tolist() == [[0, 2], [2, -1]]
    assert lengths.tolist() == [2, 1]


def test_the_sampler_shows_three_quarters_of_as_many_positions_as_are_wrong() -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[0, 1, 2, 3], [0, 1, -1, -1], [0, 0, 0, 0]])
    chosen = torch.zeros(3, 4, dtype=torch.long)  # 3, 1 and 0 wrong

    shown = glance(chosen, labels, 0.75)

    assert shown.sum(dim=1).tolist() == [2, 0, 0]  # int(2.25), int(0.75), 0
    assert not shown[labels == -1].any()


def test_the_sampler_draws_every_position_alike() -> None:
    torch.manual_seed(0)
    labels = torch.ones(2000, 4, dtype=torch.long)
    shown = glance(torch.zeros_like(labels), labels, 0.5)

    assert shown.sum(dim=1).tolist() == [2] * 2000
    assert (shown.float().mean(dim=0) - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("name", ["Paraformer", "BiCifParaformer"])
@pytest.mark.parametrize("count", [3, 4, 6, 8])
def test_the_losses_are_the_reference_ones(name: str, count: int) -> None:
    wanted = json.loads((GOLDEN / "models" / "losses.json").read_text())[name][str(count)]
    model = network(name)  # in evaluation mode: no dropout, and nothing is shown
    targets, counts = torch.arange(5, 5 + count)[None], torch.tensor([count])
    features, frames = torch.from_numpy(seeded.features()), torch.tensor([seeded.FRAMES])

    _, stats = ParaformerLoss(model.config)(model, features, frames, targets, counts)

    assert {key: stats[key].item() for key in wanted} == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("name", ["Paraformer", "BiCifParaformer"])
def test_a_batch_is_the_token_weighted_mean_of_its_rows(name: str) -> None:
    model = fresh(name).eval()
    loss = ParaformerLoss(model.config)
    features, lengths, targets, counts = batch()

    total, stats = loss(model, features, lengths, targets, counts)

    alone = [
        loss(model, features[i : i + 1, :t], lengths[i : i + 1], targets[i : i + 1, :u], counts[i : i + 1])[0]
        for i, (t, u) in enumerate(zip(lengths.tolist(), counts.tolist(), strict=True))
    ]
    weights = counts + 1
    expected = sum(part * weight for part, weight in zip(alone, weights, strict=True)) / weights.sum()
    torch.testing.assert_close(total, expected, atol=1e-5, rtol=1e-5)
    assert stats["tokens"] == 10


@pytest.mark.parametrize("name", ["Paraformer", "BiCifParaformer"])
def test_a_few_sentences_can_be_learnt_by_heart(name: str) -> None:
    model = fresh(name).train()
    loss = ParaformerLoss(model.config)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = None
    for _ in range(40):
        value, stats = loss(model, *batch())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        first = first or stats
    model.eval()
    with torch.inference_mode():
        _, after = loss(model, *batch())

    assert first is not None
    assert after["loss"] < 0.3 * first["loss"]
    assert after["acc"] > 0.8
    assert after["loss_pre"] < 0.3 * first["loss_pre"]
    assert ("loss_pre2" in after) == (name == "BiCifParaformer")


def test_every_parameter_gets_a_gradient() -> None:
    model = fresh("BiCifParaformer").train()

    value, _ = ParaformerLoss(model.config)(model, *batch())
    value.backward()

    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []


def test_time_and_frequency_masks_are_for_training_only() -> None:
    raw = seeded.config("Paraformer") | {"specaug": "SpecAugLFR", "specaug_conf": {"num_freq_mask": 1}}
    torch.manual_seed(0)
    model = CLASSES["Paraformer"].from_official(raw, seeded.VOCAB, seeded.INPUT).eval()
    loss = ParaformerLoss(model.config)

    first, second = (loss(model, *batch())[0] for _ in range(2))

    assert model.config.specaug is not None
    assert first == second
