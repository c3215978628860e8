"""A model directory -> its ONNX files, beside its weights or in another folder, compared with torch."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from funasr.errors import ExportError, OptionError
from funasr.export.compare import Recorder, largest_difference
from funasr.export.metadata import metadata
from funasr.export.onnx import OPSET, network_graphs, write_graph
from funasr.export.quantize import SUFFIX, Int8Options, quantize_graph
from funasr.export.trials import Heard, Material, agreement, trial_of
from funasr.fingerprint import KEY, fingerprint
from funasr.modeldir import SETTINGS_NAMES, ModelDir
from funasr.nn.graph import Graph
from funasr.stages.assembly import OpenNetwork
from funasr_onnx.load import Graphs, load_network

TOLERANCE = 1e-3
"""Numbers of a graph are this close to torch's."""
THREADS = 1
"""Of a graph that is tried out: more would only wait for one another on a machine that has other work."""
SAME = 0.9999
"""Voices whose cosine is larger are the same."""
OTHER_TYPES = ("torchscript", "bladedisc", "onnx_fp16")
"""Forms that upstream writes and we do not."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written, and where."""

    type: str = "onnx"
    quantize: bool = False
    """Write model_quant.onnx, with integer weights, as well."""
    opset_version: int = OPSET
    output_dir: Path | None = None
    """None: beside the weights."""
    int8: Int8Options = field(default_factory=Int8Options)

    def __post_init__(self) -> None:
        if self.type in OTHER_TYPES:
            raise OptionError(f"type is {self.type!r}, which is not built; 'onnx' is, with quantize for int8")
        if self.type != "onnx":
            raise OptionError(f"type is {self.type!r}; it must be 'onnx'")
        if not 11 <= self.opset_version <= 20:
            raise OptionError(f"opset_version is {self.opset_version}; it must be 11 to 20")


@dataclass(frozen=True, kw_only=True)
class Written:
    """One file."""

    path: Path
    size: int
    """In bytes."""
    seconds: float
    difference: float | None = None
    """The largest one to torch, in all numbers that came out on real input. None of integer weights."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What became of a model."""

    folder: Path
    files: tuple[Written, ...]
    agreement: float | None = None
    """What is heard with integer weights, and with floats: the share that is the same."""


def export_model(
    directory: ModelDir,
    open_network: OpenNetwork,
    options: ExportOptions,
    material: Material | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Write the graphs of a model. `open_network` gives its network in torch, neither packed nor fused.

    Every graph is run by the same stage as the network, on real speech or text; files get their names when
    all is well. Raises ExportError where a graph is not what the network is, and what loading raises.
    """
    material = material or Material.bundled()
    weights = directory.require_weights()
    folder = options.output_dir or weights.parent
    _make_folder(folder)
    trial = trial_of(directory.model)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as made:
        opened: list[Any] = []

        def opening(vocab_size: int, input_size: int) -> Any:
            opened.append(open_network(vocab_size, input_size).eval())
            return opened[-1]

        stage = trial.build(directory, opening)
        made_of = {KEY: fingerprint(weights)}
        extra = {"model": metadata(directory)}
        graphs = [
            replace(one, metadata={**one.metadata, **extra.get(one.name, {}), **made_of})
            for one in network_graphs(opened[0])
        ]
        files = []
        for graph in graphs:
            start = time.perf_counter()
            path = write_graph(graph, Path(made), opset=options.opset_version)
            files.append(Written(path=path, size=path.stat().st_size, seconds=time.perf_counter() - start))
        recorder = Recorder()
        session = Graphs(path=Path(made), session=recorder.open, intra_op_num_threads=THREADS)
        heard = trial.hear(trial.build(directory, lambda *_: load_network(directory, session)), material)
        files = [
            replace(file, difference=_checked(graph, recorder))
            for graph, file in zip(graphs, files, strict=True)
        ]
        for file in files:
            tell(_line(file, folder))
        same = agreement(heard, trial.hear(stage, material))
        if same < SAME:
            raise ExportError(
                f"{directory.model}: torch and onnxruntime agree in {same:.2%} of {_what(heard)} only"
            )
        tell(f"on real input torch and onnxruntime give the same {_what(heard)}")
        quantized, kept = _quantized(directory, graphs, Path(made), heard, material, options, tell)
        for file in quantized:
            tell(_line(file, folder))
        if kept is not None:
            tell(f"with integer weights {kept:.2%} of the {_what(heard)} are the same")
        files = [replace(file, path=_settle(file.path, folder)) for file in (*files, *quantized)]
    if folder.resolve() != directory.path:
        copy_files(directory, folder)
    return Exported(folder=folder, files=tuple(files), agreement=kept)


def _make_folder(folder: Path) -> None:
    """Raises OptionError where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise OptionError(f"nothing can be written to {str(folder)!r}: give another folder as output_dir")


def _checked(graph: Graph, recorder: Recorder) -> float:
    difference = largest_difference(graph, recorder.calls.get(graph.name, []))
    if difference > TOLERANCE:
        raise ExportError(
            f"{graph.name}.onnx: a number differs from torch's by {difference:.2g}, which is more than "
            f"{TOLERANCE:g}; the file was not kept"
        )
    return difference


def _quantized(
    directory: ModelDir,
    graphs: list[Graph],
    made: Path,
    heard: Heard,
    material: Material,
    options: ExportOptions,
    tell: Callable[[str], None],
) -> tuple[list[Written], float | None]:
    if not options.quantize:
        return [], None
    files = []
    changed = []
    for graph in graphs:
        start = time.perf_counter()
        path = made / f"{graph.name}{SUFFIX}.onnx"
        plain = made / f"{graph.name}.onnx"
        changed.append(quantize_graph(plain, path, keep_float=graph.keep_float, options=options.int8))
        if not changed[-1]:
            shutil.copyfile(plain, path)
        files.append(Written(path=path, size=path.stat().st_size, seconds=time.perf_counter() - start))
    if not any(changed):
        tell(f"a {directory.model} gains nothing from integer weights: there is no model{SUFFIX}.onnx")
        return [], None
    trial = trial_of(directory.model)
    session = Graphs(path=made, quantize=True, intra_op_num_threads=THREADS)
    stage = trial.build(directory, lambda *_: load_network(directory, session))
    return files, agreement(heard, trial.hear(stage, material))


def _settle(path: Path, folder: Path) -> Path:
    target = folder / path.name
    os.replace(path, target)
    return target


def copy_files(directory: ModelDir, folder: Path) -> None:
    """All that runs a model but its weights: settings, vocabulary, statistics of features."""
    beside = (*SETTINGS_NAMES, "configuration.json", "README.md", "LICENSE")
    named = (
        directory.tokens,
        directory.seg_dict,
        directory.bpe_model,
        directory.cmvn,
        directory.jieba_usr_dict,
    )
    for path in (*(directory.path / name for name in beside), *named):
        if path is not None and path.is_file():
            shutil.copyfile(path, folder / path.name)
    if not any((folder / name).is_file() for name in SETTINGS_NAMES):
        # Known by the name of its weights, which are not there.
        (folder / SETTINGS_NAMES[0]).write_text(f"model: {directory.model}\n", encoding="utf-8")


def _line(file: Written, folder: Path) -> str:
    size = f"{folder / file.path.name}: {file.size / 1e6:.1f} MB, {file.seconds:.1f} s"
    if file.difference is None:
        return size
    return f"{size}, largest difference to torch {file.difference:.1e}"


def _what(heard: Heard) -> str:
    return f"{len(heard)} results"
