"""The names `AutoModel` accepts, typed: which are for loading, which for a call, which do nothing here."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from funasr.errors import OptionError, did_you_mean
from funasr.pipeline.batching import BatchLimits
from funasr.stages.silero import SileroOptions
from funasr.vad.options import VadOptions
from funasr.values import checked, shown


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is found and loaded. Sub-models inherit all but the fields about the files themselves."""

    hub: str = "ms"
    """`ms` / `modelscope` or `hf` / `huggingface`."""
    model_revision: str | None = None
    model_path: str | Path | None = None
    """Use this directory, whatever the name is."""
    offline: bool | None = None
    """Never touch the network; None asks the environment (FUNASR_OFFLINE=1)."""
    check_latest: bool = False
    """Ask the hub for a newer snapshot of a model that is already here."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:0`, `mps`. A device that is not there falls back to cpu with a warning."""
    ngpu: int = 1
    """0 forces cpu."""
    ncpu: int | None = None
    """Threads of a network. Torch keeps one number a process, which None leaves alone."""
    fp16: bool = False
    """Compute in 16 bits, on a GPU. Voice activity detectors stay float32."""
    bf16: bool = False
    engine: Literal["auto", "torch", "onnx"] = "auto"
    """`auto`: onnxruntime on a cpu where a graph is, and nothing asks for torch; else torch."""
    quantize: bool = False
    """Through onnxruntime: the graph with integer weights, model_quant.onnx."""
    init_param: str | Path | None = None
    """Another weight file than the model's own."""
    ignore_init_mismatch: bool = False
    """Skip tensors of another shape instead of refusing the file."""
    scope_map: Sequence[str] = ()
    """Prefix renames for names in the weight file: source, target, source, target, ..."""
    excludes: Sequence[str] = ()
    """Prefixes of names that are not loaded."""
    trust_remote_code: bool = False
    remote_code: str | None = None

    def __post_init__(self) -> None:
        if self.ncpu is not None and self.ncpu < 1:
            raise OptionError(f"ncpu is {self.ncpu}; it must be 1 or more")
        if self.ngpu < 0:
            raise OptionError(f"ngpu is {self.ngpu}; it must be 0 (use the cpu) or more")
        if self.fp16 and self.bf16:
            raise OptionError("fp16 and bf16 are both on; choose one of them")
        if len(self.scope_map) % 2:
            raise OptionError(
                f"scope_map is {shown(self.scope_map)}; it must be pairs: source prefix, own prefix, ..."
            )


