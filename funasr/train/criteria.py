"""Official class name -> how a model of that class is trained: what it minimises, and what an example is.

A class that `funasr-train` shall train is one line of TRAINABLE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from funasr.errors import OptionError, did_you_mean
from funasr.features.frontend import WavFrontend
from funasr.models.paraformer.loss import ParaformerLoss
from funasr.text.tokenizer import Tokenizer
from funasr.train.check import Utterance
from funasr.train.data import Batch, ExampleSource
from funasr.train.speech import Augmentation, SpeechExamples
from funasr.train.trainer import Criterion, Stats


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What examples are made with."""

    tokenizer: Tokenizer
    frontend: WavFrontend
    augmentation: Augmentation | None = None
    """None for validation, where nothing is left to chance."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How models of one class are trained."""

    criterion: Callable[[Any, Mapping[str, Any]], Criterion]
    """The network and its config.yaml -> what is minimised."""
    examples: Callable[[Sequence[Utterance], Parts], ExampleSource]
    """The lines of a manifest -> what the criterion's batches are made of."""


class SpeechCriterion:
    """A Paraformer's loss as the trainer calls it."""

    def __init__(self, loss: ParaformerLoss) -> None:
        self._loss = loss

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Stats]:
        return self._loss(
            model,  # type: ignore[arg-type]  # a Paraformer, or one that is wrapped
            batch.features,
            batch.lengths,
            batch.targets,
            batch.target_lengths,
        )


def _paraformer(network: Any, raw: Mapping[str, Any]) -> Criterion:
    return SpeechCriterion(ParaformerLoss(network.config))


def _speech(utterances: Sequence[Utterance], parts: Parts) -> ExampleSource:
    return SpeechExamples(utterances, parts.frontend, parts.tokenizer, parts.augmentation)


TRAINABLE: dict[str, Lesson] = {
    "Paraformer": Lesson(criterion=_paraformer, examples=_speech),
    "BiCifParaformer": Lesson(criterion=_paraformer, examples=_speech),
}


def lesson_of(name: str) -> Lesson:
    """Raises OptionError for a class that is not trained here; it says which are."""
    if name not in TRAINABLE:
        raise OptionError(
            f"no training of {name!r} is built here{did_you_mean(name, TRAINABLE) or '.'} "
            f"Trainable: {', '.join(TRAINABLE)}."
        )
    return TRAINABLE[name]
