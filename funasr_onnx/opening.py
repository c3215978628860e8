"""What the classes are constructed with -> a model directory and its graphs, made where they are missing."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from funasr import hub
from funasr.errors import ModelFilesError
from funasr.modeldir import ModelDir
from funasr_onnx.arguments import construction, require_place, tell_unused
from funasr_onnx.load import NETWORKS, Graphs, load_network

logger = logging.getLogger(__name__)

OPTIONS = (
    *("model_dir", "batch_size", "device_id", "quantize", "intra_op_num_threads", "cache_dir"),
    *("chunk_size", "max_end_sil", "plot_timestamp_to"),
)
"""Of all constructors; to tell the nearest of a misspelt one."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A directory and how its graphs are run."""

    model: ModelDir
    graphs: Graphs

    def network(self, vocab_size: int = 0, input_size: int = 0) -> Any:
        """The network of the directory; its graph knows the sizes."""
        return load_network(self.model, self.graphs)


def open_model(
    model_dir: str | Path | None,
    classes: Sequence[str],
    *,
    quantize: bool,
    device_id: str | int,
    intra_op_num_threads: int,
    batch_size: int = 1,
    unused: Mapping[str, Any] | None = None,
) -> Opened:
    """`model_dir`: a directory or a name of the hub. `classes`: official names of what it may hold, the first
    of which is taken for a directory that does not say.

    A graph that is missing is made from the weights where torch is installed, as upstream does; else the
    error says how. `unused` are options that nobody knows. Raises OptionError for values that cannot be,
    ModelFilesError, ModelNotFoundError, HubError.
    """
    how = construction(
        batch_size=batch_size,
        quantize=quantize,
        device_id=device_id,
        intra_op_num_threads=intra_op_num_threads,
    )
    tell_unused(unused or (), OPTIONS)
    name = require_place(model_dir)
    path = Path(name) if os.path.isdir(name) else hub.resolve(name)
    model = ModelDir.open(path)
    if model.model not in NETWORKS:
        model = replace(model, model=classes[0])
    if model.model not in classes:
        raise ModelFilesError(f"{path} holds a {model.model}; this class runs a {' or '.join(classes)}")
    graphs = Graphs(
        path=model.path,
        quantize=how.quantize,
        device_id=how.device_id,
        intra_op_num_threads=how.intra_op_num_threads,
    )
    if graphs.file("model", "fsmnvad-online", "fsmnvad-offline") is None and model.weights is not None:
        _make_graphs(model.path, quantize)
    return Opened(model=model, graphs=graphs)


def _make_graphs(path: Path, quantize: bool) -> None:
    """Export in a process of its own, so that torch is not in this one. Raises ModelFilesError."""
    try:
        if importlib.util.find_spec("torch") is None:
            return  # opening the graph says what to do
    except (ImportError, ValueError):
        return
    logger.warning("%s has no %s.onnx; making it now", path, "model_quant" if quantize else "model")
    command = ["-m", "funasr.bin.export", f"++model={path}", f"++quantize={str(quantize).lower()}"]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
        raise ModelFilesError(f"{path} has no graph, and making it failed: {last}. {' '.join(command)}")