@dataclass(frozen=True, kw_only=True)
class CallOptions:
    """What `generate` accepts besides its input. Given to `AutoModel` they are the defaults of its calls."""

    # input
    fs: int | None = None
    """Rate of arrays, raw bytes and .pcm files, Hz; default 16000. Files know their own."""
    data_type: str | Sequence[str] | None = None
    input_len: Any = None
    """Valid frames of each row, for `data_type="fbank"`."""
    key: str | Sequence[str] | None = None
    channels: Literal["mix", "split"] = "mix"
    # batches
    batch_size: int | None = None
    batch_size_s: float | None = None
    batch_size_threshold_s: float | None = None
    merge_vad: bool = False
    merge_length_s: float = 15.0
    # recognition
    hotword: Any = None
    hotwords: Any = None
    clas_scale: float = 1.0
    pred_timestamp: bool = False
    output_timestamp: bool | None = None
    """None: with a spk_model, whose work needs times."""
    return_time_stamps: bool = False
    language: str | None = None
    text_norm: Literal["withitn", "woitn"] | None = None
    """The same choice as `use_itn`, over which it wins."""
    ban_emo_unk: bool = False
    """SenseVoice: name an emotion even where the model would rather not."""
    # text
    sentence_timestamp: bool = False
    use_itn: bool = False
    """Write numbers as digits. SenseVoice does so itself, with punctuation; for others wetext does."""
    return_raw_text: bool = False
    en_post_proc: bool = False
    postprocess_hotwords: Any = None
    """What to write where something like it was heard: rules `wrong=>right`, and phrases (text/repair.py)."""
    postprocess_hotword_file: str | Path | None = None
    postprocess_hotword_threshold: float = 0.85
    postprocess_hotword_fuzzy: bool = True
    """Look for phrases by their sound; without, only rules have an effect."""
    return_postprocess_hotword_matches: bool = False
    return_hotword_report: bool = False
    """Give `hotwords`: whether each was encoded, how often it is in the text and was written there."""
    # speakers, with a spk_model
    return_spk_res: bool = True
    """Tell speakers apart."""
    return_spk_center: bool = False
    """Give the mean voice of each speaker, (K, E), as `spk_embedding_center`."""
    spk_mode: Literal["punc_segment", "vad_segment"] = "punc_segment"
    """What `sentence_info` lists: sentences where there are marks and times, or speech segments."""
    preset_spk_num: int | None = None
    """How many speakers there are, where that is known; else between `min_spk_num` and `max_spk_num`."""
    min_spk_num: int | None = None
    max_spk_num: int | None = None
    speakers: Any = None
    """Voices that have a name: `{"Ann": "ann.wav", "Bob": ["bob1.wav", "bob2.wav"]}`."""
    speakers_threshold: float | None = None
    """How similar (cosine) a speaker must be to a named voice to get the name; None: what the model says."""
    # voice activity
    vad: Mapping[str, Any] = field(default_factory=dict)
    """Options of VadOptions or SileroOptions by their own names, such as `max_end_silence_time=500`."""
    # streams
    cache: dict[Any, Any] | None = None
    is_final: bool | None = None
    is_streaming_input: bool | None = None
    chunk_size: Any = None
    """Of a detector milliseconds; of a streaming recognizer [left, size, right] in rows of 60 ms."""
    encoder_chunk_look_back: int | None = None
    """Chunks that a streaming recognizer's encoder remembers, -1 for all of them; 0 unless given."""
    decoder_chunk_look_back: int | None = None
    """Chunks that its decoder remembers; 0 unless given."""
    # the call
    on_error: Literal["record", "raise"] = "record"
    output_dir: str | Path | None = None
    disable_pbar: bool = False
    progress_callback: Callable[[int, int], None] | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "batch_size_s", "batch_size_threshold_s", "merge_length_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise OptionError(f"{name} is {value!r}; it must be a number greater than 0")
        threshold = self.postprocess_hotword_threshold
        if not 0 <= threshold <= 1:
            raise OptionError(f"postprocess_hotword_threshold is {threshold!r}; it must be between 0 and 1")

    @property
    def batch_limits(self) -> BatchLimits:
        """What the batch options say, over the defaults."""
        defaults = BatchLimits()
        return BatchLimits(
            batch_size=self.batch_size,
            batch_size_s=self.batch_size_s or defaults.batch_size_s,
            batch_size_threshold_s=self.batch_size_threshold_s or defaults.batch_size_threshold_s,
        )

    @property
    def times(self) -> bool:
        """Times were asked for, by any of their names."""
        return self.pred_timestamp or bool(self.output_timestamp) or self.return_time_stamps

    @property
    def itn(self) -> bool:
        """What `text_norm` or else `use_itn` say."""
        return self.use_itn if self.text_norm is None else self.text_norm == "withitn"


EXAMPLES = {"vad_model": "fsmn-vad", "punc_model": "ct-punc", "spk_model": "cam++"}
SUB_MODELS = tuple(EXAMPLES)

CONFIG_KEYS = frozenset(
    f"{part}{suffix}"
    for part in ("tokenizer", "frontend", "model", "encoder", "decoder", "predictor", "seaco_decoder")
    for suffix in ("", "_conf")
) - {"model"} | {"jieba_usr_dict"}
"""Keys of a model's config.yaml that a caller may override; nested mappings are merged."""

WITHOUT_EFFECT = frozenset(
    {
        "seed",  # nothing here draws random numbers
        "disable_update",  # there is no update check
        "disable_log",
        "log_level",  # logging is the application's to set up
        "oss_bucket",
        "token_lists",
        "seg_dicts",
    }
)
"""Documented upstream, accepted, and not needed here."""


@dataclass(frozen=True, kw_only=True)
class SubModel:
    """A companion model: its name and the keyword arguments it is built with."""

    name: str
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class AutoModelOptions:
    """Everything given to `AutoModel(...)`, sorted."""

    model: str
    load: LoadOptions
    call: CallOptions
    overrides: Mapping[str, Any]
    """Settings that replace those of the model's config.yaml."""
    sub_models: Mapping[str, SubModel]


