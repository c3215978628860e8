"""Features -> what the graph of a streaming encoder takes: scaled, and with their positions added."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features


def enter(features: Features, starts: NDArray[np.float32], scale: float) -> Features:
    """features (B, T, D), frame 0 of each row at its position of `starts` (B,) -> (B, T, D).

    `scale` is the square root of the encoder's width. As torch's encoder does it (`funasr.nn.layers`):
    positions count from 1; all sines come first, then all cosines.
    """
    half = features.shape[2] // 2
    step = np.float32(np.log(10000.0) / (half - 1))
    scales = np.exp(np.arange(half, dtype=np.float32) * -step)
    places = starts[:, None] + np.arange(features.shape[1], dtype=np.float32)
    angles = places[..., None] * scales
    entered: Features = features * np.float32(scale) + np.concatenate([np.sin(angles), np.cos(angles)], -1)
    return entered
