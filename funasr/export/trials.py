"""How a model is tried out after its export: which stage runs it, on what, and what is compared."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Samples
from funasr.audio.load import load_audio
from funasr.errors import InputError
from funasr.modeldir import ModelDir
from funasr.result import Token
from funasr.stages.aligner import Aligner
from funasr.stages.assembly import (
    AnyRecognizer,
    OpenNetwork,
    build_aligner,
    build_detector,
    build_encoder,
    build_punctuator,
    build_recognizer,
)
from funasr.stages.paraformer import DecodeOptions, ParaformerRecognizer
from funasr.stages.protocols import Hotwords
from funasr.stages.punctuation import Punctuator
from funasr.stages.speaker import SpeakerEncoder
from funasr.stages.vad import SpeechDetector

SAMPLES = Path(__file__).parent.parent / "bundled" / "samples"
"""Short recordings that come with the package; text.txt has what is said in each."""

_SUFFIX = re.compile(r"\.\w{1,5}")
"""Of a file; behind the last full stop of a text there is more, or nothing."""

Heard = list[Hashable] | NDArray[np.float32]
"""Things in order, or voices (N, E)."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """Real speech and texts. A model is tried out on those that it takes."""

    recordings: tuple[Path, ...] = ()
    texts: tuple[str, ...] = ()

    @classmethod
    def bundled(cls) -> Material:
        lines = (SAMPLES / "text.txt").read_text(encoding="utf-8").splitlines()
        names, texts = zip(*(line.split(maxsplit=1) for line in lines), strict=True)
        return cls(recordings=tuple(SAMPLES / name for name in names), texts=texts)

    @classmethod
    def of(cls, given: Sequence[str | Path]) -> Material:
        """Recordings, `.txt` files with a text a line, and texts themselves.

        Raises InputError for a file that is not there.
        """
        recordings: list[Path] = []
        texts: list[str] = []
        for one in given:
            path = Path(one)
            # Of the operating system, for which a long text is no path: pathlib raises.
            if isinstance(one, str) and not os.path.exists(one) and not _SUFFIX.fullmatch(path.suffix):
                texts.append(one)
            elif not os.path.isfile(one):
                raise InputError(f"no file {str(one)!r} to try the model out on")
            elif path.suffix == ".txt":
                texts += path.read_text(encoding="utf-8").split("\n")
            else:
                recordings.append(path)
        return cls(recordings=tuple(recordings), texts=tuple(filter(str.strip, texts)))

    def sounds(self, rate: int) -> list[Samples]:
        """Raises InputError where there are none."""
        if not self.recordings:
            raise InputError("this model hears speech: give recordings as input, not texts")
        return [load_audio(path, rate) for path in self.recordings]


def _words(recognizer: AnyRecognizer, material: Material) -> Heard:
    """Ids, as they are heard without hotwords and with some."""
    sounds = material.sounds(recognizer.rate)
    given: list[Hotwords | None] = [None]
    if isinstance(recognizer, ParaformerRecognizer) and recognizer.network.accepts_hotwords:
        some = range(3, min(recognizer.tokenizer.vocab_size, 18))
        given.append(Hotwords(ids=(tuple(some[:2]), tuple(some[2:7]), tuple(some[7:])), weights=(1.0,) * 3))
    heard: list[Hashable] = []
    for hotwords in given:
        for transcript in recognizer.recognize(sounds, DecodeOptions(hotwords=hotwords, timestamps=True)):
            heard += [id_ for token in transcript.tokens for id_ in token.ids]
    return heard


def _segments(detector: SpeechDetector, material: Material) -> Heard:
    """Where speech begins and ends, ms."""
    found: list[Hashable] = []
    for samples in material.sounds(detector.fs):
        for segment in detector.segments(samples):
            found += [segment.start_ms, segment.end_ms]
    return found


def _marks(punctuator: Punctuator, material: Material) -> Heard:
    """The label of each word; of all texts in one as well, which is longer than the windows."""
    texts = [*material.texts, " ".join(material.texts * 3)]
    return [label for one in punctuator.punctuate(texts) for label in one.labels]


def _times(aligner: Aligner, material: Material) -> Heard:
    """Where each token begins and ends, ms. Recordings without a text are given another's."""
    sounds = material.sounds(aligner.rate)
    texts = [aligner.pieces(text) for text in material.texts] or [[Token(text="", ids=(0,))] * 5]
    pairs = [(sound, texts[i % len(texts)]) for i, sound in enumerate(sounds)]
    timed = aligner.align(*zip(*pairs, strict=True))
    return [time for one in timed for token in one.tokens for time in (token.start_ms, token.end_ms)]


def _voices(encoder: SpeakerEncoder, material: Material) -> Heard:
    return encoder.embed(material.sounds(encoder.rate))


@dataclass(frozen=True)
class Trial:
    """The stage of a model, and what it makes of material."""

    build: Callable[[ModelDir, OpenNetwork], Any]
    hear: Callable[[Any, Material], Heard]


_RECOGNIZER = Trial(build_recognizer, _words)
TRIALS = {
    "FsmnVADStreaming": Trial(build_detector, _segments),
    "CTTransformer": Trial(build_punctuator, _marks),
    "CTTransformerStreaming": Trial(build_punctuator, _marks),
    "MonotonicAligner": Trial(build_aligner, _times),
    "CAMPPlus": Trial(build_encoder, _voices),
    "ERes2NetV2": Trial(build_encoder, _voices),
}
"""Official class name -> how it is tried out; all others are recognizers."""


def trial_of(name: str) -> Trial:
    return TRIALS.get(name, _RECOGNIZER)


def agreement(one: Heard, other: Heard) -> float:
    """1.0 for the same. Of things in order the share that both have; of voices the smallest cosine."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        sizes = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        return float(((one * other).sum(axis=1) / sizes).min())
    first: Sequence[Hashable] = list(one)
    return SequenceMatcher(None, first, list(other), autojunk=False).ratio()