def sort_options(given: Mapping[str, Any], where: str = "AutoModel") -> AutoModelOptions:
    """Keyword arguments of `AutoModel` -> typed options; `where` is who is blamed for an unknown name.

    Raises OptionError for a name that is no option, with the nearest one.
    """
    load: dict[str, Any] = {}
    call: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    subs: set[str] = set()
    for name, value in given.items():
        if name in _LOAD:
            load[name] = value
        elif name in _CALL or name in _VAD:
            call[name] = value
        elif name in CONFIG_KEYS:
            overrides[name] = _override(name, value)
        elif name in _SUB_NAMES:
            subs.add(_SUB_NAMES[name])
        elif name != "model" and name not in WITHOUT_EFFECT:
            raise OptionError(f"{where} has no option {name!r}{did_you_mean(name, _ALL)}")
    named = given.get("model")
    model = _name("model", load.get("model_path") if _absent(named) else named, "paraformer-zh")
    loading = LoadOptions(**checked(LoadOptions, load))
    if loading.trust_remote_code or loading.remote_code:
        raise OptionError("trust_remote_code: code that comes with a model is not run by this version")
    return AutoModelOptions(
        model=model,
        load=loading,
        call=call_options(CallOptions(), call),
        overrides=overrides,
        sub_models={kind: _sub_model(kind, given, load) for kind in subs if not _absent(given.get(kind))},
    )


def call_options(defaults: CallOptions, given: Mapping[str, Any]) -> CallOptions:
    """Keyword arguments of `generate` over the defaults set at construction.

    Raises OptionError for a name that is none of them, with the nearest one.
    """
    own: dict[str, Any] = {}
    vad = dict(defaults.vad)
    for name, value in given.items():
        if name in _CALL:
            own[name] = value
        elif name in _VAD:
            vad[name] = value
        elif name not in WITHOUT_EFFECT:
            raise OptionError(f"generate has no option {name!r}{did_you_mean(name, _CALL | _VAD)}")
    return dataclasses.replace(defaults, vad=vad, **checked(CallOptions, own))


def _sub_model(kind: str, given: Mapping[str, Any], load: Mapping[str, Any]) -> SubModel:
    prefix = kind.removesuffix("_model")
    own = given.get(f"{prefix}_kwargs")
    own = {} if own is None else own
    if not isinstance(own, Mapping):
        raise OptionError(f"{prefix}_kwargs is {shown(own)}; give a dict of options for {kind}")
    for name in own:
        if name == "model" or name in _SUB_NAMES:
            raise OptionError(
                f"{prefix}_kwargs has no option {name!r}; give {kind} and its like to AutoModel"
            )
    inherited = {k: v for k, v in load.items() if k not in ("model_revision", "model_path", "init_param")}
    revision = given.get(f"{kind}_revision")
    if revision is not None:
        inherited["model_revision"] = revision
    return SubModel(name=_name(kind, given[kind], EXAMPLES[kind]), kwargs={**inherited, **own})


def _absent(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str) and not value)


def _name(option: str, value: Any, example: str) -> str:
    name = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(name, str) or not name:
        raise OptionError(
            f"{option} is {shown(value)}; give a name, a hub id or a directory: {option}={example!r}"
        )
    return name


def _override(name: str, value: Any) -> Any:
    """A setting in place of the one in config.yaml: sections are mappings, the rest are names and paths."""
    if name.endswith("_conf") and not isinstance(value, Mapping):
        raise OptionError(f"{name} is {shown(value)}; it must be a dict of settings")
    if not name.endswith("_conf") and not isinstance(value, (str, os.PathLike)):
        raise OptionError(f"{name} is {shown(value)}; it must be a string")
    return value if isinstance(value, Mapping) else os.fspath(value)


def _names(cls: type) -> frozenset[str]:
    return frozenset(field.name for field in dataclasses.fields(cls))


_SUB_NAMES = {
    name: kind
    for kind in SUB_MODELS
    for name in (kind, f"{kind}_revision", f"{kind.removesuffix('_model')}_kwargs")
}

_LOAD = _names(LoadOptions)
_CALL = _names(CallOptions) - {"vad"}
_VAD = _names(VadOptions) | _names(SileroOptions)
_ALL = _LOAD | _CALL | _VAD | CONFIG_KEYS | set(_SUB_NAMES) | {"model"}
