"""Clips -> utterances as a microphone or a telephone line might deliver them, with the words' places.

`WordSource` is what `funasr.train` reads: utterance `index` of `epoch` depends on (seed, epoch, index) only.
A plan (who says what, how fast, with which pauses) is cheap and fixes the length; the sound is made later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from words_data import RATE, UNKNOWN, Clip, by_speaker, by_token

from funasr.features.frontend import WavFrontend
from funasr.train.data import Example

Sound = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How often, and how strongly, each thing happens to a training utterance."""

    single: float = 0.42
    """Share of one-word utterances; `string` is the share of 2 to `longest` words."""
    string: float = 0.40
    longest: int = 8
    foreign: float = 0.14
    """Share of speech outside the vocabulary; what is left is silence and noise."""
    mixed_foreign: float = 0.08
    """Share of strings with words from outside the vocabulary among the known ones."""
    speed: tuple[float, float] = (0.83, 1.2)
    equalizer: float = 0.5
    room: float = 0.22
    noise: float = 0.5
    telephone: float = 0.3
    clipped: float = 0.05
    embedded: float = 0.0
    """Share of the foreign utterances with words of the vocabulary close by: those are refused too."""
    synthetic_digits: float = 0.12
    synthetic_commands: float = 0.25
    """Shares of synthesized voices among the words: there are few recordings of the commands."""
    fsdd: float = 0.2
    """Share of that corpus among the recorded digits."""


FIRST_LESSONS = Recipe(
    single=0.8,
    string=0.12,
    foreign=0.05,
    longest=3,
    equalizer=0.3,
    room=0.1,
    noise=0.3,
    telephone=0.2,
    clipped=0.0,
)
"""For the first epochs: mostly single words, little in their way."""


