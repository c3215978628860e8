"""Small speaker networks, voices and timelines, the same for the reference and for us. Needs numpy alone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CAMPPLUS = {"embedding_size": 24, "growth_rate": 4, "bn_size": 2, "init_channels": 16}
ERES2NETV2 = {"m_channels": 16, "embedding_size": 24, "num_blocks": [1, 2, 2, 1]}
LENGTHS = (9, 148, 201, 523)
"""Frames of the inputs: the shortest, a window, and more than one and two stretches of 100 after halving."""
SOUNDS = (5000, 24000, 26000, 64000)
"""Samples: shorter than a window, one, just longer, several."""

CLUSTERED = (
    (20, 2, None),
    (40, 1, None),
    (60, 2, 2),
    (100, 4, None),
    (272, 3, None),
    (273, 5, 5),
    (500, 6, None),
)
"""Windows, speakers, and the number that was told. All small enough for the default run."""


def weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """Numbers for every tensor, batch statistics included; they depend on its name and shape only."""
    made: dict[str, Any] = {}
    for name, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        if name.endswith("num_batches_tracked"):
            made[name] = np.zeros(shape, dtype=np.int64)
            continue
        values = rng.standard_normal(shape)
        if name.endswith("running_var"):
            values = 0.5 + rng.random(shape)
        elif len(shape) == 1:
            values = 0.1 * values + name.endswith("weight")
        else:
            values *= 1.4 / np.sqrt(np.prod(shape[1:]))
        made[name] = values.astype(np.float32)
    return made


def features(frames: int) -> np.ndarray:
    """(2, frames, 80) float32."""
    return np.random.default_rng(frames).standard_normal((2, frames, 80)).astype(np.float32)


def sound(samples: int) -> np.ndarray:
    """(samples,) float32: noise that swells, so that its frames differ."""
    rng = np.random.default_rng(samples)
    return (0.1 * rng.standard_normal(samples) * np.linspace(0.1, 1, samples)).astype(np.float32)


def voices(count: int, speakers: int, seed: int, size: int = 192) -> tuple[np.ndarray, np.ndarray]:
    """(count, size) float32 and whose each is: cosine 0.55 inside a speaker, 0.1 between two, in turns."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(size)
    own = rng.standard_normal((speakers, size))
    common /= np.linalg.norm(common)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    share = rng.dirichlet(np.full(speakers, 3.0))
    labels: list[int] = []
    while len(labels) < count:
        labels += [int(rng.choice(speakers, p=share))] * int(rng.integers(3, 15))
    whose = np.array(labels[:count])
    noise = rng.standard_normal((count, size)) / np.sqrt(size)
    made = np.sqrt(0.1) * common + np.sqrt(0.45) * own[whose] + np.sqrt(0.45) * noise
    return (made * rng.uniform(5, 12, (count, 1))).astype(np.float32), whose


def segments(seed: int) -> list[tuple[int, int]]:
    """Speech, [start_ms, end_ms), on a grid of 10 ms."""
    rng = np.random.default_rng(seed)
    found, now = [], 0
    for _ in range(rng.integers(1, 5)):
        now += int(rng.integers(0, 150)) * 10
        length = int(rng.integers(20, 900)) * 10
        found.append((now, now + length))
        now += length
    return found


def labels(count: int, seed: int) -> list[int]:
    """Whose each window is: speakers stay for some windows."""
    rng = np.random.default_rng(seed)
    found, now = [], 0
    for _ in range(count):
        if rng.random() < 0.2:
            now = int(rng.integers(0, 3))
        found.append(now)
    return found


def timeline(seed: int) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """Turns (start_ms, end_ms, speaker) and sentences (start_ms, end_ms)."""
    rng = np.random.default_rng(seed)
    turns, now = [], 0
    for _ in range(rng.integers(1, 9)):
        now += int(rng.integers(0, 3) == 0) * int(rng.integers(0, 1000))
        length = int(rng.integers(100, 3000))
        turns.append((now, now + length, int(rng.integers(0, 3))))
        now += length
    starts = [int(rng.integers(0, now)) for _ in range(4)]
    return turns, [(start, start + int(rng.integers(50, 4000))) for start in starts]
