"""A model's name and options -> a stage ready to use. The one place where files, networks and stages meet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from funasr import hub, registry
from funasr.aliases import ONNX, find_alias
from funasr.auto.engine import open_network
from funasr.auto.options import AutoModelOptions
from funasr.auto.torch_network import TORCH_COMMAND, has_torch
from funasr.config import section
from funasr.errors import OptionError
from funasr.features.config import FrontendConfig
from funasr.modeldir import ModelDir
from funasr.pipeline.engine import StepEngine
from funasr.stages.aligner import Aligner
from funasr.stages.assembly import (
    STREAMING_CLASS,
    AnyRecognizer,
    build_aligner,
    build_detector,
    build_encoder,
    build_punctuator,
    build_recognizer,
)
from funasr.stages.assembly import build_frontend as build_frontend
from funasr.stages.assembly import build_tokenizer as build_tokenizer
from funasr.stages.detector import Detector
from funasr.stages.punctuation import Punctuator
from funasr.stages.silero import SileroOptions
from funasr.stages.speaker import SpeakerEncoder
from funasr.vad.options import VadOptions

logger = logging.getLogger(__name__)

VAD_CLASSES = frozenset({"FsmnVADStreaming", "FsmnVAD"})
PUNC_CLASSES = frozenset({"CTTransformer", "CTTransformerStreaming"})
SPEAKER_CLASSES = frozenset({"CAMPPlus", "ERes2NetV2"})
ALIGNER_CLASS = "MonotonicAligner"
SILERO_NAMES = frozenset({"silero-vad", "silero_vad"})


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
    if options.model in SILERO_NAMES:
        return _load_silero(options)
    directory = open_directory(options)
    _warn_of_another_rate(options, directory)
    if directory.model in VAD_CLASSES:
        return _load_detector(options, directory)
    network = partial(open_network, options, directory)
    if directory.model in PUNC_CLASSES:
        punctuator = build_punctuator(directory, network, name=options.model)
        return _loaded(options, directory, punctuator=punctuator)
    if directory.model in SPEAKER_CLASSES:
        return _loaded(options, directory, encoder=build_encoder(directory, network))
    _refuse_options_of_detectors(options)
    if directory.model == ALIGNER_CLASS:
        return _loaded(options, directory, aligner=build_aligner(directory, network))
    if directory.model == STREAMING_CLASS:
        # The chunks of streams that live at once are served together.
        recognizer = build_recognizer(directory, lambda *widths: StepEngine(network(*widths)))
        return _loaded(options, directory, recognizer=recognizer)
    return _loaded(options, directory, recognizer=build_recognizer(directory, network))


def open_directory(options: AutoModelOptions) -> ModelDir:
    """Find the model that `options` name, fetch it if need be, and read its settings.

    Raises ModelNotFoundError, HubError, ModelFilesError.
    """
    loading = options.load
    known = find_alias(options.model)
    if known is not None and known.model not in registry.MODELS and not Path(options.model).is_dir():
        registry.lookup(registry.MODELS, known.model)  # says so now, and not after a large download
    path = hub.resolve(
        loading.model_path or options.model,
        hub=loading.hub,
        revision=loading.model_revision,
        offline=bool(loading.offline),
        check_latest=loading.check_latest,
        graphs=known is not None and (loading.engine == "onnx" or not has_torch()),
    )
    return _told_class(ModelDir.open(path, _overrides(options)), options.model)


def _told_class(directory: ModelDir, name: str) -> ModelDir:
    """Repositories of graphs may not say which class they hold, and may hold less than their alias."""
    repository = ONNX.get(name)
    if repository is None or directory.weights is not None:
        return directory
    if repository.lacks:
        logger.warning(
            "%s without torch is %s, which knows no %s; %s for those",
            name,
            repository.ms,
            repository.lacks,
            TORCH_COMMAND,
        )
    return directory if directory.model in registry.MODELS else replace(directory, model=repository.model)


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


def _load_detector(options: AutoModelOptions, directory: ModelDir) -> Loaded:
    vad = VadOptions.from_official(section(directory.config, "model_conf")).override(options.call.vad)
    # Small, and compared with thresholds: 16 bits would save nothing and move segments.
    single = replace(options, load=replace(options.load, fp16=False, bf16=False))
    detector = build_detector(directory, partial(open_network, single, directory), vad)
    return _loaded(options, directory, detector=detector)


def _load_silero(options: AutoModelOptions) -> Loaded:
    """The network of the package silero-vad; there is no directory."""
    from funasr_onnx.silero import load_silero

    chosen = SileroOptions().override(options.call.vad)
    detector = load_silero(chosen, intra_op_num_threads=options.load.ncpu or 1)
    return Loaded(name=options.model, path=None, config={}, detector=detector)


def _refuse_options_of_detectors(options: AutoModelOptions) -> None:
    if options.call.vad:
        name = next(iter(options.call.vad))
        raise OptionError(
            f"{name!r} is an option of a voice activity detector, and {options.model!r} is none. "
            f"Give it to the detector: vad_model='fsmn-vad', vad_kwargs={{{name!r}: ...}}"
        )


def _loaded(options: AutoModelOptions, directory: ModelDir, **stage: Any) -> Loaded:
    return Loaded(name=options.model, path=directory.path, config=directory.config, **stage)
