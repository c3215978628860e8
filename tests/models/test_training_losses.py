"""The losses of every class that is trained, and their gradients, against the reference's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from funasr import registry
from funasr.models.paraformer.hotword_loss import (
    LONGEST,
    ContextualLoss,
    SeacoLoss,
    hotword_labels,
    phrase_ids,
)
from funasr.models.paraformer.loss import ParaformerLoss
from funasr.models.sense_voice.loss import SenseVoiceLoss
from funasr.nn.ctc import ctc_loss
from tests.models.small import GOLDEN, seeded

import seeded_training as cases  # isort: skip  # beside seeded.py

LANGUAGES = {24_884: 3, 24_885: 4}
STYLES = {25_016: 14, 25_017: 15}
PLACES = torch.tensor(cases.SPANS)


def network(case: str) -> Any:
    name, raw, vocab = cases.model(case)
    model = registry.lookup(registry.MODELS, name).from_official(raw, vocab, seeded.INPUT)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(value) for key, value in seeded.weights(shapes).items()})
    return model.eval()


def batch(case: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    made = cases.batch(case)
    names = ("speech", "speech_lengths", "text", "text_lengths")
    speech, lengths, text, counts = (torch.from_numpy(made[name]) for name in names)
    return speech, lengths, text, counts


def losses(case: str, model: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
    name = case.split()[0]
    if name == "SenseVoiceSmall":
        return SenseVoiceLoss(LANGUAGES, STYLES)(model, *batch(case))
    if name == "SeacoParaformer":
        return SeacoLoss(model.config).with_hotwords(model, *batch(case), PLACES)
    if name == "ContextualParaformer":
        return ContextualLoss(model.config).with_hotwords(model, *batch(case), PLACES)
    return ParaformerLoss(model.config)(model, *batch(case))


def compare(case: str, wanted: Mapping[str, float]) -> None:
    model = network(case)
    loss, stats = losses(case, model)
    loss.backward()

    told = {key: value for key, value in wanted.items() if not key.startswith("gradient")}
    assert {key: stats[key].item() for key in told} == pytest.approx(told, rel=1e-5, abs=1e-5)
    for key in wanted.keys() - told.keys():
        part = key.removeprefix("gradient ")
        squares = [
            parameter.grad.square().sum().item()
            for name, parameter in model.named_parameters()
            if name.startswith(part) and parameter.grad is not None
        ]
        assert sum(squares) ** 0.5 == pytest.approx(wanted[key], rel=1e-3), key


@pytest.mark.parametrize("case", cases.CASES)
def test_losses_and_gradients_are_the_reference_ones(case: str) -> None:
    compare(case, json.loads((GOLDEN / "models" / "training.json").read_text())[case])


@pytest.mark.reference
def test_losses_and_gradients_are_those_the_reference_computes_now(
    reference_python: str, tmp_path: Path
) -> None:
    command = [reference_python, str(GOLDEN / "make_training.py"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for case, wanted in json.loads((tmp_path / "training.json").read_text()).items():
        compare(case, wanted)


def test_parts_of_sentences_are_the_hotwords_of_all() -> None:
    targets = torch.tensor([[5, 6, 7, 8], [9, 10, -1, -1]])
    places = torch.tensor([[[1, 2], [3, 3]], [[0, 1], [-1, -1]]])

    ids, sizes, real = phrase_ids(targets, places, sos=1)

    assert [row[:size] for row, size in zip(ids.tolist(), sizes.tolist(), strict=True)] == [
        [6, 7],
        [8],
        [9, 10],
        [0],
        [1],
    ]
    assert real.tolist() == [True, True, True, False, True]
    assert ids.shape[1] == LONGEST


def test_a_long_hotword_is_cut() -> None:
    targets = torch.arange(3, 23)[None]

    ids, sizes, _ = phrase_ids(targets, torch.tensor([[[2, 15]]]), sos=1)

    assert ids[0].tolist() == list(range(5, 5 + LONGEST))
    assert sizes.tolist() == [LONGEST, 1]


def test_labels_are_tokens_inside_hotwords_and_nothing_outside() -> None:
    targets = torch.tensor([[5, 6, 7, 8], [9, 10, -1, -1]])
    places = torch.tensor([[[1, 2], [-1, -1]], [[-1, -1], [-1, -1]]])

    labels = hotword_labels(targets, torch.tensor([4, 2]), places, nothing=55)

    assert labels.tolist() == [[55, 6, 7, 55], [55, 55, -1, -1]]


def test_phrases_that_are_none_change_nothing() -> None:
    model = network("SeacoParaformer")
    loss = SeacoLoss(model.config)
    some = PLACES[:, :1]

    with torch.no_grad():
        first, second = (loss.with_hotwords(model, *batch("SeacoParaformer"), p)[0] for p in (PLACES, some))

    torch.testing.assert_close(first, second)


def test_text_that_no_alignment_fits_is_not_counted() -> None:
    torch.manual_seed(0)
    logits, lengths = torch.randn(3, 4, 6), torch.tensor([4, 4, 4])
    # Three equal tokens need a blank between each two: five frames.
    targets, counts = torch.tensor([[1, 2, 3], [2, 2, 2], [1, -1, -1]]), torch.tensor([3, 3, 1])

    whole = ctc_loss(logits, lengths, targets, counts)
    possible = ctc_loss(logits[[0, 2]], lengths[[0, 2]], targets[[0, 2]], counts[[0, 2]])

    torch.testing.assert_close(whole, possible)


def test_the_language_is_told_where_it_is_known_and_the_style_always() -> None:
    loss = SenseVoiceLoss(LANGUAGES, STYLES)
    tags = torch.tensor([[24_885, 25_001, 24_993, 25_016], [24_992, 25_004, 24_993, 25_017]])

    assert loss.questions(tags, told=1.0).tolist() == [[4, 1, 2, 14], [0, 1, 2, 15]]
    assert loss.questions(tags, told=0.0).tolist() == [[0, 1, 2, 14], [0, 1, 2, 15]]


@pytest.mark.parametrize("case", ["Paraformer ctc", "SeacoParaformer", "ContextualParaformer"])
def test_a_few_sentences_can_be_learnt_by_heart(case: str) -> None:
    torch.manual_seed(0)
    name, raw, vocab = cases.model(case)
    model = registry.lookup(registry.MODELS, name).from_official(raw, vocab, seeded.INPUT).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    before = losses(case, model)[1]
    for _ in range(40):
        optimizer.zero_grad()
        losses(case, model)[0].backward()
        optimizer.step()
    with torch.no_grad():
        after = losses(case, model.eval())[1]

    assert after["loss"] < 0.5 * before["loss"]
    assert after["acc"] > 0.8
