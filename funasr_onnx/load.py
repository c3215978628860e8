"""A model directory with ONNX graphs -> the network that its stage takes (`funasr.stages.protocols`)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from funasr.errors import ModelFilesError, ModelNotFoundError, did_you_mean
from funasr.fingerprint import KEY, fingerprint
from funasr.modeldir import ModelDir
from funasr_onnx.session import OnnxSession

NETWORKS = {
    "Paraformer": "funasr_onnx.acoustic:OnnxParaformer",
    "BiCifParaformer": "funasr_onnx.acoustic:OnnxParaformer",
    "SeacoParaformer": "funasr_onnx.acoustic:OnnxParaformer",
    "ContextualParaformer": "funasr_onnx.acoustic:OnnxParaformer",
    "ParaformerStreaming": "funasr_onnx.streaming:OnnxParaformerStreaming",
    "SenseVoiceSmall": "funasr_onnx.ctc:OnnxSenseVoice",
    "MonotonicAligner": "funasr_onnx.aligner:OnnxAligner",
    "FsmnVADStreaming": "funasr_onnx.networks:FsmnVadScorer",
    "CAMPPlus": "funasr_onnx.speaker:OnnxCampplus",
    "ERes2NetV2": "funasr_onnx.speaker:OnnxEres2NetV2",
    "CTTransformer": "funasr_onnx.punctuation:OnnxPunctuation",
    "CTTransformerStreaming": "funasr_onnx.punctuation:OnnxPunctuation",
}
"""Official class name -> `module:Class`; the class has `of(model: ModelDir, graphs: Graphs)`."""


@dataclass(frozen=True, kw_only=True)
class Graphs:
    """The ONNX files of a directory, and how they are run."""

    path: Path
    quantize: bool = False
    """Files with integer weights, `<name>_quant.onnx`."""
    device_id: str | int = "-1"
    intra_op_num_threads: int = 4
    weights: Path | None = None
    """The weight file beside the graphs, where there is one: a graph that was made of others is not run."""
    session: Callable[..., OnnxSession] = OnnxSession
    """What opens a file; takes what OnnxSession does."""

    @property
    def _suffix(self) -> str:
        return "_quant.onnx" if self.quantize else ".onnx"

    def file(self, *names: str) -> Path | None:
        """The first of these graphs (`model`, `decoder`, ...) that is there."""
        paths = (self.path / f"{name}{self._suffix}" for name in names)
        return next((path for path in paths if path.is_file()), None)

    def open(self, *names: str, further: Sequence[str] = ()) -> OnnxSession:
        """The first of these graphs that is there, with `further` outputs of it where it has them.

        Raises ModelFilesError, which says how to make it; also where it was made of other weights than those
        beside it. Graphs of other exporters do not say what they were made of, and are run.
        """
        found = self.file(*names)
        if found is None:
            raise ModelFilesError(f"{self.path} has no {names[0]}{self._suffix}. To make it: {self._command}")
        threads = self.intra_op_num_threads
        asked = {"further": further} if further else {}
        session = self.session(found, device_id=self.device_id, intra_op_num_threads=threads, **asked)
        made_of = session.metadata.get(KEY)
        if made_of and self.weights is not None and made_of != fingerprint(self.weights):
            raise ModelFilesError(
                f"{found} was made of other weights than those of {self.weights.name} now. "
                f"To make it again: {self._command}"
            )
        return session

    @property
    def _command(self) -> str:
        return f"funasr-export ++model={self.path}" + " ++quantize=true" * self.quantize


def load_network(model: ModelDir, graphs: Graphs) -> Any:
    """The network of a directory. Raises ModelFilesError, ModelNotFoundError for a class without one."""
    name = model.model or "FsmnVADStreaming"
    if name not in NETWORKS:
        raise ModelNotFoundError(
            f"no ONNX form of {name!r} in this release{did_you_mean(name, NETWORKS) or '.'} "
            f"It has {', '.join(sorted(NETWORKS))}."
        )
    module, _, attribute = NETWORKS[name].partition(":")
    beside = replace(graphs, weights=model.weights)
    return getattr(importlib.import_module(module), attribute).of(model, beside)
