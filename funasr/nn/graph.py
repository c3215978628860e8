"""What a network is as ONNX files: `export.py` in its model's folder makes one of these for each file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A function of tensors, and the names that its inputs and outputs have in the file."""

    name: str
    """Of the file, without its suffix: `model` is written to model.onnx, and as integers to
    model_quant.onnx."""
    module: nn.Module
    """Calls the network; tensors in, a tensor or a tuple of tensors out."""
    example: tuple[Tensor, ...]
    """One of each input, in order. The result holds for other lengths along `axes`."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: Mapping[str, Mapping[int, str]]
    """Input or output -> which of its axes have any length, and what that length is called."""
    optional: tuple[str, ...] = ()
    """Inputs that a caller may leave out: they are then what `example` has."""
    further: tuple[str, ...] = ()
    """Outputs that only those get who ask for them (`OnnxSession`): others count what comes out."""
    keep_float: tuple[str, ...] = ()
    """Products in parts of the network with these in their names stay float when weights become integers."""
    stepped: tuple[str, ...] = ()
    """Outputs that jump where a sum reaches a threshold; rounding moves it, so they are not compared."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Texts that travel in the file, for programs that look for them there."""
