"""Official class name -> how a model of that class is trained: what it minimises, and what an example is.

A class that `funasr-train` shall train is one line of TRAINABLE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from funasr.config import options, pick, section
from funasr.errors import InputError, OptionError, did_you_mean
from funasr.features.frontend import WavFrontend
from funasr.models.campplus.loss import SpeakerLoss, SpeakerLossConfig
from funasr.models.ct_transformer.loss import CtTransformerLoss
from funasr.models.fsmn_vad.loss import FsmnVadLoss
from funasr.models.paraformer.chunks import ChunkRecipe
from funasr.models.paraformer.hotword_loss import ContextualLoss, SeacoLoss
from funasr.models.paraformer.loss import ParaformerLoss, ParaformerStreamingLoss
from funasr.models.sense_voice.loss import SenseVoiceLoss
from funasr.nn.specaug import UNUSED_SPECAUG_KEYS, SpecAugLfrConfig
from funasr.stages.sense_voice import LANGUAGES, WITH_ITN, WITHOUT_ITN
from funasr.text.marks import MarkTable
from funasr.text.tokenizer import SentencepieceTokenizer, Tokenizer
from funasr.text.words import Split, WordVocabulary, split_words
from funasr.train.cache import FeatureCache
from funasr.train.check import Utterance
from funasr.train.data import Batch, ExampleSource
from funasr.train.detection import DetectionExamples
from funasr.train.hotwords import HotwordExamples
from funasr.train.marks import MarkExamples
from funasr.train.speakers import SpeakerExamples
from funasr.train.speech import Augmentation, Recordings, SpeechExamples
from funasr.train.tagged import TaggedExamples
from funasr.train.trainer import Criterion, Stats


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What criteria and examples are made with."""

    frontend: WavFrontend
    tokenizer: Tokenizer | None = None
    """None for models that write no text."""
    words: WordVocabulary | None = None
    """What a punctuation model knows."""
    split: Split = split_words
    speakers: Mapping[str, int] = field(default_factory=dict)
    """Number of each speaker in the training list."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """config.yaml of the run."""
    augmentation: Augmentation | None = None
    """None for validation, where nothing is left to chance."""
    cache: FeatureCache | None = None

    @property
    def seed(self) -> int:
        return int(self.config.get("seed", 0))

    @property
    def vocab_size(self) -> int:
        """0 for models that know no words."""
        if self.tokenizer is not None:
            return self.tokenizer.vocab_size
        return len(self.words) if self.words is not None else 0

    @property
    def vocabulary(self) -> Tokenizer:
        assert self.tokenizer is not None  # of all that write text
        return self.tokenizer


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How models of one class are trained. `funasr.train.kinds` says what their manifests hold."""

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
    if not 0 <= own < parts.vocabulary.vocab_size:
        raise OptionError(
            f"model_conf.NO_BIAS is {own}, and the vocabulary has {parts.vocabulary.vocab_size} entries: set "
            "++model_conf.NO_BIAS to the id of an entry that no text contains"
        )
    return HotwordCriterion(SeacoLoss(network.config))


def _sense_voice(network: Any, parts: Parts) -> Criterion:
    tokenizer = _pieces(parts.vocabulary)
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
    return SpeechExamples(_recordings(utterances, parts), parts.vocabulary)


def _recordings(utterances: Sequence[Utterance], parts: Parts) -> Recordings:
    return Recordings(utterances, parts.frontend, parts.augmentation, parts.cache)


def _hotwords(utterances: Sequence[Utterance], parts: Parts) -> ExampleSource:
    return HotwordExamples(_speech(utterances, parts), seed=parts.seed)


def _detector(network: Any, parts: Parts) -> Criterion:
    return SpeechCriterion(FsmnVadLoss())


def _detection(utterances: Sequence[Utterance], parts: Parts) -> ExampleSource:
    return DetectionExamples(_recordings(utterances, parts), parts.frontend.config)


class MarksCriterion:
    """A loss of word ids, which the loop knows as features."""

    def __init__(self, loss: CtTransformerLoss, *, live: bool) -> None:
        self._loss, self._live = loss, live

    def __call__(self, model: Any, batch: Batch) -> tuple[Tensor, Stats]:
        ids = batch.features[:, :, 0].long()
        boundaries = batch.places[:, 0, 0] if self._live and batch.places is not None else None
        return self._loss(model, ids, batch.lengths, batch.targets, batch.target_lengths, boundaries)


def _marks(network: Any, parts: Parts) -> Criterion:
    return MarksCriterion(CtTransformerLoss.from_official(parts.config, network.config), live=False)


def _live_marks(network: Any, parts: Parts) -> Criterion:
    return MarksCriterion(CtTransformerLoss.from_official(parts.config, network.config), live=True)


def _texts(utterances: Sequence[Utterance], parts: Parts) -> ExampleSource:
    model, dataset = section(parts.config, "model_conf"), section(parts.config, "dataset_conf")
    assert parts.words is not None
    return MarkExamples(
        utterances,
        parts.words,
        MarkTable.from_official(model),
        parts.split,
        ignore_id=int(model.get("ignore_id", 0)),
        running=bool(dataset.get("running_text", False)),
        fixed=parts.augmentation is None,
        seed=parts.seed,
    )


class SpeakerCriterion(nn.Module):
    """A loss with weights of its own: a direction for each speaker of the training list."""

    def __init__(self, loss: SpeakerLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Stats]:
        loss, stats = self.loss(model, batch.features, batch.targets[:, 0])
        return loss, stats


def _speaker(network: Any, parts: Parts) -> Criterion:
    config = options(SpeakerLossConfig, section(parts.config, "loss_conf"), "loss_conf")
    return SpeakerCriterion(SpeakerLoss(network.size, len(parts.speakers), config))


def _voices(utterances: Sequence[Utterance], parts: Parts) -> ExampleSource:
    if parts.augmentation is not None:
        if parts.augmentation.speed_perturb:
            raise OptionError(
                "speed_perturb makes other voices of speakers: leave it out for a speaker model"
            )
        new = [one for one in utterances if one.text not in parts.speakers]
        if new:
            raise InputError(
                f"{new[0].where}: speaker {new[0].text!r} is not among the {len(parts.speakers)} that this "
                "run began with (speakers.json in its output_dir). Give another output_dir"
            )
    dataset = section(parts.config, "dataset_conf")
    return SpeakerExamples(
        utterances,
        parts.speakers,
        bins=int(section(parts.config, "model_conf").get("feat_dim", 80)),
        piece_frames=int(dataset.get("piece_frames", 200)),
        augmentation=parts.augmentation,
        seed=parts.seed,
    )


def _tagged(utterances: Sequence[Utterance], parts: Parts) -> ExampleSource:
    return TaggedExamples(_speech(utterances, parts), _pieces(parts.vocabulary))


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
    "FsmnVADStreaming": Lesson(criterion=_detector, examples=_detection),
    "CTTransformer": Lesson(criterion=_marks, examples=_texts),
    "CTTransformerStreaming": Lesson(criterion=_live_marks, examples=_texts),
    "CAMPPlus": Lesson(criterion=_speaker, examples=_voices),
    "ERes2NetV2": Lesson(criterion=_speaker, examples=_voices),
}


def lesson_of(name: str) -> Lesson:
    """Raises OptionError for a class that is not trained here; it says which are."""
    if name not in TRAINABLE:
        raise OptionError(
            f"no training of {name!r} is built here{did_you_mean(name, TRAINABLE) or '.'} "
            f"Trainable: {', '.join(TRAINABLE)}."
        )
    return TRAINABLE[name]
