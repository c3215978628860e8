"""Clips of speech -> made-up recordings, each with the teacher's opinion of every frame.

A recording is laid out from clips and pauses and scored by the teacher while it is still clean; then it is
played in a room, down a telephone, through a microphone, beside noise. The student hears the result and
learns what the teacher said of the clean one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.audio.load import load_audio
from funasr.features.frontend import WavFrontend
from funasr.train.data import Example

logger = logging.getLogger(__name__)

RATE = 16000
SCALE = 1000
"""Targets are whole numbers: probability of silence in thousandths."""

Rng = np.random.Generator
Teacher = Callable[[Samples], NDArray[np.float32]]
"""samples (N,) -> probability of silence (T,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder of recordings."""

    folder: str
    share: float
    """Part of the speech that comes from it."""
    words: bool = False
    """Clips are single words: several are said in a row."""
    at_most: int = 100_000
    """Clips kept, evenly chosen; the others would only fill the memory."""


SOURCES = (
    Source(folder="speaker/librispeech_train_clean_100", share=0.40),
    Source(folder="speaker/librispeech_test_other", share=0.08),
    Source(folder="asr/ljspeech32", share=0.05),
    Source(folder="asr/longform_sonnets", share=0.03),
    Source(folder="asr/mini_an4", share=0.02),
    Source(folder="speaker/sv_examples", share=0.02),
    Source(folder="asr/wakewords", share=0.05),
    Source(folder="asr/cmn_words", share=0.10, words=True),
    Source(folder="asr/cmn_syllables", share=0.08, words=True, at_most=800),
    Source(folder="asr/speech_commands", share=0.06, words=True),
    Source(folder="asr/speech_commands_more", share=0.06, words=True, at_most=2000),
    Source(folder="asr/fsdd", share=0.05, words=True, at_most=1500),
)
NOISE = "noise_rir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Sound in memory, 16 kHz, int16 to halve its size."""

    clips: tuple[tuple[NDArray[np.int16], ...], ...]
    """One tuple a source."""
    sources: tuple[Source, ...]
    noises: tuple[NDArray[np.int16], ...]
    rooms: tuple[NDArray[np.int16], ...]
    """Impulse responses that begin with the direct sound."""


def read_corpora(data: Path) -> tuple[Corpus, Corpus]:
    """(to train on, to validate with): one clip in twenty is held out, by a hash of its key."""
    parts: list[list[tuple[NDArray[np.int16], ...]]] = [[], []]
    for source in SOURCES:
        table = _table(data / source.folder)
        keys = sorted(table)[:: max(1, -(-len(table) // source.at_most))]
        kept: tuple[list[NDArray[np.int16]], list[NDArray[np.int16]]] = ([], [])
        for key in keys:
            kept[_held_out(key)].append(_pcm(load_audio(table[key], RATE)))
        kept[1].extend(kept[0][:1] if not kept[1] else [])  # tiny folders
        logger.info("%s: %d clips, %d held out", source.folder, len(kept[0]), len(kept[1]))
        for part, clips in zip(parts, kept, strict=True):
            part.append(tuple(clips))
    table = _table(data / NOISE)
    noises = tuple(_pcm(load_audio(table[key], RATE)) for key in sorted(table) if key.startswith("noise"))
    rooms = tuple(
        _from_direct(load_audio(table[key], RATE)) for key in sorted(table) if key.startswith("rir")
    )
    train, valid = (Corpus(clips=tuple(part), sources=SOURCES, noises=noises, rooms=rooms) for part in parts)
    return train, valid


class Recordings:
    """An `ExampleSource`: made-up recordings without end, each decided by (seed, epoch, index)."""

    def __init__(
        self, corpus: Corpus, teacher: Teacher, frontend: WavFrontend, count: int, *, seed: int
    ) -> None:
        """`count` recordings an epoch, 6 to 14 s each."""
        self._corpus, self._teacher, self._frontend = corpus, teacher, frontend
        self._count, self._seed = count, seed

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        return np.array(
            [1 + (self._samples(epoch, i) - 400) // 160 for i in range(self._count)], dtype=np.int64
        )

    def load(self, epoch: int, index: int) -> Example:
        clean, heard = self.sound(epoch, index)
        target = np.rint(self._teacher(clean) * SCALE).astype(np.int64)
        return Example(key=f"{epoch}-{index}", features=self._frontend(heard), target=target)

    def features(self, epoch: int, index: int) -> Features:
        """Without the teacher's work."""
        return self._frontend(self.sound(epoch, index)[1])

    def sound(self, epoch: int, index: int) -> tuple[Samples, Samples]:
        """What the teacher hears and what the student hears."""
        rng = np.random.default_rng((self._seed, epoch, index, 1))
        speech = lay_out(self._corpus, self._samples(epoch, index), rng)
        if rng.random() < 0.08:
            speech = np.zeros_like(speech)
        # Room hiss: the teacher has never heard digital silence.
        hiss = 10 ** rng.uniform(-4.5, -3.3) * rng.standard_normal(len(speech), dtype=np.float32)
        return speech + hiss, play(speech, self._corpus, rng)

    def _samples(self, epoch: int, index: int) -> int:
        return int(np.random.default_rng((self._seed, epoch, index, 0)).uniform(6, 14) * RATE)


def lay_out(corpus: Corpus, length: int, rng: Rng) -> Samples:
    """Clips and pauses in turn until the recording is full; the loudest sample is at 0.5."""
    track = np.zeros(length, dtype=np.float32)
    shares = np.array(
        [source.share if clips else 0.0 for source, clips in zip(corpus.sources, corpus.clips, strict=True)]
    )
    at = int(rng.exponential(0.6) * RATE)
    level = 1.0
    while at < length:
        which = int(rng.choice(len(shares), p=shares / shares.sum()))
        clips = corpus.clips[which]
        words = int(rng.integers(1, 6)) if corpus.sources[which].words else 1
        rate = rng.uniform(0.87, 1.15)
        for _ in range(words):
            clip = _excerpt(clips[int(rng.integers(len(clips)))], rng)
            clip = _at_rate(clip, rate)
            loudness = float(np.sqrt(np.mean(clip**2))) + 1e-5
            clip *= min(0.05 * level / loudness, 0.7 / (float(np.abs(clip).max()) + 1e-5))
            end = min(at + len(clip), length)
            track[at:end] += clip[: end - at]
            at = end + int(rng.choice([0.0, 0.05, 0.2, 0.5]) * RATE)
            if at >= length:
                break
        # Some pauses are inside a sentence, some are long; some speakers are further away.
        at += int(rng.choice([0.0, rng.uniform(0.1, 0.6), rng.exponential(1.5)], p=[0.2, 0.4, 0.4]) * RATE)
        level = 10 ** rng.uniform(-0.5, 0.3)
    return track * np.float32(0.5 / (float(np.abs(track).max()) + 1e-5))


def play(speech: Samples, corpus: Corpus, rng: Rng) -> Samples:
    """Room, telephone, microphone, noise, gain."""
    length = len(speech)
    size = 1 << (length + RATE).bit_length()
    spectrum = np.fft.rfft(speech, size)
    if rng.random() < 0.4:
        spectrum *= np.fft.rfft(_room(corpus, rng), size)
    hertz = np.linspace(0, RATE / 2, len(spectrum), dtype=np.float32)
    response = _microphone(hertz, rng)
    telephone = rng.random() < 0.2
    if telephone:
        response *= _band(hertz, rng.uniform(150, 350), rng.uniform(3200, 3800))
    noise_gain = 0.0
    if rng.random() < 0.75:
        noise_gain = 10 ** (-rng.uniform(3, 35) / 20)
        noise = np.fft.rfft(_noise(corpus, length, rng), size)
        loudness = _speech_rms(speech)
        spectrum += np.float32(noise_gain * loudness) * noise
    sound = np.fft.irfft(spectrum * response, size)[:length].astype(np.float32)
    if telephone and rng.random() < 0.5:
        sound = _mu_law(sound)
    if rng.random() < 0.05:
        sound = np.clip(sound, -0.15, 0.15)
    sound *= 10 ** rng.uniform(-1.7, 0.3)
    sound += 10 ** rng.uniform(-5, -3.5) * rng.standard_normal(length, dtype=np.float32)
    # As a file would hold it.
    return np.asarray(np.rint(np.clip(sound, -1, 1) * 32767) / 32768, dtype=np.float32)


def _excerpt(clip: NDArray[np.int16], rng: Rng) -> Samples:
    """At most 6 s of a clip, faded in and out so that a cut makes no click."""
    longest = int(rng.uniform(1.5, 6) * RATE)
    start = int(rng.integers(max(len(clip) - longest, 0) + 1))
    part = clip[start : start + longest].astype(np.float32) / 32768
    fade = min(160, len(part) // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    part[:fade] *= ramp
    part[len(part) - fade :] *= ramp[::-1]
    return part


def _at_rate(clip: Samples, rate: float) -> Samples:
    """Faster and higher, or slower and lower."""
    places = np.arange(0, len(clip) - 1, rate)
    return np.interp(places, np.arange(len(clip)), clip).astype(np.float32)


def _room(corpus: Corpus, rng: Rng) -> Samples:
    """A measured room or an invented one: the direct sound and a tail that fades."""
    if rng.random() < 0.5:
        return corpus.rooms[int(rng.integers(len(corpus.rooms)))].astype(np.float32) / 32768
    length = int(rng.uniform(0.1, 0.8) * RATE)
    tail = rng.standard_normal(length, dtype=np.float32) * np.exp(
        np.linspace(0, -6.9, length, dtype=np.float32)
    )
    tail *= np.float32(10 ** rng.uniform(-1.2, -0.2) / np.sqrt(np.sum(tail**2)))
    tail[0] = 1.0
    return tail


def _noise(corpus: Corpus, length: int, rng: Rng) -> Samples:
    """Recorded, coloured or humming; mean square 1."""
    kind = rng.random()
    if kind < 0.5:
        recorded = corpus.noises[int(rng.integers(len(corpus.noises)))]
        start = int(rng.integers(len(recorded)))
        noise = np.resize(np.roll(recorded, -start), length).astype(np.float32)
    else:
        size = 1 << length.bit_length()
        hertz = np.linspace(1, RATE / 2, size // 2 + 1, dtype=np.float32)
        colour = (hertz / 100 + 1) ** -np.float32(rng.uniform(0, 1.2))
        if kind > 0.85:
            colour *= _microphone(hertz, rng, bumps=6, decibels=20)
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(size, dtype=np.float32)) * colour)[:length]
        if kind > 0.9:
            seconds = np.arange(length, dtype=np.float32) / RATE
            tone = float(rng.choice([50, 60, 120, rng.uniform(200, 3000)]))
            noise = noise / np.std(noise) + sum(
                rng.uniform(0, 2) * np.sin(2 * np.pi * tone * k * seconds) for k in range(1, 5)
            )
    if rng.random() < 0.3:  # it comes and goes
        knots = np.interp(np.linspace(0, 8, length), np.arange(9), 10 ** rng.uniform(-1, 0, 9))
        noise = noise * knots
    return np.asarray(noise / (np.sqrt(np.mean(noise**2)) + 1e-5), dtype=np.float32)


def _microphone(
    hertz: NDArray[np.float32], rng: Rng, bumps: int = 4, decibels: float = 6
) -> NDArray[np.float32]:
    """A smooth response, up to `decibels` up and down."""
    places = np.geomspace(80, RATE / 2, bumps + 2)
    heights = rng.uniform(-decibels, decibels, bumps + 2)
    return np.asarray(10 ** (np.interp(np.log(hertz + 1), np.log(places), heights) / 20), dtype=np.float32)


def _band(hertz: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    edges = 1 / (1 + (low / (hertz + 1)) ** 8) / (1 + (hertz / high) ** 24)
    return np.asarray(edges, dtype=np.float32)


def _mu_law(sound: Samples) -> Samples:
    """8 bits a sample, as telephones have it."""
    peak = float(np.abs(sound).max()) + 1e-5
    squeezed = np.sign(sound) * np.log1p(255 * np.abs(sound) / peak) / np.log(256)
    coarse = np.rint(squeezed * 127) / 127
    return np.asarray(np.sign(coarse) * np.expm1(np.abs(coarse) * np.log(256)) / 255 * peak, dtype=np.float32)


def _speech_rms(speech: Samples) -> float:
    """Loudness of the parts that are not pauses."""
    blocks = speech[: len(speech) // 400 * 400].reshape(-1, 400)
    power = np.mean(blocks**2, axis=1)
    return float(np.sqrt(power[power > 1e-6].mean())) if np.any(power > 1e-6) else 0.05


def _from_direct(response: Samples) -> NDArray[np.int16]:
    """Cut what lies before the direct sound, which would shift speech against its labels; the peak is 1."""
    peak = int(np.abs(response).argmax())
    return _pcm(response[peak:] / response[peak])


def _pcm(samples: Samples) -> NDArray[np.int16]:
    return np.asarray(np.clip(np.rint(samples * 32767), -32768, 32767), dtype=np.int16)


def _table(folder: Path) -> dict[str, Path]:
    """wav.scp: key -> path."""
    lines = (folder / "wav.scp").read_text(encoding="utf-8").splitlines()
    return {key: folder / path for key, path in (line.split(maxsplit=1) for line in lines if line.strip())}


def _held_out(key: str) -> int:
    return int(int(hashlib.sha1(key.encode()).hexdigest(), 16) % 20 == 0)
