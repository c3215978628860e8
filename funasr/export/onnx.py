"""A network in torch -> its ONNX files, under their official names."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from funasr import registry
from funasr.nn.graph import Graph

OPSET = 14


def network_graphs(network: nn.Module) -> list[Graph]:
    """The graphs of a network that is neither packed nor fused, one for each file.

    Raises ModelNotFoundError for a class that has none.
    """
    name = next(
        (key for key in registry.EXPORTS if registry.lookup(registry.MODELS, key) is type(network)),
        type(network).__name__,
    )
    graphs: list[Graph] = registry.lookup(registry.EXPORTS, name, "export of the class")(network)
    return graphs


def export_network(network: nn.Module, folder: Path, *, opset: int = OPSET) -> list[Path]:
    """Write every graph of a network; it is left as it was. Raises ModelNotFoundError."""
    was_training = network.training
    try:
        network.eval()
        return [write_graph(graph, folder, opset=opset) for graph in network_graphs(network)]
    finally:
        network.train(was_training)


def write_graph(graph: Graph, folder: Path, *, opset: int = OPSET) -> Path:
    """-> the file `folder/<name>.onnx`."""
    path = folder / f"{graph.name}.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), warnings.catch_warnings():
        # The exporter that needs no further package; torch announces that it is the old one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph.module.eval(),
            graph.example,
            str(path),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={name: dict(axes) for name, axes in graph.axes.items()},
            opset_version=opset,
            dynamo=False,
        )
    if graph.optional or graph.further:
        _complete(graph, path)
    if graph.metadata:
        _append_metadata(graph.metadata, path)
    return path


def _complete(graph: Graph, path: Path) -> None:
    """What torch's exporter cannot do: defaults of optional inputs, outputs that are not listed."""
    import onnx
    from onnx import numpy_helper

    model: Any = onnx.load(str(path))
    for name, tensor in zip(graph.inputs, graph.example, strict=True):
        if name in graph.optional:
            # An initializer with the name of an input is that input's default.
            model.graph.initializer.append(numpy_helper.from_array(tensor.numpy(), name))
    for output in [one for one in model.graph.output if one.name in graph.further]:
        model.graph.output.remove(output)
    onnx.save(model, str(path))


def _append_metadata(texts: Mapping[str, str], path: Path) -> None:
    """Two messages one behind the other are one, in protocol buffers: the weights are not read for it."""
    import onnx

    model: Any = onnx.ModelProto()
    for key, value in texts.items():
        model.metadata_props.add(key=key, value=value)
    with path.open("ab") as file:
        file.write(model.SerializeToString())
