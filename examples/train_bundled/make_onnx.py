"""The bundled models as ONNX files beside their weights: what runs them where torch is not installed.

    python examples/train_bundled/make_onnx.py [bundled-asr ...]

Weights are stored in 16 bits and computed with in 32, which halves the files, where torch and the graph, as
it is stored, say the same about the sample recordings. Run it again after training one of the models.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from funasr import hub
from funasr.aliases import BUNDLED
from funasr.auto.options import LoadOptions
from funasr.auto.torch_network import plain_network
from funasr.export.model import SAME, ExportOptions, export_model
from funasr.export.trials import Material, agreement, trial_of
from funasr.modeldir import ModelDir
from funasr_onnx.load import Graphs, load_network

FEWEST_VALUES = 512
"""Smaller tensors stay as they are, and so do biases."""
SMALL = ("FsmnVADStreaming",)
"""Classes that are not worth it."""
EXACT = "predictor"
"""What decides where tokens fire: sums of it are compared with a threshold."""


def make(name: str) -> None:
    """Export one bundled model. Where 16 bits change what is said about the samples, the weights keep 32."""
    directory = ModelDir.open(hub.resolve(name))

    def torch_network(vocab_size: int, input_size: int) -> Any:
        return plain_network(directory, LoadOptions(device="cpu"), vocab_size, input_size).eval()

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        exported = export_model(directory, torch_network, ExportOptions(output_dir=folder))
        files = [file.path for file in exported.files]
        trial, material = trial_of(directory.model), Material.bundled()
        expected = trial.hear(trial.build(directory, torch_network), material)
        whole = [path.read_bytes() for path in files]
        if directory.model not in SMALL:
            for path in files:
                store_in_half(path)
        graphs = Graphs(path=folder, intra_op_num_threads=1)
        heard = trial.hear(trial.build(directory, lambda *_: load_network(directory, graphs)), material)
        if agreement(heard, expected) < SAME:
            for path, content in zip(files, whole, strict=True):
                path.write_bytes(content)
        for path, content in zip(files, whole, strict=True):
            shutil.copyfile(path, directory.path / path.name)
            bits = 16 if path.stat().st_size < len(content) else 32
            size = path.stat().st_size / 1e6
            print(f"{directory.path.name}/{path.name}: {size:.2f} MB, weights of {bits} bits", flush=True)


def store_in_half(path: Path) -> None:
    """Large float32 constants of a graph become float16, and are cast back where they are used."""
    model = onnx.load(str(path))
    graph = model.graph
    given = {one.name for one in graph.input}  # defaults of inputs are no constants
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in given or EXACT in tensor.name:
            continue
        values = numpy_helper.to_array(tensor)
        large = values.ndim > 1 and values.size >= FEWEST_VALUES
        if not large or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(path))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", help="default: all of them")
    options = parser.parse_args(argv)
    for name in options.name or [model.name for model in BUNDLED]:
        make(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
