"""Low frame rate: frames (F, D) -> rows (ceil(F / n), m * D), one every n frames, of m frames each."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from funasr.arrays import Features


def stack_frames(frames: Features, m: int, n: int) -> Features:
    """(F, D) -> (L, m * D), L = ceil(F / n). Read-only: rows may share memory.

    Row i holds the frame i * n - (m - 1) // 2 and the m - 1 after it; the first and the last frame stand for
    what would lie before and after them.
    """
    count = len(frames)
    if count == 0:
        return np.empty((0, m * frames.shape[1]), dtype=np.float32)
    rows = -(-count // n)
    before = (m - 1) // 2
    after = max(0, (rows - 1) * n + m - before - count)
    return stacked(extended(frames, before, after), rows, m, n)


def extended(frames: Features, before: int, after: int) -> Features:
    """(F, D), F > 0 -> (before + F + after, D): the first and the last frame repeated."""
    parts = (np.repeat(frames[:1], before, axis=0), frames, np.repeat(frames[-1:], after, axis=0))
    return np.concatenate(parts)


def stacked(frames: Features, rows: int, m: int, n: int) -> Features:
    """(F, D) -> a view (rows, m * D) whose row i holds the frames i * n to i * n + m - 1."""
    frames = np.ascontiguousarray(frames)
    width = frames.shape[1]
    return as_strided(frames, (rows, m * width), (n * frames.strides[0], frames.strides[1]), writeable=False)
