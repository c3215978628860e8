"""`Fsmn_vad` and `Fsmn_vad_online`: upstream's classes and result shapes over the shared detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.audio.load import load_audio
from funasr.stages.assembly import build_detector
from funasr.stages.detector import all_or_nothing
from funasr.stages.vad import SpeechDetector, VadStream
from funasr.vad.segments import stream_pairs
from funasr_onnx.arguments import require_memory
from funasr_onnx.opening import open_model

Pairs = list[list[int]]
"""[[start_ms, end_ms], ...]; -1 stands for what is not known yet, or was told before."""

EXAMPLE = 'param_dict = {"is_final": False}'
_STREAM = "vad_stream"
"""Where a caller's `param_dict` holds our stream."""


def load_detector(
    model_dir: str | Path | None,
    *,
    quantize: bool = False,
    device_id: str | int = "-1",
    intra_op_num_threads: int = 4,
    batch_size: int = 1,
    unused: Mapping[str, Any] | None = None,
) -> SpeechDetector:
    """The detector of a directory, or of a name of the hub.

    Directories that others made of the released graph, with `fsmnvad-online.onnx`, are opened as they are.
    """
    opened = open_model(
        model_dir,
        ("FsmnVADStreaming",),
        quantize=quantize,
        device_id=device_id,
        intra_op_num_threads=intra_op_num_threads,
        batch_size=batch_size,
        unused=unused,
    )
    return build_detector(opened.model, opened.network)


class Fsmn_vad:  # noqa: N801 - upstream's name
    """Segments of whole recordings: `Fsmn_vad(model_dir)(audio)`. One serves any number of threads."""

    def __init__(
        self,
        model_dir: str | Path | None = None,
        batch_size: int = 1,
        device_id: str | int = "-1",
        quantize: bool = False,
        intra_op_num_threads: int = 4,
        max_end_sil: int | None = None,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        """`model_dir` is a directory or a name of the hub; `max_end_sil` overrides the model's silence in ms.

        `batch_size` and `cache_dir` are upstream's and change nothing here.
        """
        self._detector = load_detector(
            model_dir,
            quantize=quantize,
            device_id=device_id,
            intra_op_num_threads=intra_op_num_threads,
            batch_size=batch_size,
            unused=kwargs,
        )
        self._options = self._detector.options
        if max_end_sil is not None:
            self._options = self._options.override({"max_end_silence_time": max_end_sil})

    def __call__(
        self,
        audio_in: str | Path | NDArray[Any] | Sequence[str | Path],
        param_dict: dict[str, Any] | None = None,
    ) -> list[Pairs]:
        """A path, a list of paths, or samples (N,) at the model's rate -> one list of pairs a recording.

        `param_dict` is upstream's and holds nothing that is needed.
        """
        sources = audio_in if isinstance(audio_in, (list, tuple)) else [audio_in]
        return [self._segments(source) for source in sources]

    def _segments(self, source: Any) -> Pairs:
        rate = self._detector.fs
        samples = load_audio(source, rate, source_rate=rate if isinstance(source, np.ndarray) else None)
        return [[s.start_ms, s.end_ms] for s in self._detector.segments(samples, self._options)]


class Fsmn_vad_online(Fsmn_vad):  # noqa: N801 - upstream's name
    """Live streams: the caller's `param_dict` is the stream, so one object serves many."""

    def __call__(
        self,
        audio_in: str | Path | NDArray[Any] | Sequence[str | Path],
        param_dict: dict[str, Any] | None = None,
    ) -> list[Pairs]:
        """The next samples (N,) of a stream -> `[pairs]`, or `[]` when nothing happened.

        Pairs are `[start, -1]`, `[-1, end]` or `[start, end]`. `param_dict["is_final"]` ends the stream; the
        same dictionary then serves the next one. Without a dictionary the sound is a stream of its own.
        """
        memory: dict[str, Any] = (
            {"is_final": True} if param_dict is None else require_memory(param_dict, EXAMPLE)
        )
        stream = memory.get(_STREAM)
        if not isinstance(stream, VadStream):
            stream = memory[_STREAM] = self._detector.stream(self._options)
        rate = self._detector.fs
        last = bool(memory.get("is_final"))
        with all_or_nothing(stream):
            events = stream.accept(load_audio(audio_in, rate, source_rate=rate))
            if last:
                events += stream.flush()
        if last:
            del memory[_STREAM]
        pairs = stream_pairs(events)
        return [pairs] if pairs else []
