"""The network of the package `silero-vad` through onnxruntime; neither its code nor torch is imported."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from funasr.errors import MissingDependencyError
from funasr.stages.silero import SileroDetector, SileroOptions
from funasr_onnx.session import OnnxSession


def load_silero(options: SileroOptions | None = None, *, intra_op_num_threads: int = 1) -> SileroDetector:
    """Raises MissingDependencyError where the package is not installed."""
    chosen = options or SileroOptions()
    folder = _graphs()
    if chosen.silero_sampling_rate == 16000 and (folder / "silero_vad_16k_sequence.onnx").is_file():
        session = OnnxSession(
            folder / "silero_vad_16k_sequence.onnx", intra_op_num_threads=intra_op_num_threads
        )
        return SileroDetector(SileroSequence(session), chosen)
    session = OnnxSession(folder / "silero_vad.onnx", intra_op_num_threads=intra_op_num_threads)
    return SileroDetector(SileroWindows(session, chosen.silero_sampling_rate), chosen)


@dataclass(frozen=True)
class SileroMemory:
    """What one stream remembers."""

    context: NDArray[np.float32]
    """The end of the last window."""
    states: tuple[NDArray[np.float32], ...]

    @property
    def nbytes(self) -> int:
        return self.context.nbytes + sum(state.nbytes for state in self.states)


class SileroSequence:
    """The graph for many windows in one call: input (N, 576), h and c (1, 1, 128) -> speech_probs (N,)."""

    window_samples = 512
    _context = 64

    def __init__(self, session: OnnxSession) -> None:
        self._session = session

    def initial_state(self) -> SileroMemory:
        zeros = np.zeros((1, 1, 128), dtype=np.float32)
        return SileroMemory(np.zeros(self._context, dtype=np.float32), (zeros, zeros))

    def score(
        self, windows: NDArray[np.float32], state: SileroMemory
    ) -> tuple[NDArray[np.float32], SileroMemory]:
        """windows (N, 512) -> probability of speech (N,), and the next state."""
        if len(windows) == 0:
            return np.zeros(0, dtype=np.float32), state
        joined = _with_context(windows, state.context)
        h, c = state.states
        scores, h, c = self._session.run({"input": joined, "h": h, "c": c}, ["speech_probs", "hn", "cn"])
        return scores, SileroMemory(windows[-1, -self._context :].copy(), (h, c))


class SileroWindows:
    """The graph for one window a call, 16 or 8 kHz: input (1, 576 or 288), state (2, 1, 128), sr."""

    def __init__(self, session: OnnxSession, rate: int) -> None:
        self._session = session
        self._rate = np.array(rate, dtype=np.int64)
        self.window_samples = 512 if rate == 16000 else 256
        self._context = self.window_samples // 8

    def initial_state(self) -> SileroMemory:
        return SileroMemory(
            np.zeros(self._context, dtype=np.float32), (np.zeros((2, 1, 128), dtype=np.float32),)
        )

    def score(
        self, windows: NDArray[np.float32], state: SileroMemory
    ) -> tuple[NDArray[np.float32], SileroMemory]:
        """windows (N, 512 or 256) -> probability of speech (N,), and the next state."""
        if len(windows) == 0:
            return np.zeros(0, dtype=np.float32), state
        joined = _with_context(windows, state.context)
        memory = state.states[0]
        scores = np.empty(len(windows), dtype=np.float32)
        for at, window in enumerate(joined):
            inputs = {"input": window[None], "state": memory, "sr": self._rate}
            output, memory = self._session.run(inputs, ["output", "stateN"])
            scores[at] = output[0, 0]
        return scores, SileroMemory(windows[-1, -self._context :].copy(), (memory,))


def _with_context(windows: NDArray[np.float32], before: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each window behind the end of the one before it: (N, W) -> (N, C + W)."""
    ends = windows[:-1, -len(before) :]
    return np.concatenate([np.concatenate([before[None], ends]), windows], axis=1)


def _graphs() -> Path:
    """The folder of the package, found without importing it: that would import torch."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "silero-vad", "The detector silero-vad", "pip install --no-deps silero-vad"
        )
    return Path(spec.submodule_search_locations[0]) / "data"
