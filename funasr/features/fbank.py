"""Kaldi-compatible log-mel filter bank: samples (N,) -> (F, n_mels).

F frames, W samples under a window, H samples from one window to the next, K = fft / 2 frequency bins.
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

BLOCK_FRAMES = 256
"""Frames worked on at once: their spectra stay in the second-level cache."""


@dataclass(frozen=True)
class _Tables:
    """What depends on the window length alone."""

    window: NDArray[np.float32]
    """(W,)"""
    mel: NDArray[np.float32]
    """(K + 1, n_mels); the bin at half the sample rate carries no weight."""
    fft: int


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
        if not config.snip_edges:
            samples = _reflected(samples, window, config.hop_samples)
        return self._frames(samples, tables, self.new_noise())

    def new_noise(self) -> np.random.Generator | None:
        """Where the dither of one utterance comes from; None without dither."""
        return np.random.default_rng(0) if self.config.dither else None

    def frames(self, samples: Samples, noise: np.random.Generator | None) -> Features:
        """The frames of the windows that lie wholly inside `samples` (N,): (F, n_mels), F = 0 for none."""
        return self._frames(samples, self._tables, noise)

    def count(self, samples: int) -> int:
        """How many windows fit wholly into so many samples."""
        window, hop = self.config.window_samples, self.config.hop_samples
        return 1 + (samples - window) // hop if samples >= window else 0

    def _frames(self, samples: Samples, tables: _Tables, noise: np.random.Generator | None) -> Features:
        window, hop = len(tables.window), self.config.hop_samples
        count = 1 + (len(samples) - window) // hop if len(samples) >= window else 0
        out = np.empty((count, self.config.n_mels), dtype=np.float32)
        block = min(count, BLOCK_FRAMES)
        padded = np.zeros((block, tables.fft), dtype=np.float32)
        spectrum = np.empty((block, tables.fft // 2 + 1), dtype=np.complex64)
        scale = np.float32(32768 if self.config.upsacle_samples else 1)
        for start in range(0, count, BLOCK_FRAMES):
            stop = min(start + BLOCK_FRAMES, count)
            part = samples[start * hop : (stop - 1) * hop + window] * scale
            rows = padded[: stop - start]
            if noise is None:
                _windowed(part, tables.window, hop, rows)
            else:
                _windowed_with_noise(part, tables.window, hop, rows, noise, self.config.dither)
            bins: Any = spectrum[: stop - start]  # numpy's stubs know complex128 alone
            np.fft.rfft(rows, axis=1, out=bins)
            parts = bins.view(np.float32)
            np.square(parts, out=parts)
            mels = np.matmul(parts[:, 0::2] + parts[:, 1::2], tables.mel, out=out[start:stop])
            np.maximum(mels, FLOOR, out=mels)
            np.log(mels, out=mels)
        return out


def mono(samples: Samples) -> Samples:
    """The samples as (N,) float32. Raises InputError for another shape, or for integers."""
    array = np.asarray(samples)
    if array.ndim != 1 or array.dtype.kind != "f":
        raise InputError(
            f"the front end got samples of shape {array.shape} and type {array.dtype}: expected one channel, "
            "(N,), of floats in [-1, 1]. funasr.audio.load.load_audio makes them from any sound."
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def _windowed(
    part: NDArray[np.float32], window: NDArray[np.float32], hop: int, rows: NDArray[np.float32]
) -> None:
    """Mean removal, pre-emphasis and window of the frames of `part`, written to rows (F, >= W).

    With e[n] = x[n] - 0.97 x[n-1], which overlapping frames share, a frame less its mean m and pre-emphasised
    is e[n] - 0.03 m; only its first sample, which stands in for its own predecessor, is 0.03 (x[0] - m).
    """
    size = len(window)
    emphasised = np.empty_like(part)
    emphasised[0] = 0
    np.multiply(part[:-1], -PREEMPHASIS, out=emphasised[1:])
    emphasised[1:] += part[1:]
    rest = np.float32(1) - PREEMPHASIS
    raw = _overlapping(part, len(rows), size, hop)
    means = np.add.reduce(raw, axis=1)
    means *= rest / np.float32(size)
    framed = rows[:, :size]
    np.subtract(_overlapping(emphasised, len(rows), size, hop), means[:, None], out=framed)
    np.subtract(raw[:, 0] * rest, means, out=framed[:, 0])
    framed *= window


def _windowed_with_noise(
    part: NDArray[np.float32],
    window: NDArray[np.float32],
    hop: int,
    rows: NDArray[np.float32],
    noise: np.random.Generator,
    dither: float,
) -> None:
    """The same with noise of its own in every frame, so that frames share nothing."""
    size = len(window)
    framed = noise.standard_normal((len(rows), size), dtype=np.float32)
    framed *= np.float32(dither)
    framed += _overlapping(part, len(rows), size, hop)
    framed -= framed.mean(axis=1, keepdims=True)
    rows[:, 0] = framed[:, 0] * (np.float32(1) - PREEMPHASIS)
    rows[:, 1:size] = framed[:, 1:] - PREEMPHASIS * framed[:, :-1]
    rows[:, :size] *= window


def _overlapping(signal: NDArray[np.float32], count: int, size: int, hop: int) -> NDArray[np.float32]:
    """(N,) -> a view (count, size) whose row i begins at sample i * hop."""
    step = signal.strides[0]
    return as_strided(signal, (count, size), (hop * step, step), writeable=False)


def _reflected(samples: Samples, window: int, hop: int) -> Samples:
    """Sound continued by its mirror image so that there is one window for each hop, as in Kaldi."""
    count = max(1, (len(samples) + hop // 2) // hop)
    before = window // 2 - hop // 2
    after = (count - 1) * hop + window - before - len(samples)
    samples = samples[max(0, -before) :]
    if after < 0:
        samples = samples[:after]
    return np.pad(samples, (max(0, before), max(0, after)), mode="symmetric")


@functools.lru_cache(maxsize=32)
def _tables(name: str, size: int, n_mels: int, fs: int) -> _Tables:
    """Tables for a window of `size` samples. Cached: an utterance shorter than a window has its own."""
    fft = max(2, 1 << (size - 1).bit_length())
    window = _window(name, size).astype(np.float32)
    mel = _mel_filters(n_mels, fft, fs).astype(np.float32)
    window.setflags(write=False)
    mel.setflags(write=False)
    return _Tables(window=window, mel=mel, fft=fft)


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
