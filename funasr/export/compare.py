"""What a graph says on real input, beside what its network says on the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from funasr.errors import ExportError
from funasr.nn.graph import Graph
from funasr_onnx.session import OnnxSession

Arrays = dict[str, NDArray[Any]]

MOST_CALLS = 40
"""Of a graph that are remembered: streams make many short ones."""


@dataclass(frozen=True, slots=True)
class Call:
    """What went into a graph, and all that came out."""

    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True)
class Recorder:
    """Opens sessions whose first calls it remembers."""

    calls: dict[str, list[Call]] = field(default_factory=dict)
    """By the name of the file, without its suffix."""

    def open(self, path: Any, **options: Any) -> OnnxSession:
        session = _RecordingSession(path, **options)
        session.calls = self.calls.setdefault(session.path.stem, [])
        return session


class _RecordingSession(OnnxSession):
    calls: list[Call]

    def run(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None
    ) -> list[NDArray[Any]]:
        if len(self.calls) >= MOST_CALLS:
            return super().run(inputs, outputs)
        given = {name: np.array(value) for name, value in inputs.items()}  # callers may write on theirs
        made = dict(zip(self.output_names, super().run(inputs), strict=True))
        self.calls.append(Call(given, {name: np.array(value) for name, value in made.items()}))
        return [made[name] for name in outputs or self.output_names]


def largest_difference(graph: Graph, calls: Sequence[Call]) -> float:
    """Over all numbers that come out of the recorded calls. Whole numbers and shapes must be equal.

    Raises ExportError where they are not, and where nothing was recorded.
    """
    if not calls:
        raise ExportError(
            f"{graph.name}.onnx was not run by anything that it could be compared with: is there enough "
            "sound or text in the input? A second of speech does"
        )
    return max(_difference(graph, call) for call in calls)


def _difference(graph: Graph, call: Call) -> float:
    defaults = dict(zip(graph.inputs, graph.example, strict=True))
    with torch.inference_mode():
        given = [
            torch.from_numpy(call.inputs[name]) if name in call.inputs else default
            for name, default in defaults.items()
        ]
        answer = graph.module(*given)
    wanted = (answer,) if isinstance(answer, torch.Tensor) else answer
    largest = 0.0
    for name, tensor in zip(graph.outputs, wanted, strict=True):
        expected, got = tensor.numpy(), call.outputs[name]
        if name in graph.stepped or (expected.size == 0 and got.shape == _with_a_row(expected.shape)):
            continue
        if got.shape != expected.shape:
            raise ExportError(
                f"{graph.name}.onnx: {name} has the shape {got.shape}, and {expected.shape} in torch"
            )
        if got.dtype.kind in "iub" and not np.array_equal(got, expected):
            raise ExportError(f"{graph.name}.onnx: {name} is {got.tolist()}; in torch {expected.tolist()}")
        if got.size:
            distance = np.abs(got.astype(np.float64) - expected)
            largest = max(largest, float(np.where(np.isnan(distance), np.inf, distance).max()))
    return largest


def _with_a_row(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Where there is nothing to say graphs say one row, which nobody reads (`funasr.nn.layers.longest`)."""
    return tuple(max(size, 1) for size in shape)
