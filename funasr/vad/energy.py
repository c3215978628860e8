"""Samples -> loudness of each frame in decibels, for the endpointer's energy gates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import NO_SAMPLES, Samples, read_only
from funasr.vad.options import VadOptions


class EnergyMeter:
    """Frames of one stream, in step with the features: as many values as complete frames so far."""

    def __init__(self, options: VadOptions, waiting: Samples = NO_SAMPLES) -> None:
        """`waiting` is that of another meter, to go on where that one stood."""
        self._hop = options.sample_rate * options.frame_in_ms // 1000
        self._length = options.sample_rate * options.frame_length_ms // 1000
        self.waiting = waiting
        """(N,) samples that no whole frame covers yet; read-only."""

    def accept(self, samples: Samples) -> NDArray[np.float64]:
        """samples (N,) -> decibels (frames completed,): 10 log10(sum of squares + 1e-6); silence has -60."""
        joined = np.concatenate([self.waiting, samples])
        count = max((len(joined) - self._length) // self._hop + 1, 0)
        if count == 0:
            self.waiting = read_only(joined)
            return np.zeros(0)
        frames = np.lib.stride_tricks.sliding_window_view(joined, self._length)[:: self._hop][:count]
        energy = np.einsum("ts,ts->t", frames, frames, dtype=np.float64)
        self.waiting = read_only(joined[count * self._hop :].copy())
        return np.asarray(10.0 * np.log10(energy + 1e-6))
