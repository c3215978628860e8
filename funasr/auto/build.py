"""A model's name and options -> a stage ready to use. The one place where files, networks and stages meet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from funasr import hub, registry
from funasr.aliases import find_alias
from funasr.auto.engine import open_network
from funasr.auto.options import AutoModelOptions
from funasr.config import section
from funasr.errors import ModelFilesError, OptionError
from funasr.features.config import FrontendConfig
from funasr.features.frontend import WavFrontend
from funasr.modeldir import ModelDir
from funasr.pipeline.engine import StepEngine
from funasr.speakers.thresholds import Thresholds
from funasr.stages.aligner import Aligner
from funasr.stages.detector import Detector
from funasr.stages.paraformer import ParaformerRecognizer
from funasr.stages.punctuation import Punctuator
from funasr.stages.sense_voice import SenseVoiceRecognizer
from funasr.stages.silero import SileroOptions
from funasr.stages.speaker import SpeakerEncoder
from funasr.stages.streaming import ParaformerStreamer
from funasr.stages.vad import SpeechDetector
from funasr.text.marks import MarkTable
from funasr.text.tokenizer import SentencepieceTokenizer, Tokenizer, open_tokenizer
from funasr.text.words import JiebaSplitter, Split, WordVocabulary, split_words
from funasr.vad.options import VadOptions

logger = logging.getLogger(__name__)

VAD_CLASSES = frozenset({"FsmnVADStreaming", "FsmnVAD"})
PUNC_CLASSES = frozenset({"CTTransformer", "CTTransformerStreaming"})
TIMED_CLASSES = frozenset({"BiCifParaformer", "SeacoParaformer"})
SPEAKER_CLASSES = frozenset({"CAMPPlus", "ERes2NetV2"})
SENSE_VOICE_CLASS = "SenseVoiceSmall"
STREAMING_CLASS = "ParaformerStreaming"
ALIGNER_CLASS = "MonotonicAligner"
SILERO_NAMES = frozenset({"silero-vad", "silero_vad"})
WORDS_OF_CHARACTER_MODELS = 300_000
"""A larger vocabulary has Chinese words, which need a dictionary to be found."""

AnyRecognizer: TypeAlias = ParaformerRecognizer | SenseVoiceRecognizer | ParaformerStreamer


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What was built, and from what. One of the stages is set."""

    name: str
    path: Path | None
    """The model's directory; None for a detector that comes as a Python package."""
    config: Mapping[str, Any]
    recognizer: AnyRecognizer | None = None
    detector: Detector | None = None
    punctuator: Punctuator | None = None
    aligner: Aligner | None = None
    encoder: SpeakerEncoder | None = None


def load(options: AutoModelOptions) -> Loaded:
    """Find, read and build the model that `options` name; sub-models are not touched.

    Raises ModelNotFoundError, HubError, ModelFilesError (CheckpointMismatchError), MissingDependencyError.
    """
    loading = options.load
    if options.model in SILERO_NAMES:
        return _load_silero(options)
    known = find_alias(options.model)
    if known is not None and known.model not in registry.MODELS and not Path(options.model).is_dir():
        registry.lookup(registry.MODELS, known.model)  # says so now, and not after a large download
    path = hub.resolve(
        loading.model_path or options.model,
        hub=loading.hub,
        revision=loading.model_revision,
        offline=bool(loading.offline),
        check_latest=loading.check_latest,
    )
    directory = ModelDir.open(path, _overrides(options))
    _warn_of_another_rate(options, directory)
    if directory.model in VAD_CLASSES:
        return _load_detector(options, directory)
    if directory.model in PUNC_CLASSES:
        return _load_punctuator(options, directory)
    if directory.model in SPEAKER_CLASSES:
        return _load_encoder(options, directory)
    return _load_recognizer(options, directory)


def _overrides(options: AutoModelOptions) -> dict[str, Any]:
    overrides = dict(options.overrides)
    if options.load.init_param is not None:
        overrides["init_param"] = str(options.load.init_param)
    return overrides


def _warn_of_another_rate(options: AutoModelOptions, directory: ModelDir) -> None:
    given = section(options.overrides, "frontend_conf").get("fs")
    if given is None:
        return
    own = section(ModelDir.open(directory.path).config, "frontend_conf").get("fs", FrontendConfig.fs)
    if given != own:
        logger.warning(
            "frontend_conf sets fs=%s, and %s was trained on sound of %s Hz: its results will be worse. For "
            "sound of another rate leave it out: files know their rate, and arrays have generate(fs=...)",
            given,
            options.model,
            own,
        )


def build_frontend(directory: ModelDir) -> WavFrontend:
    """The front end that a model's settings name.

    Raises ModelFilesError for settings that describe none, ModelNotFoundError for a name nobody knows.
    """
    name = directory.config.get("frontend") or "WavFrontend"
    if not isinstance(name, str):
        raise ModelFilesError(f"config.yaml: frontend is {name!r}, not the name of a class")
    frontend: WavFrontend = registry.lookup(
        registry.FRONTENDS, name, "front end", "frontend_classes"
    ).from_official(section(directory.config, "frontend_conf"), directory.cmvn)
    return frontend


