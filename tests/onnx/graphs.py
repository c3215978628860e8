"""Small networks as graphs, for tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from funasr.export.onnx import export_network
from funasr.modeldir import ModelDir
from funasr_onnx.load import Graphs, load_network
from funasr_onnx.session import OnnxSession
from tests.models.test_speaker_networks import network as speaker_network

_FOLDER = TemporaryDirectory()


def exported(network: nn.Module, folder: Path) -> OnnxSession:
    """Its `model.onnx`."""
    export_network(network, folder)
    return OnnxSession(folder / "model.onnx", intra_op_num_threads=1)


@cache
def speaker_graph(name: str) -> OnnxSession:
    """`campplus` or `eres2netv2`; written once, for CAM++ has many layers."""
    return exported(speaker_network(name), Path(_FOLDER.name) / name)


def loaded(folder: Path) -> Any:
    """The network of a model directory that has its graph."""
    return load_network(ModelDir.open(folder), Graphs(path=folder, intra_op_num_threads=1))


def noise(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
