"""The graph of a MonotonicAligner (`speech`, `speech_lengths` -> `us_alphas`) as an `AlignmentNetwork`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.config import section
from funasr.errors import InputError, ModelFilesError
from funasr.modeldir import ModelDir
from funasr_onnx.load import Graphs
from funasr_onnx.session import OnnxSession


class OnnxAligner:
    """Immutable: any number of threads may call one."""

    def __init__(self, session: OnnxSession, upsample_rate: int) -> None:
        """`upsample_rate`: R, weights in a frame. Raises ModelFilesError for a graph of another kind."""
        self._session = session
        self._rate = upsample_rate
        shapes = session.input_shapes
        if list(shapes) != ["speech", "speech_lengths"] or "us_alphas" not in session.output_names:
            raise ModelFilesError(
                f"{session.path} has the inputs {', '.join(shapes)}: an aligner has speech, speech_lengths"
            )
        self._width = shapes["speech"][2]

    @classmethod
    def of(cls, model: ModelDir, graphs: Graphs) -> OnnxAligner:
        """The network of a directory. Raises ModelFilesError where its settings do not tell R."""
        rate = section(model.config, "predictor_conf").get("upsample_times")
        if not isinstance(rate, int):
            raise ModelFilesError(
                f"{model.path}: config.yaml has predictor_conf.upsample_times {rate!r}; it must be the "
                "number of weights in a frame, 3 in released models"
            )
        return cls(graphs.open("model"), rate)

    @property
    def upsample_rate(self) -> int:
        """R."""
        return self._rate

    def weigh(self, features: Features, lengths: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """features (B, T, D), lengths (B,) >= 1 -> weights of each row (R * length,).

        Raises InputError for features of another width.
        """
        if features.ndim != 3 or features.shape[2] != self._width or len(lengths) != len(features):
            raise InputError(
                f"features of shape {features.shape} with {len(lengths)} lengths: this network takes "
                f"(batch, frames, {self._width}) and one length each"
            )
        sizes = np.asarray(lengths)
        inputs = {
            "speech": np.ascontiguousarray(features[:, : sizes.max()], dtype=np.float32),
            "speech_lengths": sizes.astype(np.int32),
        }
        [rows] = self._session.run(inputs, ["us_alphas"])
        ends = (sizes * self._rate).tolist()
        return [row[:end] for row, end in zip(rows, ends, strict=True)]
