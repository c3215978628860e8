"""A graph of floats -> the same with integer weights, which is a quarter of its size and faster on a CPU.

Weights become int8 once, a scale for each column; activations uint8 at every call, a scale for each array.
Only products with a weight change. Convolutions, embeddings and products of two activations stay float.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funasr.errors import MissingDependencyError, install_extra

SUFFIX = "_quant"
"""model.onnx -> model_quant.onnx."""


@dataclass(frozen=True, kw_only=True)
class Int8Options:
    """How integers are made. The defaults are the fastest on any machine of the last years."""

    signed: bool = True
    """Weights of -127..127 and no offset; upstream's are 0..255."""
    reduce_range: bool = False
    """Weights of 7 bits. On x86 without VNNI (before 2019) two products of a larger one may not fit."""
    lstm: bool = True
    """LSTM layers too."""


def quantize_graph(
    source: Path, target: Path, *, keep_float: Sequence[str] = (), options: Int8Options | None = None
) -> bool:
    """Write `target`. Products in parts of the network with `keep_float` in their names stay as they are.

    False, and nothing is written, where that leaves no product to change. Raises MissingDependencyError
    without the package onnx.
    """
    options = options or Int8Options()
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ModuleNotFoundError as error:
        raise MissingDependencyError("onnx", "Export", install_extra("export")) from error
    model: Any = onnx.load(str(source))
    _name_weights_once(model)
    # What says that onnxruntime's own preparation was done; without, it gives advice to all who log anything.
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    kinds = ["MatMul", "LSTM"] if options.lstm else ["MatMul"]
    weights = {one.name for one in model.graph.initializer}
    products = [
        node
        for node in model.graph.node
        if node.op_type in (*kinds, "Gemm") and node.input[1] in weights  # of two activations neither is one
    ]
    kept = [node for node in products if any(part in node.name for part in keep_float)]
    if len(kept) == len(products):
        return False
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        quantize_dynamic(
            model,
            str(made),
            op_types_to_quantize=kinds,
            per_channel=True,
            reduce_range=options.reduce_range,
            weight_type=QuantType.QInt8 if options.signed else QuantType.QUInt8,
            # What torch writes as Gemm is a MatMul of another name by the time that it would be changed.
            nodes_to_exclude=[f"{one.name}_MatMul" if one.op_type == "Gemm" else one.name for one in kept],
            # Of a product of two activations neither is a weight.
            extra_options={"MatMulConstBOnly": True},
        )
        made.replace(target)
    return True


def _name_weights_once(model: Any) -> None:
    """A weight that is used twice has a second name in torch's graphs, under which none would be found."""
    weights = {one.name for one in model.graph.initializer}
    same = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in weights
    }
    for node in model.graph.node:
        if node.op_type != "Identity":
            node.input[:] = [same.get(name, name) for name in node.input]
