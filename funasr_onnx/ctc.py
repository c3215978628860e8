"""Graphs of SenseVoice (`speech`, `language`, `textnorm` -> `ctc_logits`) as a `CtcNetwork`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.errors import InputError, ModelFilesError
from funasr.modeldir import ModelDir
from funasr.stages.protocols import CtcRow
from funasr.stages.sense_voice import EMOTION_AND_EVENT, QUERIES
from funasr_onnx.load import Graphs
from funasr_onnx.session import OnnxSession

INPUTS = ("speech", "speech_lengths", "language", "textnorm")

BATCH_FRAMES = 2048
"""Frames, padding included, that are computed at once: their scores of 25,055 ids are 200 MB."""


class OnnxSenseVoice:
    """Immutable: any number of threads may call one."""

    def __init__(self, session: OnnxSession) -> None:
        """Raises ModelFilesError for a graph of another kind."""
        self._session = session
        shapes = session.input_shapes
        if set(shapes) != set(INPUTS) or "ctc_logits" not in session.output_names:
            raise ModelFilesError(
                f"{session.path} has the inputs {', '.join(shapes)}: a SenseVoice has {', '.join(INPUTS)}"
            )
        self._width = shapes["speech"][2]

    @classmethod
    def of(cls, model: ModelDir, graphs: Graphs) -> OnnxSenseVoice:
        """The network of a directory."""
        return cls(graphs.open("model"))

    def infer(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        queries: Sequence[int],
        banned: Sequence[int] = (),
    ) -> list[CtcRow]:
        """features (B, T, input), lengths (B,) in frames -> one row each, equal to what it gives alone.

        Rows of no frames are answered for their queries. Raises InputError for features of another width, and
        for other queries than language, emotion, event and text form.
        """
        if features.ndim != 3 or features.shape[2] != self._width or len(lengths) != len(features):
            raise InputError(
                f"features of shape {features.shape} with {len(lengths)} lengths: this network takes "
                f"(batch, frames, {self._width}) and one length each"
            )
        if len(queries) != QUERIES or tuple(queries[1:-1]) != EMOTION_AND_EVENT:
            raise InputError(
                f"queries {list(queries)}: this graph takes a language, {EMOTION_AND_EVENT[0]}, "
                f"{EMOTION_AND_EVENT[1]}, and a form of text"
            )
        sizes = np.asarray(lengths)
        rows: list[CtcRow] = []
        for batch in _batches(sizes):
            logits = self._logits(features[batch], sizes[batch], queries[0], queries[-1])
            for frames, size in zip(logits, sizes[batch].tolist(), strict=True):
                rows.append(_best(frames[: QUERIES + size], banned))
        return rows

    def _logits(
        self, features: Features, sizes: NDArray[np.int64], language: int, textnorm: int
    ) -> NDArray[np.float32]:
        """-> (B, Q + T, V)."""
        longest = max(int(sizes.max()), 1)  # upstream's graph is not made for none
        speech = np.zeros((len(sizes), longest, features.shape[2]), dtype=np.float32)
        speech[:, : min(longest, features.shape[1])] = features[:, :longest]
        inputs = {
            "speech": speech,
            "speech_lengths": sizes.astype(np.int32),
            "language": np.full(len(sizes), language, dtype=np.int32),
            "textnorm": np.full(len(sizes), textnorm, dtype=np.int32),
        }
        logits: NDArray[np.float32] = self._session.run(inputs, ["ctc_logits"])[0]
        return logits


def _batches(sizes: NDArray[np.int64]) -> Iterator[slice]:
    """Neighbouring rows; every one occurs once."""
    start = longest = 0
    for row, size in enumerate(sizes.tolist()):
        longest = max(longest, size + QUERIES)
        if row > start and longest * (row + 1 - start) > BATCH_FRAMES:
            yield slice(start, row)
            start, longest = row, size + QUERIES
    if len(sizes):
        yield slice(start, len(sizes))


def _best(scores: NDArray[np.float32], banned: Sequence[int]) -> CtcRow:
    """scores (F, V) -> the best id of each frame that is not banned, and its probability."""
    if banned:
        scores[:, list(banned)] = -np.inf
    ids = scores.argmax(axis=-1)
    top = np.take_along_axis(scores, ids[:, None], axis=-1)
    np.subtract(scores, top, out=scores)
    np.exp(scores, out=scores)
    return CtcRow(ids=ids, confidences=1 / scores.sum(axis=-1))
