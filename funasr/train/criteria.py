"""Official class name -> how a model of that class is trained: what it minimises, and what an example is.

A class that `funasr-train` shall train is one line of TRAINABLE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from funasr.config import pick, section
from funasr.errors import OptionError, did_you_mean
from funasr.features.frontend import WavFrontend
from funasr.models.paraformer.chunks import ChunkRecipe
from funasr.models.paraformer.hotword_loss import ContextualLoss, SeacoLoss
from funasr.models.paraformer.loss import ParaformerLoss, ParaformerStreamingLoss
from funasr.models.sense_voice.loss import SenseVoiceLoss
from funasr.nn.specaug import UNUSED_SPECAUG_KEYS, SpecAugLfrConfig
from funasr.stages.sense_voice import LANGUAGES, WITH_ITN, WITHOUT_ITN
from funasr.text.tokenizer import SentencepieceTokenizer, Tokenizer
from funasr.train.check import Utterance
from funasr.train.data import Batch, ExampleSource
from funasr.train.hotwords import HotwordExamples
from funasr.train.speech import Augmentation, SpeechExamples
from funasr.train.tagged import TaggedExamples
from funasr.train.trainer import Criterion, Stats


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What criteria and examples are made with."""

    tokenizer: Tokenizer
    frontend: WavFrontend
    config: Mapping[str, Any] = field(default_factory=dict)
    """config.yaml of the run."""
    augmentation: Augmentation | None = None
    """None for validation, where nothing is left to chance."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How models of one class are trained."""

    criterion: Callable[[Any, Parts], Criterion]
    """The network -> what is minimised."""
    examples: Callable[[Sequence[Utterance], Parts], ExampleSource]
    """The lines of a manifest -> what the criterion's batches are made of."""


Loss = Callable[[Any, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Stats]]


class SpeechCriterion:
    """A loss of features and ids as the trainer calls it."""

    def __init__(self, loss: Loss) -> None:
        self._loss = loss

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Stats]:
        return self._loss(model, batch.features, batch.lengths, batch.targets, batch.target_lengths)


class HotwordCriterion:
    """One that is told which parts of the sentences are hotwords."""

    def __init__(self, loss: SeacoLoss | ContextualLoss) -> None:
        self._loss = loss

    def __call__(self, model: Any, batch: Batch) -> tuple[Tensor, Stats]:
        assert batch.places is not None
        return self._loss.with_hotwords(
            model, batch.features, batch.lengths, batch.targets, batch.target_lengths, batch.places
        )


def _paraformer(network: Any, parts: Parts) -> Criterion:
    return SpeechCriterion(ParaformerLoss(network.config))


def _streaming(network: Any, parts: Parts) -> Criterion:
    recipes = ChunkRecipe.from_official(section(parts.config, "encoder_conf"))
    return SpeechCriterion(ParaformerStreamingLoss(network.config, recipes))


def _contextual(network: Any, parts: Parts) -> Criterion:
    return HotwordCriterion(ContextualLoss(network.config))


def _seaco(network: Any, parts: Parts) -> Criterion:
    given, own = section(parts.config, "dataset_conf").get("seaco_id"), network.config.NO_BIAS
    if given not in (None, 0, own):
        raise OptionError(
            f"dataset_conf.seaco_id is {given} and model_conf.NO_BIAS {own}: the model would learn another "
            "answer than it is read for. Leave seaco_id out, or give both the same id"
        )
    if not 0 <= own < parts.tokenizer.vocab_size:
        raise OptionError(
            f"model_conf.NO_BIAS is {own}, and the vocabulary has {parts.tokenizer.vocab_size} entries: set "
            "++model_conf.NO_BIAS to the id of an entry that no text contains"
        )
    return HotwordCriterion(SeacoLoss(network.config))


def _sense_voice(network: Any, parts: Parts) -> Criterion:
    tokenizer = _pieces(parts.tokenizer)
    languages = {tokenizer.find(f"<|{name}|>"): row for name, row in LANGUAGES.items()}
    styles = {tokenizer.find("<|withitn|>"): WITH_ITN, tokenizer.find("<|woitn|>"): WITHOUT_ITN}
    specaug = None
    if parts.config.get("specaug") is not None:
        conf = section(parts.config, "specaug_conf")
        specaug = pick(SpecAugLfrConfig, conf, "specaug_conf", UNUSED_SPECAUG_KEYS)
    loss = SenseVoiceLoss(
        {id_: row for id_, row in languages.items() if id_ is not None},
        {id_: row for id_, row in styles.items() if id_ is not None},
        smoothing=float(section(parts.config, "model_conf").get("lsm_weight") or 0.0),
        specaug=specaug,
    )
    return SpeechCriterion(loss)


def _speech(utterances: Sequence[Utterance], parts: Parts) -> SpeechExamples:
    return SpeechExamples(utterances, parts.frontend, parts.tokenizer, parts.augmentation)


def _hotwords(utterances: Sequence[Utterance], parts: Parts) -> ExampleSource:
    return HotwordExamples(_speech(utterances, parts), seed=int(parts.config.get("seed", 0)))


def _tagged(utterances: Sequence[Utterance], parts: Parts) -> ExampleSource:
    return TaggedExamples(_speech(utterances, parts), _pieces(parts.tokenizer))


def _pieces(tokenizer: Tokenizer) -> SentencepieceTokenizer:
    if not isinstance(tokenizer, SentencepieceTokenizer):
        raise OptionError("a SenseVoiceSmall is trained with the SentencepiecesTokenizer of its bpe.model")
    return tokenizer


TRAINABLE: dict[str, Lesson] = {
    "Paraformer": Lesson(criterion=_paraformer, examples=_speech),
    "BiCifParaformer": Lesson(criterion=_paraformer, examples=_speech),
    "SeacoParaformer": Lesson(criterion=_seaco, examples=_hotwords),
    "ContextualParaformer": Lesson(criterion=_contextual, examples=_hotwords),
    "ParaformerStreaming": Lesson(criterion=_streaming, examples=_speech),
    "SenseVoiceSmall": Lesson(criterion=_sense_voice, examples=_tagged),
}


def lesson_of(name: str) -> Lesson:
    """Raises OptionError for a class that is not trained here; it says which are."""
    if name not in TRAINABLE:
        raise OptionError(
            f"no training of {name!r} is built here{did_you_mean(name, TRAINABLE) or '.'} "
            f"Trainable: {', '.join(TRAINABLE)}."
        )
    return TRAINABLE[name]
