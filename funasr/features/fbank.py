"""Kaldi-compatible log-mel filter bank: samples (N,) -> (F, n_mels).

F frames, N samples, W samples under a window, fft >= W the power of two that is transformed.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.errors import InputError
from funasr.features.config import FrontendConfig

PREEMPHASIS = np.float32(0.97)
LOW_HZ = 20.0
FLOOR = np.float32(np.finfo(np.float32).eps)
"""Energies below this are silence; its logarithm, -15.94, is the lowest value of a feature."""

LOUDEST = np.float32(2.0**24)
"""Samples beyond are cut: broken files hold values whose square float32 cannot, and full scale is 1."""

BLOCK_FRAMES = 128
"""Frames worked on at once: their spectra stay in the second-level cache."""


MELS_AT_ONCE = 20
"""Filters multiplied together. Neighbours share their bins; all 80 at once would mostly multiply zeros."""


@dataclass(frozen=True)
class _Band:
    """Some neighbouring mel filters."""

    mels: slice
    parts: slice
    """Columns of a spectrum seen as floats, re and im alternating, where any of them is above zero."""
    weights: NDArray[np.float32]
    """(parts, mels), each weight twice: for the square of re and that of im."""


@dataclass(frozen=True)
class _Tables:
    """What depends on the window length alone."""

    size: int
    """W."""
    window: NDArray[np.float32]
    """(fft,): W values, then zeros."""
    bands: tuple[_Band, ...]


class Fbank:
    """The filter bank. Immutable: one serves any number of threads."""

    def __init__(self, config: FrontendConfig) -> None:
        self.config = config
        self._tables = _tables(config.window, config.window_samples, config.n_mels, config.fs)

    def __call__(self, samples: Samples) -> Features:
        """A whole utterance (N,) in [-1, 1] -> (F, n_mels).

        Sound shorter than a window is one frame under a window of its own length (as upstream); no sound at
        all is no frames.
        """
        samples = mono(samples)
        config = self.config
        if samples.size == 0:
            return np.empty((0, config.n_mels), dtype=np.float32)
        window = config.window_samples
        if samples.size < window:
            # As upstream, which passes the length in milliseconds and truncates on the way back.
            window = max(
                1, int(config.fs * min(config.frame_length, samples.size / config.fs * 1000) * 0.001)
            )
        tables = self._tables
        if window != config.window_samples:
            tables = _tables(config.window, window, config.n_mels, config.fs)
        if not config.snip_edges and window >= config.hop_samples:
            samples = _mirrored(samples, window, config.hop_samples)
        return self._frames(samples, tables, self.new_noise())

    def new_noise(self) -> np.random.Generator | None:
        """Where the dither of one utterance comes from; None without dither."""
        return np.random.default_rng(0) if self.config.dither else None

    def frames(self, samples: Samples, noise: np.random.Generator | None) -> Features:
        """The frames of the windows that lie wholly inside `samples` (N,): (F, n_mels), F = 0 for none."""
        return self._frames(samples, self._tables, noise)

    def _frames(self, samples: Samples, tables: _Tables, noise: np.random.Generator | None) -> Features:
        size, hop = tables.size, self.config.hop_samples
        count = 1 + (len(samples) - size) // hop if len(samples) >= size else 0
        out = np.empty((count, self.config.n_mels), dtype=np.float32)
        block = min(count, BLOCK_FRAMES)
        # Every product below runs over contiguous memory: on rows of a few hundred values numpy spends more
        # time between rows than in them. So the window is written out once for each row.
        window = np.repeat(tables.window[None], block, axis=0)
        rows = np.zeros_like(window)
        spectra: Any = np.empty((block, len(tables.window) // 2 + 1), dtype=np.complex64)
        scale = np.float32(32768 if self.config.upsacle_samples else 1)
        for start in range(0, count, BLOCK_FRAMES):
            stop = min(start + BLOCK_FRAMES, count)
            if stop - start < block:
                block = stop - start
                window, rows, spectra = window[:block], rows[:block], spectra[:block]
            part = samples[start * hop : (stop - 1) * hop + size].clip(-LOUDEST, LOUDEST)
            part *= scale
            if noise is None:
                _emphasised(part, hop, rows[:, :size])
            else:
                _emphasised_with_noise(part, hop, rows[:, :size], noise, self.config.dither)
            rows *= window
            # norm="forward" divides by fft, which the filters undo. With the default norm numpy 2.4 works in
            # double precision, at a third of the speed.
            np.fft.rfft(rows, axis=1, norm="forward", out=spectra)
            parts = spectra.view(np.float32)
            np.square(parts, out=parts)
            for band in tables.bands:
                np.matmul(parts[:, band.parts], band.weights, out=out[start:stop, band.mels])
        np.maximum(out, FLOOR, out=out)
        return np.log(out, out=out)


def mono(samples: Samples) -> Samples:
    """The samples as (N,) float32. Raises InputError for another shape, or for integers."""
    array = np.asarray(samples)
    if array.ndim != 1 or array.dtype.kind != "f":
        raise InputError(
            f"the front end got samples of shape {array.shape} and type {array.dtype}: expected one channel, "
            "(N,), of floats in [-1, 1]. funasr.audio.load.load_audio makes them from any sound."
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def finite(samples: Samples) -> Samples:
    """`mono`, for live streams, which would remember NaN for good. Raises InputError for such too."""
    samples = mono(samples)
    if not np.isfinite(samples).all():
        first = int(np.flatnonzero(~np.isfinite(samples))[0])
        raise InputError(f"sample {first} of {len(samples)} is {samples[first]}: expected finite numbers")
    return samples


def _emphasised(part: NDArray[np.float32], hop: int, rows: NDArray[np.float32]) -> None:
    """Frames of `part` without their mean and pre-emphasised, written to rows (F, W).

    With e[n] = x[n] - 0.97 x[n-1], which overlapping frames share, such a frame is e[n] - 0.03 mean; only its
    first sample, which stands in for its own predecessor, is 0.03 (x[0] - mean).
    """
    count, size = rows.shape
    raw = _overlapping(part, count, size, hop)
    rest = np.float32(1) - PREEMPHASIS
    means = np.add.reduce(raw, axis=1)
    means *= rest / np.float32(size)
    emphasised = np.empty_like(part)
    emphasised[0] = 0
    np.multiply(part[:-1], -PREEMPHASIS, out=emphasised[1:])
    emphasised[1:] += part[1:]
    np.subtract(_overlapping(emphasised, count, size, hop), means[:, None], out=rows)
    np.subtract(raw[:, 0] * rest, means, out=rows[:, 0])


def _emphasised_with_noise(
    part: NDArray[np.float32],
    hop: int,
    rows: NDArray[np.float32],
    noise: np.random.Generator,
    dither: float,
) -> None:
    """The same with noise of its own in every frame, so that frames share nothing."""
    count, size = rows.shape
    frames = noise.standard_normal((count, size), dtype=np.float32)
    frames *= np.float32(dither)
    frames += _overlapping(part, count, size, hop)
    frames -= frames.mean(axis=1, keepdims=True)
    rows[:, 0] = frames[:, 0] * (np.float32(1) - PREEMPHASIS)
    rows[:, 1:] = frames[:, 1:] - PREEMPHASIS * frames[:, :-1]


def _overlapping(signal: NDArray[np.float32], count: int, size: int, hop: int) -> NDArray[np.float32]:
    """(N,) -> a view (count, size) whose row i begins at sample i * hop."""
    step = signal.strides[0]
    return as_strided(signal, (count, size), (hop * step, step), writeable=False)


def _mirrored(samples: Samples, window: int, hop: int) -> Samples:
    """Sound continued by its mirror image, so that there is one window for each hop, as in Kaldi."""
    count = (len(samples) + hop // 2) // hop
    before = window // 2 - hop // 2
    after = max(0, (count - 1) * hop + window - before - len(samples))
    return np.pad(samples, (before, after), mode="symmetric")


@functools.lru_cache(maxsize=32)
def _tables(name: str, size: int, n_mels: int, fs: int) -> _Tables:
    """Tables for a window of `size` samples. Cached: an utterance shorter than a window has its own."""
    fft = max(2, 1 << (size - 1).bit_length())
    window = np.pad(_window(name, size), (0, fft - size)).astype(np.float32)
    window.setflags(write=False)
    filters = np.repeat(_mel_filters(n_mels, fft, fs) * fft**2, 2, axis=0).astype(np.float32)
    bands = []
    for first in range(0, n_mels, MELS_AT_ONCE):
        mels = slice(first, min(first + MELS_AT_ONCE, n_mels))
        used = np.flatnonzero(filters[:, mels].any(axis=1))
        parts = slice(used[0], used[-1] + 1) if used.size else slice(0, 0)
        weights = np.ascontiguousarray(filters[parts, mels])
        weights.setflags(write=False)
        bands.append(_Band(mels=mels, parts=parts, weights=weights))
    return _Tables(size=size, window=window, bands=tuple(bands))


def _window(name: str, size: int) -> NDArray[np.float64]:
    """(W,) the symmetric windows of Kaldi."""
    if size == 1 or name == "rectangular":
        return np.ones(size)
    phase = 2 * np.pi * np.arange(size) / (size - 1)
    if name == "hamming":
        return 0.54 - 0.46 * np.cos(phase)
    if name == "blackman":
        return 0.42 - 0.5 * np.cos(phase) + 0.08 * np.cos(2 * phase)
    hanning = 0.5 - 0.5 * np.cos(phase)
    return hanning**0.85 if name == "povey" else hanning


def _mel_filters(n_mels: int, fft: int, fs: int) -> NDArray[np.float64]:
    """(fft / 2 + 1, n_mels) triangles, linear in mel, equally spaced from 20 Hz to half the sample rate."""
    low, high = _mel(LOW_HZ), _mel(fs / 2)
    edges = low + (high - low) / (n_mels + 1) * np.arange(n_mels + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bins = _mel(np.arange(fft // 2) * fs / fft)[:, None]
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return np.pad(np.maximum(triangles, 0), ((0, 1), (0, 0)))


def _mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return 1127 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700)
