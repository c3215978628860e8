"""Graphs of speaker networks (`speech` -> `embedding`) as an `Embedder`."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.errors import ModelFilesError
from funasr.modeldir import ModelDir
from funasr_onnx.load import Graphs
from funasr_onnx.session import OnnxSession

E = TypeVar("E", bound="SpeakerNetwork")


class SpeakerNetwork:
    """Immutable: any number of threads may call one."""

    min_frames: ClassVar[int]
    """Speech of fewer frames has no voice."""

    ROWS: ClassVar[int]
    """Windows computed at once: more are not faster, and their activations are large."""

    def __init__(self, session: OnnxSession) -> None:
        """Raises ModelFilesError for a graph of another kind."""
        self._session = session
        shape = session.input_shapes.get("speech", [])
        voices = session.output_shapes.get("embedding", [])
        if list(session.input_shapes) != ["speech"] or len(shape) != 3 or len(voices) != 2:
            raise ModelFilesError(
                f"{session.path} has the inputs {', '.join(session.input_shapes)} and the outputs "
                f"{', '.join(session.output_names)}: a speaker network has speech and embedding"
            )
        self.feature_size = int(shape[2] or 0)
        self.size = int(voices[1] or 0)

    @classmethod
    def of(cls: type[E], model: ModelDir, graphs: Graphs) -> E:
        """The network of a directory."""
        return cls(graphs.open("model"))

    def embed(self, features: Features) -> NDArray[np.float32]:
        """features (B, T, D), every row of that length, T >= min_frames -> (B, E), each what it is alone."""
        voices = np.empty((len(features), self.size), dtype=np.float32)
        for start in range(0, len(features), self.ROWS):
            chunk = np.ascontiguousarray(features[start : start + self.ROWS], dtype=np.float32)
            [voices[start : start + self.ROWS]] = self._session.run({"speech": chunk}, ["embedding"])
        return voices


class OnnxCampplus(SpeakerNetwork):
    """CAM++."""

    min_frames = 3
    ROWS = 8


class OnnxEres2NetV2(SpeakerNetwork):
    """ERes2NetV2."""

    min_frames = 9
    ROWS = 8
