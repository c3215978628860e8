"""Upstream's recognizers: `Paraformer(model_dir)(wav_content)` and its kin, over the shared stages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Samples
from funasr.audio.load import load_audio
from funasr.config import section
from funasr.decode.timestamps import RUNTIME_RULE
from funasr.errors import OptionError, did_you_mean
from funasr.result import Transcript
from funasr.stages.assembly import build_frontend, build_recognizer, build_tokenizer
from funasr.stages.paraformer import DecodeOptions, ParaformerRecognizer
from funasr.stages.sense_voice import SenseVoiceRecognizer, language_name
from funasr.values import shown
from funasr_onnx.arguments import tell_unused
from funasr_onnx.opening import open_model
from funasr_onnx.utils.postprocess_utils import spelled

logger = logging.getLogger(__name__)

Sound: TypeAlias = str | Path | NDArray[Any] | Sequence[str | Path | NDArray[Any]]


class Paraformer:
    """Paraformer with or without times: one dict an utterance. One serves any number of threads."""

    _classes: tuple[str, ...] = ("Paraformer", "BiCifParaformer", "SeacoParaformer", "ContextualParaformer")

    def __init__(
        self,
        model_dir: str | Path | None = None,
        batch_size: int = 1,
        device_id: str | int = "-1",
        plot_timestamp_to: str = "",
        quantize: bool = False,
        intra_op_num_threads: int = 4,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        """`model_dir` is a directory or a name of the hub; `quantize` takes its integer weights.

        `plot_timestamp_to` and `cache_dir` are upstream's and change nothing here.
        """
        opened = open_model(
            model_dir,
            self._classes,
            quantize=quantize,
            device_id=device_id,
            intra_op_num_threads=intra_op_num_threads,
            batch_size=batch_size,
            unused=kwargs,
        )
        frontend, conf = build_frontend(opened.model), section(opened.model.config, "model_conf")
        self._recognizer = ParaformerRecognizer(
            opened.network(),
            frontend,
            build_tokenizer(opened.model),
            frame_ms=frontend.config.frame_shift * frontend.config.lfr_n,
            closing=int(conf.get("predictor_bias", 0)),
            time_rule=RUNTIME_RULE,
        )
        self._batch_size = batch_size

    def __call__(self, wav_content: Sound, **kwargs: Any) -> list[dict[str, Any]]:
        """Paths or samples (N,) at the model's rate -> one dict an utterance.

        `{"preds": (text, words)}`; of a model with times `{"preds": text, "timestamp": [[start_ms, end_ms],
        ...], "raw_tokens": [...]}`.
        """
        tell_unused(kwargs, ())
        return self._recognize(wav_content, DecodeOptions())

    def _recognize(self, wav_content: Sound, options: DecodeOptions) -> list[dict[str, Any]]:
        sounds = read_sounds(wav_content, self._recognizer.rate)
        results: list[dict[str, Any]] = [{}] * len(sounds)
        for batch in batches(sounds, self._batch_size):
            found = self._recognizer.recognize([sounds[at] for at in batch], options)
            for at, transcript in zip(batch, found, strict=True):
                results[at] = self._result(transcript)
        return results

    def _result(self, transcript: Transcript) -> dict[str, Any]:
        words = spelled(transcript.tokens)
        if not self._recognizer.timed:
            return {"preds": (transcript.text, words)}
        ids = [id_ for token in transcript.tokens for id_ in token.ids]
        return {
            "preds": " ".join(words),
            "timestamp": [[token.start_ms, token.end_ms] for token in transcript.tokens],
            "raw_tokens": self._recognizer.tokenizer.tokens(ids),
        }


class ContextualParaformer(Paraformer):
    """A Paraformer that is told which words to expect: `model(wav_content, "word word")`."""

    _classes = ("ContextualParaformer",)

    def __call__(self, wav_content: Sound, hotwords: Any = "", **kwargs: Any) -> list[dict[str, Any]]:
        """As of `Paraformer`. `hotwords`: phrases parted by blanks, or any form that `generate` takes."""
        tell_unused(kwargs, ("hotwords",))
        ids, _ = self._recognizer.hotwords("" if hotwords is None else hotwords)
        return self._recognize(wav_content, DecodeOptions(hotwords=ids))


class SeacoParaformer(ContextualParaformer):
    """The same with times."""

    _classes = ("SeacoParaformer",)


class SenseVoiceSmall:
    """SenseVoice: one text an utterance, with its tags. One serves any number of threads."""

    def __init__(
        self,
        model_dir: str | Path | None = None,
        batch_size: int = 1,
        device_id: str | int = "-1",
        plot_timestamp_to: str = "",
        quantize: bool = False,
        intra_op_num_threads: int = 4,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        """As of `Paraformer`."""
        opened = open_model(
            model_dir,
            ("SenseVoiceSmall",),
            quantize=quantize,
            device_id=device_id,
            intra_op_num_threads=intra_op_num_threads,
            batch_size=batch_size,
            unused=kwargs,
        )
        recognizer = build_recognizer(opened.model, opened.network)
        assert isinstance(recognizer, SenseVoiceRecognizer)
        self._recognizer = recognizer
        self._batch_size = batch_size

    def __call__(
        self,
        wav_content: Sound,
        language: str | Path | Sequence[str] = "auto",
        textnorm: str | Path | Sequence[str] = "woitn",
        use_itn: bool | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Paths or samples (N,) at the model's rate -> one text an utterance, tags in front.

        `language` (auto, zh, en, yue, ja, ko, nospeech) and `textnorm` (withitn, woitn) are for all of them,
        or one each: a list, or a file with one a line. `use_itn=True` is `textnorm="withitn"`.
        """
        tell_unused(kwargs, ("language", "textnorm", "use_itn"))
        if use_itn is not None and not isinstance(use_itn, bool):
            raise OptionError(f"use_itn is {shown(use_itn)}; it must be True or False")
        sounds = read_sounds(wav_content, self._recognizer.rate)
        languages = [language_name(one) for one in _each("language", language, len(sounds))]
        norms = _each("textnorm", textnorm, len(sounds))
        if use_itn is not None:
            norms = ["withitn" if use_itn else "woitn"] * len(sounds)
        for norm in norms:
            if norm not in ("withitn", "woitn"):
                raise OptionError(
                    f"textnorm is {norm!r}{did_you_mean(norm, ('withitn', 'woitn'))}; use withitn or woitn"
                )
        results = [""] * len(sounds)
        for asked in dict.fromkeys(zip(languages, norms, strict=True)):
            places = [at for at, pair in enumerate(zip(languages, norms, strict=True)) if pair == asked]
            options = DecodeOptions(language=asked[0], itn=asked[1] == "withitn")
            for batch in batches([sounds[at] for at in places], self._batch_size):
                found = self._recognizer.recognize([sounds[places[at]] for at in batch], options)
                for at, transcript in zip(batch, found, strict=True):
                    results[places[at]] = transcript.text
        return results


def read_sounds(wav_content: Sound, rate: int) -> list[Samples]:
    """A path, samples (N,) at `rate`, or a list of these -> samples of each. Raises AudioDecodeError."""
    sources = wav_content if isinstance(wav_content, (list, tuple)) else [wav_content]
    return [
        load_audio(source, rate, source_rate=rate if isinstance(source, np.ndarray) else None)
        for source in sources
    ]


def batches(sounds: Sequence[Samples], size: int) -> list[list[int]]:
    """Places of sounds of similar length, at most `size` together."""
    order = sorted(range(len(sounds)), key=lambda at: len(sounds[at]))
    return [order[start : start + size] for start in range(0, len(order), size)]


def _each(name: str, given: str | Path | Sequence[str], count: int) -> list[str]:
    """One value for each of `count` utterances."""
    if isinstance(given, (str, Path)):
        if not Path(given).is_file():
            return [str(given)] * count
        given = Path(given).read_text(encoding="utf-8").split()
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, str) for one in given):
        raise OptionError(f"{name} is {shown(given)}; give a string, a list of them, or a file")
    if len(given) != count:
        raise OptionError(f"{name} has {len(given)} values for {count} utterances; give one each, or one")
    return list(given)
