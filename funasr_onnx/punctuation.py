"""Graphs of CT-Transformer (`inputs`, `text_lengths` -> `logits`) as a `PunctuationNetwork`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.errors import ModelFilesError
from funasr.modeldir import ModelDir
from funasr_onnx.load import Graphs
from funasr_onnx.session import OnnxSession

WORDS_AT_ONCE = 640
"""Words computed at once, padding included: their activations stay in the cache. Those of thousands do not,
which costs 12 to 30 % more time in float32, and 50 % in integers."""


class OnnxPunctuation:
    """For whole texts or live ones: a graph of live texts also takes `vad_masks` and `sub_masks`."""

    def __init__(self, session: OnnxSession) -> None:
        """Raises ModelFilesError for a graph of another kind."""
        self._session = session
        shapes = session.input_shapes
        if not {"inputs", "text_lengths"} <= set(shapes) or "logits" not in session.output_names:
            raise ModelFilesError(
                f"{session.path} has the inputs {', '.join(shapes)}: a CT-Transformer has inputs and "
                "text_lengths"
            )
        self._live = "vad_masks" in shapes
        # Upstream's graph of live texts takes one at a time, ours any number.
        self._single = shapes["inputs"][0] == 1

    @classmethod
    def of(cls, model: ModelDir, graphs: Graphs) -> OnnxPunctuation:
        """The network of a directory."""
        return cls(graphs.open("model"))

    def label(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64], boundaries: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """ids (B, T), lengths (B,) >= 1 -> the best label of each word (B, T); meaningless at padding.

        boundaries (B,): how many words of each row earlier calls have seen.
        """
        if boundaries is None:
            boundaries = np.zeros(len(lengths), dtype=np.int64)
        rows = 1 if self._single else max(WORDS_AT_ONCE // max(ids.shape[1], 1), 1)
        labels = np.zeros(ids.shape, dtype=np.int64)
        for start in range(0, len(ids), rows):
            part = slice(start, start + rows)
            longest = int(lengths[part].max())
            labels[part, :longest] = self._label(ids[part, :longest], lengths[part], boundaries[part])
        return labels

    def _label(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64], boundaries: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        inputs: dict[str, NDArray[Any]] = {
            "inputs": ids.astype(np.int32),
            "text_lengths": lengths.astype(np.int32),
        }
        if self._live:
            size = ids.shape[1]
            inputs["vad_masks"] = boundary_masks(size, lengths, boundaries)
            inputs["sub_masks"] = np.tile(np.tri(size, dtype=np.float32), (len(ids), 1, 1, 1))
        [logits] = self._session.run(inputs, ["logits"])
        labels: NDArray[np.int64] = logits.argmax(axis=-1)
        return labels


def boundary_masks(
    size: int, lengths: NDArray[np.int64], boundaries: NDArray[np.int64]
) -> NDArray[np.float32]:
    """lengths (B,), boundaries (B,) -> (B, 1, T, T), 1.0 where row sees column.

    With p words before the boundary, rows 0..p-2 do not see columns p and later. A boundary outside of the
    text is none.
    """
    words = np.arange(size)
    before = words[:, None] < (boundaries - 1)[:, None, None, None]
    after = words >= boundaries[:, None, None, None]
    inside = ((boundaries > 0) & (boundaries < lengths))[:, None, None, None]
    seen: NDArray[np.float32] = np.where(before & after & inside, np.float32(0.0), np.float32(1.0))
    return seen
