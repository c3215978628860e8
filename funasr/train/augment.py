"""What is done to the sound of a training example: speed, room, noise, telephone, gain.

Of one epoch and example it is always the same. N samples.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft  # in 32 bits, where numpy's is in 64

from funasr.arrays import Samples
from funasr.audio.lists import read_list
from funasr.audio.load import load_audio
from funasr.errors import InputError, OptionError

logger = logging.getLogger(__name__)

Rng = np.random.Generator
SHELF_BYTES = 256 << 20
"""Noises and rooms that stay in memory, in each process."""
LONGEST_NOISE = 120
"""Seconds of a noise that are kept; the rest of a longer one is not heard."""
_SPEED = 7
"""Parts the draw of speeds from all others."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Keys of `dataset_conf`; `speed_perturb` is that of `preprocessor_speech_conf` too.

    Probabilities are each its own: a sound may be faster, in a room and on the telephone.
    """

    speed_perturb: tuple[float, ...] = ()
    """Factors to choose from; 1.1 is a tenth faster, and higher."""
    noise_list: str = ""
    """A list of noises: lines of `key path` or `path` (.scp, .txt), or objects with `source` (.jsonl)."""
    noise_prob: float = 0.5
    noise_snr: tuple[float, float] = (5.0, 30.0)
    """Decibels that speech is louder than the noise, from and to."""
    rir_list: str = ""
    """A list of impulse responses of rooms."""
    rir_prob: float = 0.3
    gain_db: tuple[float, float] = (0.0, 0.0)
    """Decibels louder, from and to; always drawn."""
    telephone_prob: float = 0.0
    """Share of sounds heard through a telephone: 300 to 3400 Hz, half of them with 8 bits a sample."""
    seed: int = 0

    def __post_init__(self) -> None:
        if wrong := [factor for factor in self.speed_perturb if not 0.5 <= factor <= 2.0]:
            raise OptionError(
                f"speed_perturb is {self.speed_perturb}: factors lie between 0.5 and 2 ({wrong[0]})"
            )
        for name in ("noise_prob", "rir_prob", "telephone_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"dataset_conf.{name} is {getattr(self, name)}: expected 0 to 1")
        for name in ("noise_snr", "gain_db"):
            pair = getattr(self, name)
            if len(pair) != 2 or pair[0] > pair[1]:
                raise OptionError(f"dataset_conf.{name} is {list(pair)}: expected [least, most]")

    @property
    def idle(self) -> bool:
        """Whether every sound stays as it is."""
        return not (
            self.speed_perturb
            or (self.noise_list and self.noise_prob)
            or (self.rir_list and self.rir_prob)
            or self.telephone_prob
            or any(self.gain_db)
        )


class Augmenter:
    """An Augmentation with its noises and rooms, which are read when they are first heard."""

    def __init__(self, config: Augmentation, rate: int) -> None:
        """Raises InputError for lists that cannot be read or are empty."""
        self.config, self.rate = config, rate
        self._noises = Shelf(config.noise_list, rate)
        self._rooms = Shelf(config.rir_list, rate)
        self._factors: tuple[int, NDArray[np.float64]] = (-1, np.zeros(0))

    def speeds(self, epoch: int, count: int) -> NDArray[np.float64]:
        """(count,) how much faster each example is in this epoch."""
        if not self.config.speed_perturb:
            return np.ones(count)
        if self._factors[0] != epoch or len(self._factors[1]) != count:
            rng = np.random.default_rng((self.config.seed, epoch, _SPEED))
            self._factors = (epoch, rng.choice(self.config.speed_perturb, size=count))
        return self._factors[1]

    def apply(self, samples: Samples, epoch: int, index: int, speed: float = 1.0) -> Samples:
        """samples (N,) -> (N / speed,)."""
        config = self.config
        rng = np.random.default_rng((config.seed, epoch, index))
        samples = at_speed(samples, speed)
        if samples.size == 0:
            return samples
        if self._rooms and rng.random() < config.rir_prob:
            samples = in_room(samples, self._rooms.draw(rng))
        if self._noises and rng.random() < config.noise_prob:
            noise = _excerpt(self._noises.draw(rng), len(samples), rng)
            samples = with_noise(samples, noise, float(rng.uniform(*config.noise_snr)))
        if config.telephone_prob and rng.random() < config.telephone_prob:
            samples = on_telephone(samples, self.rate, coarse=bool(rng.random() < 0.5))
        if any(config.gain_db):
            samples = samples * np.float32(10 ** (rng.uniform(*config.gain_db) / 20))
        return np.clip(samples, -1, 1)


class Shelf:
    """The sounds of a list; those heard last stay in memory."""

    def __init__(self, path: str, rate: int) -> None:
        self._path, self._rate = path, rate
        self._sources = [entry.source for entry in read_list(path)] if path else []
        if path and not self._sources:
            raise InputError(f"{path} lists no sounds")
        if self._sources and (missing := [s for s in self._sources[:100] if not _there(s)]):
            raise InputError(f"{path} lists {missing[0]!r}: no such file")
        self._kept: OrderedDict[int, NDArray[np.int16]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._sources)

    def draw(self, rng: Rng) -> Samples:
        """One of them, (N,). Raises InputError for one that cannot be read."""
        number = int(rng.integers(len(self._sources)))
        if number in self._kept:
            self._kept.move_to_end(number)
        else:
            samples = load_audio(self._sources[number], self._rate)[: LONGEST_NOISE * self._rate]
            if not samples.any():
                raise InputError(f"{self._path}: {self._sources[number]} is silence")
            # As loud as 16 bits hold: only what it sounds like matters.
            scaled = samples * (32767 / max(float(np.abs(samples).max()), 1e-9))
            self._kept[number] = np.rint(scaled).astype(np.int16)
            self._bytes += self._kept[number].nbytes
            while self._bytes > SHELF_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return self._kept[number].astype(np.float32) / np.float32(32768)


def at_speed(samples: Samples, factor: float) -> Samples:
    """samples (N,) -> (N / factor,): played faster, so that pitch rises with speed."""
    import soxr

    if factor == 1.0:
        return samples
    # As if recorded at a rate that much higher; a ratio of whole numbers, for soxr.
    return np.asarray(soxr.resample(samples, round(1000 * factor), 1000), dtype=np.float32)


def in_room(samples: Samples, response: Samples) -> Samples:
    """As loud as before, and as long. What the response has before its direct sound is cut: nothing moves."""
    start = int(np.abs(response).argmax())
    response = response[start:]
    size = fft.next_fast_len(len(samples) + len(response) - 1, real=True)
    whole = fft.irfft(fft.rfft(samples, size) * fft.rfft(response, size), size)
    heard = np.asarray(whole[: len(samples)], dtype=np.float32)
    return heard * np.float32(loudness(samples) / max(loudness(heard), 1e-9))


def with_noise(samples: Samples, noise: Samples, snr: float) -> Samples:
    """`snr` decibels between the loudness of the parts where there is sound, and that of the noise."""
    scale = loudness(samples) / max(float(np.sqrt(np.mean(np.square(noise)))), 1e-9) * 10 ** (-snr / 20)
    return samples + noise * np.float32(scale)


def on_telephone(samples: Samples, rate: int, *, coarse: bool) -> Samples:
    """300 to 3400 Hz; `coarse`: with 8 bits a sample, by the μ-law."""
    size = fft.next_fast_len(len(samples) + rate // 10, real=True)  # room for the filter to ring
    hertz = fft.rfftfreq(size, 1 / rate)
    band = 1 / (1 + (300 / np.maximum(hertz, 1)) ** 8) / (1 + (hertz / 3400) ** 24)
    spectrum = fft.rfft(samples, size) * band.astype(np.float32)
    heard = np.asarray(fft.irfft(spectrum, size)[: len(samples)], dtype=np.float32)
    if coarse:
        peak = float(np.abs(heard).max()) or 1.0
        squeezed = np.sign(heard) * np.log1p(255 * np.abs(heard) / peak) / np.log(256)
        steps = np.rint(squeezed * 127) / 127
        heard = np.sign(steps) * np.expm1(np.abs(steps) * np.log(256)) / 255 * peak
    return np.asarray(heard, dtype=np.float32)


def loudness(samples: Samples) -> float:
    """Root mean square of the 25 ms that are not much softer than the loudest: pauses do not count."""
    block = 400
    if len(samples) < block:
        return float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    power = np.square(samples[: len(samples) // block * block]).reshape(-1, block).mean(axis=1)
    return float(np.sqrt(power[power >= power.max() * 1e-3].mean()))


def _excerpt(noise: Samples, length: int, rng: Rng) -> Samples:
    """`length` samples from anywhere in it; a shorter one is repeated."""
    start = int(rng.integers(len(noise)))
    if start + length <= len(noise):
        return noise[start : start + length]
    return np.resize(np.roll(noise, -start), length)


def _there(source: object) -> bool:
    return not isinstance(source, str) or "://" in source or Path(source).is_file()
