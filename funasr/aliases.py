"""Short names of released models -> their ids on both hubs. Strings only; `funasr.hub` resolves them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Alias:
    """A short name for a released model."""

    name: str
    task: str
    model: str
    """Official class name of the model on ModelScope; on Hugging Face it may be another."""
    ms: str
    hf: str | None
    """None where Hugging Face has no such repository: ModelScope is asked instead."""


def _table(*rows: Alias) -> dict[str, Alias]:
    return {row.name: row for row in rows}


ALIASES: dict[str, Alias] = _table(
    Alias(
        "paraformer",
        "recognition, Chinese and English",
        "Paraformer",
        "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
        "funasr/paraformer-zh",
    ),
    Alias(
        "paraformer-zh",
        "recognition with times and hotwords, Chinese and English",
        "SeacoParaformer",
        "iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
        "funasr/paraformer-zh",
    ),
    Alias(
        "paraformer-en",
        "recognition with times, English",
        "BiCifParaformer",
        "iic/speech_paraformer-large-vad-punc_asr_nat-en-16k-common-vocab10020",
        "funasr/paraformer-en",
    ),
    Alias(
        "paraformer-en-spk",
        "recognition with times, English",
        "BiCifParaformer",
        "iic/speech_paraformer-large-vad-punc_asr_nat-en-16k-common-vocab10020",
        None,
    ),
    Alias(
        "paraformer-zh-streaming",
        "streaming recognition, Chinese and English",
        "ParaformerStreaming",
        "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-online",
        "funasr/paraformer-zh-streaming",
    ),
    Alias(
        "sensevoice",
        "recognition with emotion and events, Chinese, Cantonese, English, Japanese, Korean",
        "SenseVoiceSmall",
        "iic/SenseVoiceSmall",
        "FunAudioLLM/SenseVoiceSmall",
    ),
    Alias(
        "fsmn-vad",
        "voice activity",
        "FsmnVADStreaming",
        "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch",
        "funasr/fsmn-vad",
    ),
    Alias(
        "ct-punc",
        "punctuation, Chinese and English",
        "CTTransformer",
        "iic/punc_ct-transformer_cn-en-common-vocab471067-large",
        "funasr/ct-punc",
    ),
    Alias(
        "ct-punc-c",
        "punctuation, Chinese",
        "CTTransformer",
        "iic/punc_ct-transformer_zh-cn-common-vocab272727-pytorch",
        None,
    ),
    Alias(
        "fa-zh",
        "times for a known text, Chinese",
        "MonotonicAligner",
        "iic/speech_timestamp_prediction-v1-16k-offline",
        "funasr/fa-zh",
    ),
    Alias(
        "cam++",
        "speaker embedding",
        "CAMPPlus",
        "iic/speech_campplus_sv_zh-cn_16k-common",
        "funasr/campplus",
    ),
    Alias(
        "Whisper-large-v2",
        "recognition, many languages",
        "WhisperWarp",
        "iic/speech_whisper-large_asr_multilingual",
        None,
    ),
    Alias("Whisper-large-v3", "recognition, many languages", "WhisperWarp", "iic/Whisper-large-v3", None),
    Alias(
        "Whisper-large-v3-turbo",
        "recognition, many languages",
        "WhisperWarp",
        "iic/Whisper-large-v3-turbo",
        None,
    ),
    Alias("Qwen-Audio", "audio and text", "QwenAudioWarp", "Qwen/Qwen-Audio", "Qwen/Qwen-Audio"),
    Alias(
        "emotion2vec_plus_large",
        "emotion",
        "Emotion2vec",
        "iic/emotion2vec_plus_large",
        "emotion2vec/emotion2vec_plus_large",
    ),
    Alias(
        "emotion2vec_plus_base",
        "emotion",
        "Emotion2vec",
        "iic/emotion2vec_plus_base",
        "emotion2vec/emotion2vec_plus_base",
    ),
    Alias(
        "emotion2vec_plus_seed",
        "emotion",
        "Emotion2vec",
        "iic/emotion2vec_plus_seed",
        "emotion2vec/emotion2vec_plus_seed",
    ),
)


@dataclass(frozen=True)
class OnnxRepository:
    """Graphs of a released model, for where torch is not installed. They are on ModelScope."""

    model: str
    """Official class name; the settings in it may not say."""
    ms: str
    lacks: str = ""
    """What the alias has beyond it."""


ONNX: dict[str, OnnxRepository] = {
    "paraformer": OnnxRepository(
        "Paraformer", "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-onnx"
    ),
    "paraformer-zh": OnnxRepository(
        "BiCifParaformer",
        "iic/speech_paraformer-large-vad-punc_asr_nat-zh-cn-16k-common-vocab8404-onnx",
        lacks="hotwords",
    ),
    "paraformer-zh-streaming": OnnxRepository(
        "ParaformerStreaming", "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-online-onnx"
    ),
    "sensevoice": OnnxRepository("SenseVoiceSmall", "iic/SenseVoiceSmall-onnx"),
    "fsmn-vad": OnnxRepository("FsmnVADStreaming", "iic/speech_fsmn_vad_zh-cn-16k-common-onnx"),
    "ct-punc": OnnxRepository("CTTransformer", "iic/punc_ct-transformer_cn-en-common-vocab471067-large-onnx"),
    "ct-punc-c": OnnxRepository("CTTransformer", "iic/punc_ct-transformer_zh-cn-common-vocab272727-onnx"),
}
"""Alias -> the repository of its graphs."""


@dataclass(frozen=True)
class BundledModel:
    """A model of our own that comes with the package."""

    name: str
    """What to call it: it stays the same when a better model takes its place."""
    task: str
    directory: str
    """In `funasr/bundled`."""


BUNDLED = (
    BundledModel("bundled-asr", "recognition, English digits and ten command words", "paraformer-words-en"),
    BundledModel(
        "bundled-streaming",
        "recognition of live streams, the same words",
        "paraformer-words-en-streaming",
    ),
    BundledModel("bundled-vad", "voice activity", "fsmn-vad-small"),
    BundledModel("bundled-spk", "speaker embedding", "campplus-small"),
    BundledModel("bundled-punc", "punctuation, Chinese and English", "ct-punc-small"),
)


def find_alias(name: str) -> Alias | None:
    """The entry of ALIASES for a short name or for a hub id; None for any other name."""
    if name in ALIASES:
        return ALIASES[name]
    return next((alias for alias in ALIASES.values() if name in (alias.ms, alias.hf)), None)
