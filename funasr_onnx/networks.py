"""Exported graphs as the networks that the stages know (`funasr.stages.protocols`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.config import section
from funasr.errors import ModelFilesError
from funasr.modeldir import ModelDir
from funasr.vad.options import VadOptions
from funasr_onnx.load import Graphs
from funasr_onnx.session import OnnxSession

# Activations of this many frames stay in the cache; longer input is a stream of blocks.
BLOCK_FRAMES = 3000


@dataclass(frozen=True)
class FsmnVadMemory:
    """What streams remember between chunks."""

    pasts: tuple[NDArray[np.float32], ...]
    """One (B, P, L, 1) array a layer."""

    @property
    def nbytes(self) -> int:
        return sum(past.nbytes for past in self.pasts)


class FsmnVadScorer:
    """fsmn-vad's graph (`speech`, `in_cache0..` -> `logits`, `out_cache0..`) as a `FrameScorer`."""

    def __init__(self, session: OnnxSession, sil_pdf_ids: Sequence[int] = (0,)) -> None:
        """`sil_pdf_ids`: classes that mean silence. Raises ModelFilesError for a graph of another kind."""
        self._session = session
        self._silence = list(sil_pdf_ids)
        shapes = session.input_shapes
        self._caches = [name for name in shapes if name.startswith("in_cache")]
        if "speech" not in shapes or not self._caches or "logits" not in session.output_names:
            raise ModelFilesError(
                f"{session.path} has the inputs {', '.join(shapes)}: "
                "a streaming fsmn-vad has speech, in_cache0, ..."
            )
        self._outputs = ["logits", *(name.replace("in_", "out_") for name in self._caches)]
        self._shapes = [[int(axis) for axis in shapes[name][1:] if axis is not None] for name in self._caches]
        # Upstream's graphs take one stream at a time, ours any number.
        self._single = shapes["speech"][0] == 1

    @classmethod
    def of(cls, model: ModelDir, graphs: Graphs) -> FsmnVadScorer | FsmnVadWholeScorer:
        """The network of a directory. Others published the released graphs as `fsmnvad-online.onnx`, and,
        without memory, `fsmnvad-offline.onnx`.
        """
        options = VadOptions.from_official(section(model.config, "model_conf"))
        session = graphs.open("model", "fsmnvad-online", "fsmnvad-offline")
        if list(session.input_shapes) == ["speech"]:
            encoder = section(model.config, "encoder_conf")
            layers, order = int(encoder.get("fsmn_layers", 4)), int(encoder.get("lorder", 20))
            return FsmnVadWholeScorer(session, layers * (order - 1), options.sil_pdf_ids)
        return cls(session, options.sil_pdf_ids)

    def initial_state(self, batch: int = 1) -> FsmnVadMemory:
        """The memory of `batch` streams that have heard nothing."""
        return FsmnVadMemory(tuple(np.zeros((batch, *shape), dtype=np.float32) for shape in self._shapes))

    def score(self, features: Features, state: FsmnVadMemory) -> tuple[NDArray[np.float32], FsmnVadMemory]:
        """features (B, T, D) -> probability of silence (B, T), and the next state."""
        if self._single and len(features) > 1:
            rows = [
                self._score(row[None], FsmnVadMemory(tuple(past[at : at + 1] for past in state.pasts)))
                for at, row in enumerate(features)
            ]
            pasts = zip(*(memory.pasts for _, memory in rows), strict=True)
            joined = FsmnVadMemory(tuple(np.concatenate(layer) for layer in pasts))
            return np.concatenate([scores for scores, _ in rows]), joined
        return self._score(features, state)

    def _score(self, features: Features, state: FsmnVadMemory) -> tuple[NDArray[np.float32], FsmnVadMemory]:
        scores = np.empty(features.shape[:2], dtype=np.float32)
        pasts = state.pasts
        for start in range(0, features.shape[1], BLOCK_FRAMES):
            block = slice(start, start + BLOCK_FRAMES)
            inputs = {"speech": features[:, block], **dict(zip(self._caches, pasts, strict=True))}
            logits, *caches = self._session.run(inputs, self._outputs)
            scores[:, block] = logits[:, :, self._silence].sum(-1)
            pasts = tuple(caches)
        return scores, FsmnVadMemory(pasts)


@dataclass(frozen=True)
class FsmnVadFrames:
    """What streams remember of a network that remembers nothing: the frames that it looks back at."""

    frames: NDArray[np.float32]
    """(B, at most `context`, D)"""

    @property
    def nbytes(self) -> int:
        return self.frames.nbytes


class FsmnVadWholeScorer:
    """fsmn-vad's graph for whole recordings (`speech` -> `logits`) as a `FrameScorer`, of streams too.

    A frame depends on `context` frames before it and on none after it, so these are read again.
    """

    def __init__(self, session: OnnxSession, context: int, sil_pdf_ids: Sequence[int] = (0,)) -> None:
        self._session, self._context, self._silence = session, context, list(sil_pdf_ids)
        self._width = int(session.input_shapes["speech"][2] or 0)

    def initial_state(self, batch: int = 1) -> FsmnVadFrames:
        """The memory of `batch` streams that have heard nothing."""
        return FsmnVadFrames(np.zeros((batch, 0, self._width), dtype=np.float32))

    def score(self, features: Features, state: FsmnVadFrames) -> tuple[NDArray[np.float32], FsmnVadFrames]:
        """features (B, T, D) -> probability of silence (B, T), and the next state."""
        scores = np.empty(features.shape[:2], dtype=np.float32)
        past = state.frames
        for start in range(0, features.shape[1], BLOCK_FRAMES):
            block = features[:, start : start + BLOCK_FRAMES]
            seen = np.concatenate([past, block], axis=1)
            for row, frames in enumerate(seen):
                [logits] = self._session.run({"speech": frames[None]}, ["logits"])
                silence = logits[0, past.shape[1] :, self._silence].sum(0)
                scores[row, start : start + BLOCK_FRAMES] = silence
            past = seen[:, max(seen.shape[1] - self._context, 0) :].copy()
        return scores, FsmnVadFrames(past)