def build_tokenizer(directory: ModelDir) -> Tokenizer:
    """The tokenizer that a model's settings name. Raises ModelFilesError where its files are missing."""
    return open_tokenizer(
        str(directory.config.get("tokenizer") or "CharTokenizer"),
        section(directory.config, "tokenizer_conf"),
        token_list=directory.tokens,
        seg_dict=directory.seg_dict,
        bpe_model=directory.bpe_model,
    )


def _load_detector(options: AutoModelOptions, directory: ModelDir) -> Loaded:
    raw = directory.config
    vad = VadOptions.from_official(section(raw, "model_conf")).override(options.call.vad)
    frontend = build_frontend(directory)
    # Small, and compared with thresholds: 16 bits would save nothing and move segments.
    single = replace(options, load=replace(options.load, fp16=False, bf16=False))
    scorer = open_network(single, directory, 0, frontend.output_size)
    detector = SpeechDetector(scorer, frontend, vad)
    return Loaded(name=options.model, path=directory.path, config=raw, detector=detector)


def _load_silero(options: AutoModelOptions) -> Loaded:
    """The network of the package silero-vad; there is no directory."""
    from funasr_onnx.silero import load_silero

    chosen = SileroOptions().override(options.call.vad)
    detector = load_silero(chosen, intra_op_num_threads=options.load.ncpu or 1)
    return Loaded(name=options.model, path=None, config={}, detector=detector)


def _load_encoder(options: AutoModelOptions, directory: ModelDir) -> Loaded:
    # The front end that the settings name is not the one the model was trained with: see SpeakerEncoder.
    thresholds = Thresholds.from_config(directory.config)
    encoder = SpeakerEncoder(open_network(options, directory, 0, 0), thresholds=thresholds)
    return Loaded(name=options.model, path=directory.path, config=directory.config, encoder=encoder)


def _load_punctuator(options: AutoModelOptions, directory: ModelDir) -> Loaded:
    raw = directory.config
    conf = section(raw, "tokenizer_conf")
    vocabulary = WordVocabulary.from_file(
        directory.require_tokens(), unk_symbol=str(conf.get("unk_symbol", "<unk>"))
    )
    live = directory.model == "CTTransformerStreaming"
    split: Split = split_words
    if directory.jieba_usr_dict is not None and not live:
        split = JiebaSplitter(directory.jieba_usr_dict)
    elif len(vocabulary) > WORDS_OF_CHARACTER_MODELS:
        logger.warning(
            "%s has no jieba_usr_dict, so Chinese is read by character; the model on ModelScope brings one, "
            "reads words, and sets other marks",
            options.model,
        )
    network = open_network(options, directory, len(vocabulary), 0)
    marks = MarkTable.from_official(section(raw, "model_conf"))
    punctuator = Punctuator(network, vocabulary, marks, split=split, live=live)
    return Loaded(name=options.model, path=directory.path, config=raw, punctuator=punctuator)


def _load_recognizer(options: AutoModelOptions, directory: ModelDir) -> Loaded:
    if options.call.vad:
        name = next(iter(options.call.vad))
        raise OptionError(
            f"{name!r} is an option of a voice activity detector, and {options.model!r} is none. "
            f"Give it to the detector: vad_model='fsmn-vad', vad_kwargs={{{name!r}: ...}}"
        )
    raw = directory.config
    frontend = build_frontend(directory)
    tokenizer = build_tokenizer(directory)
    network = open_network(options, directory, tokenizer.vocab_size, frontend.output_size)
    frame_ms = frontend.config.frame_shift * frontend.config.lfr_n
    recognizer: AnyRecognizer
    if directory.model == ALIGNER_CLASS:
        aligner = Aligner(network, frontend, tokenizer, frame_ms=frame_ms)
        return Loaded(name=options.model, path=directory.path, config=raw, aligner=aligner)
    if directory.model == SENSE_VOICE_CLASS:
        if not isinstance(tokenizer, SentencepieceTokenizer):
            raise ModelFilesError(f"{directory.path}: a {SENSE_VOICE_CLASS} needs a SentencePiece vocabulary")
        recognizer = SenseVoiceRecognizer(network, frontend, tokenizer, frame_ms=frame_ms)
    elif directory.model == STREAMING_CLASS:
        recognizer = ParaformerStreamer(StepEngine(network), frontend, tokenizer)
    else:
        spaced = directory.model in TIMED_CLASSES
        recognizer = ParaformerRecognizer(network, frontend, tokenizer, spaced=spaced, frame_ms=frame_ms)
    return Loaded(name=options.model, path=directory.path, config=raw, recognizer=recognizer)
