"""A model directory and a way to open its network -> the stage that does its work, for every back end.

Widths come from the directory's files: `open_network(vocab_size, input_size)` is told them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from funasr import registry
from funasr.config import section
from funasr.errors import ModelFilesError
from funasr.features.frontend import WavFrontend
from funasr.modeldir import ModelDir
from funasr.speakers.thresholds import Thresholds
from funasr.stages.aligner import Aligner
from funasr.stages.paraformer import ParaformerRecognizer
from funasr.stages.punctuation import Punctuator
from funasr.stages.sense_voice import SenseVoiceRecognizer
from funasr.stages.speaker import SpeakerEncoder
from funasr.stages.streaming import ParaformerStreamer
from funasr.stages.vad import SpeechDetector
from funasr.text.marks import MarkTable
from funasr.text.tokenizer import SentencepieceTokenizer, Tokenizer, open_tokenizer
from funasr.text.words import JiebaSplitter, Split, WordVocabulary, split_words
from funasr.vad.options import VadOptions

logger = logging.getLogger(__name__)

OpenNetwork: TypeAlias = Callable[[int, int], Any]
AnyRecognizer: TypeAlias = ParaformerRecognizer | SenseVoiceRecognizer | ParaformerStreamer

TIMED_CLASSES = frozenset({"BiCifParaformer", "SeacoParaformer"})
SENSE_VOICE_CLASS = "SenseVoiceSmall"
STREAMING_CLASS = "ParaformerStreaming"
LIVE_PUNC_CLASS = "CTTransformerStreaming"
WORDS_OF_CHARACTER_MODELS = 300_000
"""A larger vocabulary has Chinese words, which need a dictionary to be found."""


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


def build_detector(
    directory: ModelDir, open_network: OpenNetwork, options: VadOptions | None = None
) -> SpeechDetector:
    """`options`: those to use instead of the directory's."""
    chosen = options or VadOptions.from_official(section(directory.config, "model_conf"))
    frontend = build_frontend(directory)
    return SpeechDetector(open_network(0, frontend.output_size), frontend, chosen)


def build_encoder(directory: ModelDir, open_network: OpenNetwork) -> SpeakerEncoder:
    # The front end that the settings name is not the one the model was trained with: see SpeakerEncoder.
    return SpeakerEncoder(open_network(0, 0), thresholds=Thresholds.from_config(directory.config))


def build_punctuator(directory: ModelDir, open_network: OpenNetwork, *, name: str = "") -> Punctuator:
    """`name`: what a warning calls the model. Raises ModelFilesError, MissingDependencyError (jieba)."""
    conf = section(directory.config, "tokenizer_conf")
    vocabulary = WordVocabulary.from_file(
        directory.require_tokens(), unk_symbol=str(conf.get("unk_symbol", "<unk>"))
    )
    live = directory.model == LIVE_PUNC_CLASS
    split: Split = split_words
    if directory.jieba_usr_dict is not None and not live:
        split = JiebaSplitter(directory.jieba_usr_dict)
    elif len(vocabulary) > WORDS_OF_CHARACTER_MODELS:
        logger.warning(
            "%s has no jieba_usr_dict, so Chinese is read by character; the model on ModelScope brings one, "
            "reads words, and sets other marks",
            name or directory.path,
        )
    network = open_network(len(vocabulary), 0)
    marks = MarkTable.from_official(section(directory.config, "model_conf"))
    return Punctuator(network, vocabulary, marks, split=split, live=live)


def build_aligner(directory: ModelDir, open_network: OpenNetwork) -> Aligner:
    frontend, tokenizer = build_frontend(directory), build_tokenizer(directory)
    network = open_network(tokenizer.vocab_size, frontend.output_size)
    return Aligner(network, frontend, tokenizer, frame_ms=_frame_ms(frontend))


def build_recognizer(directory: ModelDir, open_network: OpenNetwork) -> AnyRecognizer:
    """A Paraformer of any kind, or a SenseVoice. Raises ModelFilesError."""
    frontend, tokenizer = build_frontend(directory), build_tokenizer(directory)
    network = open_network(tokenizer.vocab_size, frontend.output_size)
    frame_ms = _frame_ms(frontend)
    if directory.model == SENSE_VOICE_CLASS:
        if not isinstance(tokenizer, SentencepieceTokenizer):
            raise ModelFilesError(f"{directory.path}: a {SENSE_VOICE_CLASS} needs a SentencePiece vocabulary")
        return SenseVoiceRecognizer(network, frontend, tokenizer, frame_ms=frame_ms)
    if directory.model == STREAMING_CLASS:
        return ParaformerStreamer(network, frontend, tokenizer)
    spaced = directory.model in TIMED_CLASSES
    return ParaformerRecognizer(network, frontend, tokenizer, spaced=spaced, frame_ms=frame_ms)


def _frame_ms(frontend: WavFrontend) -> float:
    return frontend.config.frame_shift * frontend.config.lfr_n
