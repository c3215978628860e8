"""Streaming networks of a few lines, and a recognizer over them with the real front end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from funasr.arrays import Features
from funasr.features.config import FrontendConfig
from funasr.features.frontend import WavFrontend
from funasr.stages.protocols import Chunk, ChunkRow, ChunkShape, StreamingAcousticNetwork
from funasr.stages.streaming import ParaformerStreamer
from funasr.text.tokenizer import CharTokenizer

VOCABULARY = [
    "<blank>",
    "<s>",
    "</s>",
    "今",
    "天",
    "hel@@",
    "lo",
    "a",
    "i",
    "好",
    "wor@@",
    "ld",
    "$",
    "<unk>",
]
FRONTEND = WavFrontend(FrontendConfig(dither=0.0, lfr_m=7, lfr_n=6))
TOKENIZER = CharTokenizer(VOCABULARY)
ROW = 960
"""Samples of a feature row, 60 ms."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    shape: ChunkShape
    frames: int = 0
    ahead: tuple[int, ...] = ()
    """What the rows say that were only looked ahead at."""

    @property
    def nbytes(self) -> int:
        return 8 * len(self.ahead)


class Hearing:
    """About every second row is a token, which one depends on all that is in the row."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        """Chunks of each call."""

    def initial_state(self, shape: ChunkShape) -> State:
        return State(shape=shape)

    def step(self, chunks: Sequence[Chunk]) -> list[tuple[ChunkRow, State]]:
        self.steps.append(len(chunks))
        return [self._hear(chunk) for chunk in chunks]

    def _hear(self, chunk: Chunk) -> tuple[ChunkRow, State]:
        state: State = chunk.state
        assert len(chunk.features) == state.shape.size or (
            chunk.final and len(chunk.features) <= state.shape.size
        )
        known = state.ahead + self.says(chunk.features, state.frames)
        held = 0 if chunk.final else min(state.shape.right, len(known))
        first = state.frames - len(state.ahead)
        told = [(first + i, id_) for i, id_ in enumerate(known[: len(known) - held]) if id_ >= 0]
        row = ChunkRow(
            ids=np.array([id_ for _, id_ in told], dtype=np.int64),
            confidences=np.array([1 - 0.01 * (frame % 50) for frame, _ in told], dtype=np.float32),
            ends=np.array([frame + 1 for frame, _ in told], dtype=np.float32),
        )
        after = replace(state, frames=state.frames + len(chunk.features), ahead=known[len(known) - held :])
        return row, after

    def says(self, features: Features, first: int) -> tuple[int, ...]:
        """Rows from `first` on -> the token each says, -1 for none."""
        sums = np.abs(features.astype(np.float64)).sum(axis=1) * 1000
        return tuple(int(s) // 2 % len(VOCABULARY) if int(s) % 2 else -1 for s in sums)


class Scripted(Hearing):
    """Says what it is told to, whatever it hears: {row: word}."""

    def __init__(self, script: dict[int, str]) -> None:
        super().__init__()
        self._script = {row: VOCABULARY.index(word) for row, word in script.items()}

    def says(self, features: Features, first: int) -> tuple[int, ...]:
        return tuple(self._script.get(first + i, -1) for i in range(len(features)))


class Failing:
    """Another network, whose n-th call fails, once."""

    def __init__(self, network: StreamingAcousticNetwork, at: int) -> None:
        self._network = network
        self._left = at

    def initial_state(self, shape: ChunkShape) -> object:
        return self._network.initial_state(shape)

    def step(self, chunks: Sequence[Chunk]) -> list[tuple[ChunkRow, object]]:
        self._left -= 1
        if self._left == -1:
            raise MemoryError("no room for this chunk")
        return self._network.step(chunks)


def streamer(
    network: StreamingAcousticNetwork | None = None, shape: ChunkShape | None = None
) -> ParaformerStreamer:
    return ParaformerStreamer(network or Hearing(), FRONTEND, TOKENIZER, shape=shape)


def silence(rows: float) -> np.ndarray:
    return np.zeros(int(rows * ROW), dtype=np.float32)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)
