"""What training a punctuation model minimises: pencil numbers, and that it can be minimised."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from funasr.errors import ModelFilesError
from funasr.models.ct_transformer.loss import CtTransformerLoss, mark_f1
from funasr.models.ct_transformer.network import CTTransformer
from funasr.models.ct_transformer.online import CTTransformerStreaming

sys.path.insert(0, str(Path(__file__).parents[1] / "golden"))

import punc_dirs


def fresh(name: str = "CTTransformer") -> CTTransformer:
    torch.manual_seed(0)
    kind = CTTransformer if name == "CTTransformer" else CTTransformerStreaming
    return kind.from_official(punc_dirs.config(name), len(punc_dirs.TOKENS))


@dataclass
class _Given:
    logits: Tensor

    def __call__(self, ids: Tensor, lengths: Tensor, boundaries: Tensor | None = None) -> Tensor:
        return self.logits


def given(logits: list[list[list[float]]]) -> nn.Module:
    return _Given(torch.tensor(logits))  # type: ignore[return-value]


LENGTHS = torch.tensor([2])
IDS = torch.zeros(1, 2, dtype=torch.long)


def loss_of(*, ignore_id: int = 0, weights: tuple[float, ...] = ()) -> CtTransformerLoss:
    return CtTransformerLoss(fresh().config, punc_weight=weights, ignore_id=ignore_id)


def test_the_loss_is_the_mean_over_words_of_what_the_right_label_was_thought_unlikely() -> None:
    # e^0 against five others that are e^0 too: one in six. Then ln 5 against five of 1: one half.
    even, sure = [0.0] * 6, [0.0, 0.0, 0.0, math.log(5), 0.0, 0.0]

    loss, stats = loss_of()(given([[even, sure]]), IDS, LENGTHS, torch.tensor([[2, 3]]), LENGTHS)  # type: ignore[arg-type]

    assert loss.item() == pytest.approx((math.log(6) + math.log(2)) / 2)
    assert stats["tokens"].item() == 2


def test_a_label_with_three_times_the_weight_counts_three_times() -> None:
    even, sure = [0.0] * 6, [0.0, 0.0, 0.0, math.log(5), 0.0, 0.0]
    weighted = loss_of(weights=(1, 1, 1, 3, 1, 1))

    loss, _ = weighted(given([[even, sure]]), IDS, LENGTHS, torch.tensor([[2, 3]]), LENGTHS)  # type: ignore[arg-type]

    assert loss.item() == pytest.approx((math.log(6) + 3 * math.log(2)) / 4)


def test_words_without_a_label_and_behind_the_end_count_for_nothing() -> None:
    even, wild = [0.0] * 6, [50.0, -50.0, 9.0, 7.0, 0.0, 0.0]
    model = given([[even, wild, wild]])
    targets = torch.tensor([[2, 0, 5]])

    loss, stats = loss_of()(model, IDS, torch.tensor([3]), targets, torch.tensor([2]))  # type: ignore[arg-type]

    assert loss.item() == pytest.approx(math.log(6))
    assert stats["tokens"].item() == 1


def test_f1_is_over_marks_and_never_over_words_without_one() -> None:
    labels = torch.tensor([[2, 3, 1, 1, 0]])
    guess = torch.tensor(
        [[2, 1, 3, 1, 4]]
    )  # one mark right, one missed, one too many; the last one not asked
    logits = nn.functional.one_hot(guess, 6).float()

    assert mark_f1(logits, labels).item() == pytest.approx(2 * 1 / (2 + 2))
    assert mark_f1(logits, torch.ones_like(labels)).item() == 0


def test_the_settings_of_a_model_directory_are_used() -> None:
    raw = punc_dirs.config("CTTransformer")
    raw["model_conf"] |= {"punc_weight": [1, 2, 3, 4, 5, 6], "ignore_id": 4}

    loss = CtTransformerLoss.from_official(raw, fresh().config)

    assert loss.weights.tolist() == [1, 2, 3, 4, 5, 6]
    assert loss.ignore_id == 4


def test_weights_for_fewer_labels_than_there_are_are_refused() -> None:
    with pytest.raises(ModelFilesError, match="punc_weight has 2 entries"):
        loss_of(weights=(1.0, 2.0))


@pytest.mark.parametrize("name", ["CTTransformer", "CTTransformerStreaming"])
def test_a_few_updates_learn_a_sentence(name: str) -> None:
    model = fresh(name)
    criterion = CtTransformerLoss(model.config)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    ids = torch.arange(1, 13).reshape(2, 6)
    targets = torch.tensor([[1, 2, 1, 1, 1, 4], [1, 5, 1, 3, 0, 0]])
    lengths, boundaries = torch.tensor([6, 4]), torch.tensor([2, 0])
    for _ in range(40):
        optimizer.zero_grad()
        loss, stats = criterion(model, ids, lengths, targets, lengths, boundaries)
        loss.backward()
        optimizer.step()

    assert loss.item() < 0.1
    assert (stats["acc"].item(), stats["f1"].item()) == (1, 1)