LAST_LESSONS = Recipe(
    single=0.48, string=0.38, foreign=0.10, equalizer=0.35, room=0.12, noise=0.3, telephone=0.25, clipped=0.03
)
"""For the last epochs, while the learning rate falls: closer to what people send."""
REFUSALS = replace(LAST_LESSONS, foreign=0.17, string=0.35, single=0.45, mixed_foreign=0.02)
"""For the very last: more speech that must give no words, phrases with words of the vocabulary among it."""
FINISH = replace(REFUSALS, single=0.42, string=0.36, foreign=0.2, mixed_foreign=0.0, embedded=0.6)
"""For the finish: words right beside foreign speech are a part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of a clip, how fast and loud it is played, and the samples of silence before it."""

    clip: Clip
    start: int
    end: int
    speed: float
    level: float
    """RMS of the speech, in decibels against full scale, before the whole is scaled."""
    gap: int
    """Negative: the piece begins before the one in front has ended."""
    refused: bool = False
    """Its word counts as unknown, because of what stands beside it."""

    @property
    def length(self) -> int:
        return max(1, round((self.end - self.start) / self.speed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides how long an utterance is."""

    pieces: tuple[Piece, ...]
    tail: int

    @property
    def length(self) -> int:
        return max(RATE // 20, sum(piece.gap + piece.length for piece in self.pieces) + self.tail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A token and the samples it covers."""

    token: int
    start: int
    end: int


class Augmenter:
    """Draws plans from clips and turns plans into sound."""

    def __init__(
        self,
        words: Sequence[Clip],
        foreign: Sequence[Clip],
        noises: Sequence[Sound],
        rooms: Sequence[Sound],
        recipe: Recipe,
    ) -> None:
        self._recipe = recipe
        real = [clip for clip in words if clip.source not in ("synthesized", "asr/fsdd")]
        self._real = by_token(real)
        self._fsdd = by_token(clip for clip in words if clip.source == "asr/fsdd")
        self._synthetic = by_token(clip for clip in words if clip.source == "synthesized")
        self._tokens = sorted(self._real)
        self._people = [group for group in by_speaker(words).values() if len(group) >= 3]
        weights = np.array([min(len(group), 40) for group in self._people], dtype=np.float64)
        self._people_share = np.cumsum(weights / weights.sum())
        # Long recordings are cut in pieces at use, so they are drawn by duration, up to 4 s.
        self._foreign = list(foreign)
        lengths = (
            np.array([min(clip.end - clip.start, 4 * RATE) for clip in foreign], dtype=np.float64) + RATE / 2
        )
        self._foreign_share = np.cumsum(lengths / lengths.sum())
        self._short_foreign = [clip for clip in foreign if clip.end - clip.start < 1.5 * RATE]
        self._noises = list(noises)
        self._rooms = [room[np.abs(room).argmax() :][: RATE // 2] for room in rooms]

    # --- plans ---

    def plan(self, rng: np.random.Generator) -> Plan:
        recipe, kind = self._recipe, rng.random()
        if kind < recipe.single:
            clips = [self._word(rng)]
        elif kind < recipe.single + recipe.string:
            clips = self._string(rng)
        elif kind < recipe.single + recipe.string + recipe.foreign:
            clips = self._foreign_clips(rng)
        else:
            return Plan(pieces=(), tail=int(rng.uniform(0.2, 2.0) * RATE))
        base_speed = rng.uniform(*recipe.speed)
        trim = rng.random()
        spacing = rng.random()
        refused = recipe.embedded > 0 and clips[0].token == UNKNOWN and rng.random() < recipe.embedded
        if refused:
            clips = clips[:2]
            for _ in range(int(rng.integers(1, 3))):
                clips.insert(int(rng.integers(len(clips) + 1)), self._word(rng))
            trim, spacing = 0.5 + trim / 2, spacing / 2  # no silence kept, and little put between
        level = rng.uniform(-30.0, -18.0)
        pieces = []
        for number, clip in enumerate(clips):
            speed = float(np.clip(base_speed * rng.uniform(0.95, 1.05), *recipe.speed))
            if clip.source == "synthesized":
                speed *= rng.uniform(0.85, 1.15)
            start, end = _cut(clip, trim, rng)
            if refused and clip.token == UNKNOWN:
                end = min(end, start + int(rng.uniform(0.3, 1.5) * RATE))
            gap = int(rng.uniform(0.0, 0.5) * RATE) if number == 0 and rng.random() < 0.6 else 0
            if number > 0 and spacing < 0.35:
                gap = int(rng.uniform(-0.03, 0.05) * RATE)
            elif number > 0 and spacing < 0.65:
                gap = int(rng.uniform(0.0, 0.3) * RATE)
            elif number > 0:
                gap = int(rng.uniform(0.0, 0.8) * RATE)
            pieces.append(
                Piece(
                    clip=clip,
                    start=start,
                    end=end,
                    speed=speed,
                    level=level + rng.uniform(-4, 4),
                    gap=gap,
                    refused=refused,
                )
            )
        tail = int(rng.uniform(0.0, 0.5) * RATE) if rng.random() < 0.6 else 0
        return Plan(pieces=tuple(pieces), tail=tail)

    def _word(self, rng: np.random.Generator) -> Clip:
        token = self._tokens[int(rng.integers(len(self._tokens)))]
        pool, draw = self._real[token], rng.random()
        recipe = self._recipe
        share = recipe.synthetic_digits if token in self._fsdd else recipe.synthetic_commands
        if draw < share and self._synthetic.get(token):
            pool = self._synthetic[token]
        elif rng.random() < recipe.fsdd and self._fsdd.get(token):
            pool = self._fsdd[token]
        return pool[int(rng.integers(len(pool)))]

    def _string(self, rng: np.random.Generator) -> list[Clip]:
        length = min(self._recipe.longest, int(rng.choice((2, 2, 3, 3, 4, 5, 6, 7, 8))))
        if rng.random() < 0.4 and self._people:
            group = self._people[int(np.searchsorted(self._people_share, rng.random()))]
            clips = [group[int(rng.integers(len(group)))] for _ in range(length)]
        else:
            clips = [self._word(rng) for _ in range(length)]
        if rng.random() < self._recipe.mixed_foreign and self._short_foreign:
            for position in range(length):
                if rng.random() < 0.35:
                    clips[position] = self._short_foreign[int(rng.integers(len(self._short_foreign)))]
        return clips

    def _foreign_clips(self, rng: np.random.Generator) -> list[Clip]:
        count = int(rng.choice((1, 1, 1, 2, 3)))
        picks = np.searchsorted(self._foreign_share, rng.random(count))
        return [self._foreign[int(pick)] for pick in picks]

    # --- sound ---

    def render(self, plan: Plan, rng: np.random.Generator) -> tuple[Sound, list[Spoken]]:
        """Samples (N,) in [-1, 1] and the words in them, in order."""
        recipe = self._recipe
        samples = np.zeros(plan.length, dtype=np.float32)
        spoken: list[Spoken] = []
        at = 0
        for piece in plan.pieces:
            at = max(0, at + piece.gap)
            sound = _play(piece)[: len(samples) - at]
            samples[at : at + len(sound)] += sound
            first = at + max(0, round((piece.clip.start - piece.start) / piece.speed))
            last = at + min(len(sound), round((piece.clip.end - piece.start) / piece.speed))
            spoken += _tokens_of(piece, first, max(first + RATE // 50, last))
            at += len(sound)
        if rng.random() < recipe.room:
            samples = self._in_a_room(samples, rng)
        if rng.random() < recipe.equalizer:
            samples = _equalize(samples, rng)
        if rng.random() < recipe.noise or not plan.pieces:
            samples = samples + self._noise(samples, rng)
        if rng.random() < recipe.telephone:
            samples = _telephone(samples, rng)
        peak = float(np.abs(samples).max()) + 1e-9
        samples = samples * np.float32(10 ** rng.uniform(-1.7, 0.0) / peak)
        if rng.random() < recipe.clipped:
            limit = rng.uniform(0.2, 0.7) * float(np.abs(samples).max())
            samples = np.clip(samples, -limit, limit)
        if rng.random() < 0.6:
            samples = np.round(samples * 32768.0) / np.float32(32768.0)
        return samples.astype(np.float32), spoken

    def _in_a_room(self, samples: Sound, rng: np.random.Generator) -> Sound:
        if rng.random() < 0.5:
            room = self._rooms[int(rng.integers(len(self._rooms)))]
        else:
            # A made-up room: the direct sound, then noise that dies away by 60 dB in `decay` seconds.
            decay = rng.uniform(0.08, 0.5)
            time = np.arange(int(decay * RATE), dtype=np.float32) / RATE
            room = rng.standard_normal(len(time), dtype=np.float32) * np.exp(-6.9 * time / decay).astype(
                np.float32
            )
            room *= rng.uniform(0.02, 0.15)
            room[0] = 1.0
        size = fft.next_fast_len(len(samples) + len(room), real=True)
        wet = fft.irfft(fft.rfft(samples, size) * fft.rfft(room / np.abs(room).max(), size), size)
        return np.asarray(wet[: len(samples)], dtype=np.float32)

    def _noise(self, samples: Sound, rng: np.random.Generator) -> Sound:
        size, kind = len(samples), rng.random()
        if kind < 0.35 and self._noises:
            noise = _loop(self._noises[int(rng.integers(len(self._noises)))], size, rng)
        elif kind < 0.75:
            noise = _coloured(size, rng)
        elif kind < 0.95 and self._foreign:
            noise = np.zeros(size, dtype=np.float32)
            for _ in range(int(rng.integers(3, 7))):
                clip = self._foreign[int(rng.integers(len(self._foreign)))]
                voice = _loop(clip.samples[clip.start : clip.end].astype(np.float32), size, rng)
                noise += voice / (float(np.sqrt(np.mean(voice**2))) + 1.0)
        else:
            time = np.arange(size, dtype=np.float32) / RATE
            pitch = rng.choice((50.0, 60.0, 100.0, 120.0))
            noise = sum(
                np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6.3)).astype(np.float32) / k
                for k in (1, 2, 3, 5)
            )
        power = float(np.mean(noise**2)) + 1e-12
        loud = samples[np.abs(samples) > 0.1 * (np.abs(samples).max() + 1e-9)]
        speech = float(np.mean(loud**2)) if loud.size and np.abs(samples).max() > 0 else 1e-3
        ratio = 10 ** (-rng.uniform(4.0, 35.0) / 10)
        return noise * np.float32(np.sqrt(speech * ratio / power))


def _cut(clip: Clip, trim: float, rng: np.random.Generator) -> tuple[int, int]:
    """Which part of the clip is played: all of it, the word with a margin, or the word alone."""
    if clip.token == UNKNOWN and clip.end - clip.start > 4 * RATE:
        size = int(rng.uniform(0.6, 4.0) * RATE)
        start = int(rng.integers(clip.start, clip.end - size))
        return start, start + size
    if trim < 0.35:
        return 0, len(clip.samples)
    if trim < 0.75:
        margins = rng.uniform(0.0, 0.15, 2) * RATE
    else:
        margins = rng.uniform(-0.02, 0.03, 2) * RATE
    start, end = clip.start - int(margins[0]), clip.end + int(margins[1])
    return max(0, start), min(len(clip.samples), max(end, start + RATE // 10))


def _play(piece: Piece) -> Sound:
    """The piece at its speed (pitch follows) and level, its ends faded over 2 ms."""
    source = piece.clip.samples[piece.start : piece.end].astype(np.float32)
    at = np.arange(piece.length, dtype=np.float32) * np.float32(piece.speed)
    sound = np.interp(at, np.arange(len(source), dtype=np.float32), source).astype(np.float32)
    body = piece.clip.samples[piece.clip.start : piece.clip.end].astype(np.float32)
    rms = float(np.sqrt(np.mean(body**2))) + 1.0
    sound *= np.float32(10 ** (piece.level / 20) / rms)
    fade = min(32, len(sound) // 2)
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        sound[:fade] *= ramp
        sound[-fade:] *= ramp[::-1]
    return sound


def _tokens_of(piece: Piece, first: int, last: int) -> list[Spoken]:
    """One token for a word; foreign speech is one unknown token for every 0.45 s or so."""
    if piece.clip.token != UNKNOWN and not piece.refused:
        return [Spoken(token=piece.clip.token, start=first, end=last)]
    count = max(1, round((last - first) / (0.45 * RATE)))
    edges = np.linspace(first, last, count + 1).astype(int)
    return [Spoken(token=UNKNOWN, start=int(a), end=int(b)) for a, b in pairwise(edges.tolist())]


def _loop(sound: Sound, size: int, rng: np.random.Generator) -> Sound:
    start = int(rng.integers(len(sound)))
    return np.take(sound, np.arange(start, start + size), mode="wrap").astype(np.float32)


def _coloured(size: int, rng: np.random.Generator) -> Sound:
    """Noise whose power falls with frequency by 0 (white) to 2 (brown) orders."""
    wide = fft.next_fast_len(size, real=True)
    spectrum = fft.rfft(rng.standard_normal(wide, dtype=np.float32))
    slope = np.maximum(np.arange(len(spectrum), dtype=np.float32), 30.0) ** np.float32(-rng.uniform(0.0, 1.0))
    return np.asarray(fft.irfft(spectrum * slope, wide)[:size], dtype=np.float32)


def _equalize(samples: Sound, rng: np.random.Generator) -> Sound:
    """A smooth random frequency response of +-9 dB: another microphone."""
    size = fft.next_fast_len(len(samples), real=True)
    spectrum = fft.rfft(samples, size)
    knots = np.sort(rng.uniform(0.0, 1.0, 5)) ** 2
    gains = rng.uniform(-9.0, 9.0, 5)
    curve = np.interp(np.linspace(0.0, 1.0, len(spectrum)), knots, gains)
    return np.asarray(fft.irfft(spectrum * (10 ** (curve / 20)).astype(np.float32), size), dtype=np.float32)[
        : len(samples)
    ]


def _telephone(samples: Sound, rng: np.random.Generator) -> Sound:
    """8 kHz and back, often through 300-3400 Hz and mu-law."""
    size = fft.next_fast_len(len(samples) + (len(samples) & 1), real=True)
    size += size & 1
    spectrum = fft.rfft(samples, size)
    hertz = np.arange(len(spectrum), dtype=np.float32) * np.float32(RATE / size)
    high = rng.uniform(3300.0, 3990.0)
    spectrum[hertz > high] = 0
    if rng.random() < 0.6:
        spectrum *= 1 / (1 + (rng.uniform(80.0, 320.0) / np.maximum(hertz, 1.0)) ** 6)
    if rng.random() < 0.5:
        half = spectrum[: size // 4 + 1]
        narrow = fft.irfft(half, size // 2)
        peak = float(np.abs(narrow).max()) + 1e-9
        narrow = _mu_law(narrow / peak * rng.uniform(0.1, 1.0))
        spectrum = np.zeros(len(spectrum), dtype=np.complex64)
        spectrum[: size // 4] = fft.rfft(narrow.astype(np.float32))[: size // 4]
    return np.asarray(fft.irfft(spectrum, size)[: len(samples)], dtype=np.float32)


def _mu_law(sound: Sound) -> Sound:
    mu = np.sign(sound) * np.log1p(255 * np.minimum(np.abs(sound), 1)) / np.log(256)
    mu = np.round(mu * 127) / 127
    return np.asarray(np.sign(mu) * np.expm1(np.abs(mu) * np.log(256)) / 255, dtype=np.float32)


class WordSource:
    """An endless set of such utterances, `size` of them an epoch, as features with the words' places."""

    def __init__(
        self, lessons: Mapping[int, Augmenter], frontend: WavFrontend, *, size: int, seed: int
    ) -> None:
        """`lessons`: who makes the utterances, by the epoch from which on it does; 0 is among them."""
        self._lessons, self._frontend, self._size, self._seed = lessons, frontend, size, seed

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        """(size,) feature rows."""
        augmenter = self._of(epoch)
        plans = (augmenter.plan(self._rng(epoch, index)) for index in range(self._size))
        return np.array([rows_of(plan.length) for plan in plans], dtype=np.int64)

    def load(self, epoch: int, index: int) -> Example:
        rng = self._rng(epoch, index)
        augmenter = self._of(epoch)
        samples, spoken = augmenter.render(augmenter.plan(rng), rng)
        return Example(
            key=f"{epoch}-{index}",
            features=self._frontend(samples),
            target=np.array([word.token for word in spoken], dtype=np.int64),
            spans=row_spans(spoken),
        )

    def _of(self, epoch: int) -> Augmenter:
        return self._lessons[max(first for first in self._lessons if first <= epoch)]

    def _rng(self, epoch: int, index: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, epoch, index))


def rows_of(samples: int) -> int:
    """Feature rows of so many samples: windows of 25 ms every 10 ms, six to a row."""
    return -(-(1 + max(0, samples - 400) // 160) // 6)


def row_spans(spoken: Sequence[Spoken]) -> NDArray[np.float32]:
    """(U, 2) places in rows. Row i stands for the 60 ms around the middle of its windows, 200 + 960 i."""
    places = np.array([(word.start, word.end) for word in spoken], dtype=np.float32).reshape(-1, 2)
    return ((places - 200.0) / 960.0 + 0.5).astype(np.float32)
