"""A model's name and options -> a stage ready to use. The one place where files, networks and stages meet."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from funasr import hub, registry
from funasr.aliases import find_alias
from funasr.auto.options import AutoModelOptions, LoadOptions
from funasr.config import section
from funasr.errors import FunASRError, MissingDependencyError, ModelFilesError, OptionError
from funasr.features.config import FrontendConfig
from funasr.features.frontend import WavFrontend
from funasr.modeldir import ModelDir
from funasr.pipeline.engine import StepEngine
from funasr.speakers.thresholds import Thresholds
from funasr.stages.aligner import Aligner
from funasr.stages.detector import Detector
from funasr.stages.paraformer import ParaformerRecognizer
from funasr.stages.protocols import FrameScorer
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
TORCH_COMMAND = 'pip install "funasr[torch]"'


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
    if loading.ncpu is not None and _engine(directory, loading) == "torch":
        _set_threads(loading.ncpu)
    if directory.model in VAD_CLASSES:
        return _load_detector(options, directory)
    if loading.engine == "onnx":
        raise OptionError(
            f"engine='onnx': {options.model!r} has no onnxruntime form in this version; use 'auto'"
        )
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
    scorer = _scorer(directory, options.load, vad, frontend)
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
    encoder = SpeakerEncoder(_network(directory, options.load, 0, 0), thresholds=thresholds)
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
    network = _network(directory, options.load, len(vocabulary), 0)
    marks = MarkTable.from_official(section(raw, "model_conf"))
    punctuator = Punctuator(network, vocabulary, marks, split=split, live=live)
    return Loaded(name=options.model, path=directory.path, config=raw, punctuator=punctuator)


def _scorer(directory: ModelDir, loading: LoadOptions, vad: VadOptions, frontend: WavFrontend) -> FrameScorer:
    if _engine(directory, loading) == "onnx":
        from funasr_onnx.networks import FsmnVadScorer
        from funasr_onnx.session import OnnxSession

        if directory.onnx is None:
            raise ModelFilesError(f"{directory.path} has no model.onnx, which engine='onnx' needs")
        threads = {} if loading.ncpu is None else {"intra_op_num_threads": loading.ncpu}
        return FsmnVadScorer(OnnxSession(directory.onnx, **threads), vad.sil_pdf_ids)
    # Small, and compared with thresholds: 16 bits would save nothing and move segments.
    single = replace(loading, fp16=False, bf16=False)
    network: FrameScorer = _network(directory, single, 0, frontend.output_size)
    return network


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
    network = _network(directory, options.load, tokenizer.vocab_size, frontend.output_size)
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


def _network(directory: ModelDir, loading: LoadOptions, vocab_size: int, input_size: int) -> Any:
    """The torch network of a directory with its weights, on its device, packed for inference."""
    _require_torch(directory)
    import torch

    from funasr.nn.packed import prepare_for_inference
    from funasr.nn.weights import initialize_weights, load_weights, unallocated

    network_class = registry.lookup(registry.MODELS, directory.model)

    def new() -> Any:
        try:
            return network_class.from_official(directory.config, vocab_size, input_size)
        except FunASRError:
            raise
        except (ArithmeticError, RuntimeError, ValueError) as error:  # sizes that torch refuses
            raise ModelFilesError(
                f"{directory.path}: the settings make no {directory.model}: {error}"
            ) from error

    weights = directory.require_weights()
    if loading.ignore_init_mismatch or loading.scope_map or loading.excludes:
        network = new()
        misfit = initialize_weights(network, weights, scope_map=loading.scope_map, excludes=loading.excludes)
        _warn_of_random_parts((*misfit.missing, *misfit.misshapen), weights)
    else:
        with unallocated():  # nothing is initialized that the file replaces anyway
            network = new()
        load_weights(network, weights)
    device = choose_device(loading.device if loading.ngpu else "cpu")
    dtype = torch.float16 if loading.fp16 else torch.bfloat16 if loading.bf16 else torch.float32
    if dtype == torch.float16 and device.type == "cpu":
        logger.warning("fp16 is far slower than float32 on a cpu; computing in float32")
        dtype = torch.float32
    return prepare_for_inference(network, device=device, dtype=dtype)


def _warn_of_random_parts(names: Sequence[str], weights: Path) -> None:
    """Tensors of a network that no file gave a value: all that comes out of it is chance."""
    if names:
        parts = Counter(name.partition(".")[0] for name in names)
        logger.warning(
            "%d tensors of the network are not taken from %s and hold RANDOM values: %s. What it recognizes "
            "means nothing unless it is trained; check excludes, scope_map and ignore_init_mismatch",
            len(names),
            weights,
            ", ".join(f"{part} ({count})" for part, count in parts.items()),
        )


def choose_device(wanted: str) -> Any:
    """`auto`, `cpu`, `cuda[:n]`, `mps` -> torch.device; one that is not there becomes cpu, with a warning.

    Raises OptionError for a string that names no device.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
        logger.info("device 'auto' is %s", wanted)
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise OptionError(f"device is {wanted!r}; use 'auto', 'cpu', 'cuda', 'cuda:0' or 'mps'") from error
    missing = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    if missing or not there.get(device.type, False):
        logger.warning("device %r is not available here; using cpu", wanted)
        return torch.device("cpu")
    return device


def _engine(directory: ModelDir, loading: LoadOptions) -> str:
    if loading.engine != "auto":
        return loading.engine
    detector_graph = directory.model in VAD_CLASSES and directory.onnx is not None
    return "onnx" if detector_graph and (directory.weights is None or not _has_torch()) else "torch"


def _set_threads(count: int) -> None:
    if _has_torch():
        import torch

        torch.set_num_threads(count)


def _require_torch(directory: ModelDir) -> None:
    if not _has_torch():
        raise MissingDependencyError("torch", f"the model in {directory.path}", TORCH_COMMAND)


def _has_torch() -> bool:
    """Whether torch can be imported; asked before anything of ours that would import it."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True
