"""Stand-ins for live streams: a detector and a recognizer of a few lines that hear every sample."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import NO_SAMPLES, Features, Samples
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.result import Token, Transcript
from funasr.stages.vad import SpeechDetector
from funasr.vad.options import VadOptions

STRIDE = 9600


@dataclass(frozen=True)
class Frames:
    """How many frames a stream has seen: all that the detector's network remembers."""

    count: int = 0
    nbytes: int = 8


class Loudness:
    """A frame with energy is speech."""

    def initial_state(self, batch: int = 1) -> Any:
        return Frames()

    def score(self, features: Features, state: Frames) -> tuple[NDArray[np.float32], Any]:
        loud = features.mean(-1) > 0
        silence = np.where(loud, np.float32(0.01), np.float32(0.99))
        return silence, Frames(state.count + features.shape[1])


def loudness_detector(**options: Any) -> SpeechDetector:
    frontend = WavFrontend(FrontendConfig(n_mels=8, lfr_m=5, lfr_n=1, dither=0.0))
    return SpeechDetector(Loudness(), frontend, VadOptions(**options))


@dataclass(frozen=True)
class Strides:
    """What a stream of Checksums remembers."""

    waiting: Samples = field(default_factory=lambda: NO_SAMPLES)
    done: int = 0
    tail: tuple[Token, ...] = ()

    @property
    def nbytes(self) -> int:
        return self.waiting.nbytes


class Checksums:
    """A recognizer whose words are checksums of strides of 600 ms; a word is settled with the next one."""

    rate = 16000

    def __init__(self, fail_at: int | None = None) -> None:
        """`fail_at`: the stride, counted over all streams, at which it fails once."""
        self.fail_at = fail_at
        self.strides = 0

    def stream(self, shape: Any = None, state: Strides | None = None) -> ChecksumStream:
        return ChecksumStream(self, state or Strides())

    def hear(self, samples: Samples, start: int) -> Token:
        self.strides += 1
        if self.strides == self.fail_at:
            raise MemoryError("cannot allocate")
        return word_of(samples, start)


class ChecksumStream:
    def __init__(self, streamer: Checksums, state: Strides) -> None:
        self._streamer = streamer
        self.state = state

    @property
    def tail(self) -> tuple[Token, ...]:
        return self.state.tail

    def accept(self, samples: Samples) -> tuple[Token, ...]:
        return self._advance(samples, STRIDE)

    def flush(self) -> tuple[Token, ...]:
        words = self._advance(NO_SAMPLES, 1)
        words, self.state = words + self.tail, replace(self.state, tail=())
        return words

    def _advance(self, samples: Samples, least: int) -> tuple[Token, ...]:
        state = self.state
        waiting = np.concatenate([state.waiting, samples])
        settled: list[Token] = []
        while len(waiting) >= least:
            settled += state.tail
            word = self._streamer.hear(waiting[:STRIDE], state.done)
            state = replace(state, tail=(word,), done=state.done + len(waiting[:STRIDE]))
            waiting = waiting[STRIDE:]
        self.state = replace(state, waiting=waiting.copy())
        return tuple(settled)


def word_of(samples: Samples, start: int) -> Token:
    name = letters(zlib.crc32(np.ascontiguousarray(samples).tobytes()))
    stop = start + len(samples)
    return Token(text=name, start_ms=start // 16, end_ms=stop // 16, confidence=0.5)


def letters(number: int) -> str:
    return "".join(chr(ord("a") + (number >> shift) % 16) for shift in range(0, 24, 4))


class WholeChecksum:
    """An offline recognizer that says one word: the checksum of all it hears."""

    rate, timed, spaced, verbatim = 16000, False, False, False

    def recognize(self, batch: Sequence[Samples], options: Any = None) -> list[Transcript]:
        return [Transcript(key="", tokens=(word_of(samples, 0),)) for samples in batch]


class Stops:
    """Sets a full stop behind the last word of every text."""

    def mark_words(self, transcripts: Sequence[Transcript]) -> list[Transcript]:
        return [
            replace(one, tokens=(*one.tokens[:-1], replace(one.tokens[-1], mark=".")), punctuated=True)
            if one.tokens
            else one
            for one in transcripts
        ]


def sound(*runs: tuple[float, float], seed: int = 0) -> Samples:
    """(amplitude, seconds) runs of noise."""
    rng = np.random.default_rng(seed)
    parts = [amplitude * rng.standard_normal(int(seconds * 16000)) for amplitude, seconds in runs]
    return np.concatenate(parts).astype(np.float32)
