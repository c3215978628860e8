"""A model directory -> its network, by torch or by onnxruntime: the one place that chooses between them."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from funasr import registry
from funasr.auto.options import AutoModelOptions, LoadOptions
from funasr.auto.torch_network import TORCH_COMMAND, choose_device, has_torch, torch_network
from funasr.errors import MissingDependencyError, ModelFilesError, OptionError
from funasr.modeldir import ModelDir

if TYPE_CHECKING:
    from funasr_onnx.load import Graphs

logger = logging.getLogger(__name__)

FLOATS_ONLY = frozenset({"CAMPPlus", "ERes2NetV2"})
"""Integer weights would make them no faster, and their voices others: export writes none."""
DETECTORS = frozenset({"FsmnVADStreaming", "FsmnVAD"})
SETTINGS_OF_THE_NETWORK = ("encoder", "decoder", "predictor", "seaco_decoder", "model")
"""Sections of config.yaml that a graph has taken in when it was made."""
MANY_THREADS = 8
"""More threads of one network wait for one another."""


def open_network(options: AutoModelOptions, directory: ModelDir, vocab_size: int, input_size: int) -> Any:
    """The network that `directory` has, as its stage takes it (`funasr.stages.protocols`).

    `engine="auto"`: onnxruntime where there is a graph, the work is done by a cpu, and nothing that was
    asked for is of torch alone; else torch. Raises ModelFilesError (CheckpointMismatchError), OptionError,
    ModelNotFoundError, MissingDependencyError.
    """
    loading = options.load
    if loading.engine == "torch":
        return torch_network(directory, loading, vocab_size, input_size)
    if loading.engine == "onnx":
        return _onnx_network(directory, loading)
    torch_possible = directory.weights is not None and has_torch()
    reason = _why_torch(options, directory)
    if reason is None:
        loading = _with_device(loading)
        if torch_possible and loading.device != "cpu":
            reason = f"the device is {loading.device!r}"
        else:
            reason = _why_no_graph(directory, loading)
            if reason is not None and not torch_possible:
                raise _no_engine(directory, reason)
    if reason is None:
        try:
            network = _onnx_network(directory, loading)
        except ModelFilesError as error:
            if not torch_possible:
                raise
            logger.warning("%s: torch runs it, for onnxruntime cannot: %s", options.model, error)
            reason = "its graph cannot be used"
        else:
            reason = _why_not(network) if torch_possible else None
            if reason is None:
                logger.debug("onnxruntime runs %s", options.model)
                return network
    logger.debug("torch runs %s: %s", options.model, reason)
    return torch_network(directory, loading, vocab_size, input_size)


def _why_torch(options: AutoModelOptions, directory: ModelDir) -> str | None:
    """What was asked for that no graph can do."""
    loading = options.load
    for name in ("fp16", "bf16", "init_param", "ignore_init_mismatch", "scope_map", "excludes"):
        if getattr(loading, name):
            return f"{name} is given"
    for name in options.overrides:
        part = name.removesuffix("_conf")
        if part in SETTINGS_OF_THE_NETWORK and not (part == "model" and directory.model in DETECTORS):
            return f"{name} is given"
    if directory.model in registry.MODELS and not isinstance(registry.MODELS[directory.model], str):
        return f"{directory.model} is a class of your own"
    return None


def _why_no_graph(directory: ModelDir, loading: LoadOptions) -> str | None:
    from funasr_onnx.load import NETWORKS

    if directory.model and directory.model not in NETWORKS:
        return f"{directory.model} has no form for onnxruntime"
    if _graphs(directory, loading, tell=False).file(*GRAPH_NAMES) is None:
        _graphs(directory, loading)  # who asked for integer weights is told that there are none
        return "there is no model.onnx"
    return None


def _why_not(network: Any) -> str | None:
    """What a network as a graph cannot do, and torch can."""
    if getattr(network, "supports_look_back", True) is False:
        return "its graph does not look back at chunks"
    return None


def _no_engine(directory: ModelDir, reason: str) -> Exception:
    """There is no graph, and torch cannot do it either."""
    if directory.weights is None:
        directory.require_weights()  # says what was looked for
    if (directory.path / "model_quant.onnx").is_file():
        return ModelFilesError(
            f"{directory.path} has a graph with integer weights only, model_quant.onnx: quantize=True uses it"
        )
    export = f"funasr-export ++model={directory.path}"
    return MissingDependencyError(
        "torch",
        f"the model in {directory.path} ({reason})",
        f"{TORCH_COMMAND}, or make a graph where torch is: {export}",
    )


def _onnx_network(directory: ModelDir, loading: LoadOptions) -> Any:
    from funasr_onnx.load import load_network

    return load_network(directory, _graphs(directory, loading))


GRAPH_NAMES = ("model", "fsmnvad-online", "fsmnvad-offline")


def _graphs(directory: ModelDir, loading: LoadOptions, *, tell: bool = True) -> Graphs:
    from funasr_onnx.load import Graphs

    graphs = Graphs(
        path=directory.path,
        quantize=loading.quantize,
        device_id=_device_id(loading),
        intra_op_num_threads=loading.ncpu or _threads(),
    )
    if loading.quantize and graphs.file(*GRAPH_NAMES) is None and directory.model in FLOATS_ONLY:
        if tell:
            logger.info(
                "a %s gains nothing from integer weights: %s stays floats", directory.model, directory.path
            )
        graphs = replace(graphs, quantize=False)
    elif loading.quantize and graphs.file(*GRAPH_NAMES) is None:
        small = directory.model in DETECTORS
        logger.log(
            logging.DEBUG if small or not tell else logging.WARNING,
            "%s has no model_quant.onnx: the weights stay floats. To make it: "
            "funasr-export ++model=%s ++quantize=true",
            directory.path,
            directory.path,
        )
        graphs = replace(graphs, quantize=False)
    return graphs


def _threads() -> int:
    """As many as torch would take: what OMP_NUM_THREADS says, or the processors there are."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(here, MANY_THREADS)


def _device_id(loading: LoadOptions) -> str:
    """What onnxruntime calls the device: "-1" is the cpu."""
    kind, _, number = loading.device.partition(":")
    return (number or "0") if kind == "cuda" and loading.ngpu else "-1"


def settled(options: AutoModelOptions) -> AutoModelOptions:
    """The device that the models of a pipeline run on, and whether in 16 bits, chosen and told of once.

    Raises OptionError for a string that names no device.
    """
    loading = options.load
    if loading.engine == "onnx" or (loading.engine == "torch" and not has_torch()):
        return options
    chosen = _with_device(loading)
    if chosen.device == "cpu" and chosen.fp16:
        logger.warning("fp16 is far slower than float32 on a cpu; computing in float32")
        chosen = replace(chosen, fp16=False)
    if loading.device == "auto":
        logger.info("device 'auto' is %s", chosen.device)
    known = {"device": (loading.device, chosen.device), "fp16": (loading.fp16, chosen.fp16)}
    sub_models = {}
    for kind, sub in options.sub_models.items():
        new = {name: value for name, (old, value) in known.items() if sub.kwargs.get(name, value) == old}
        sub_models[kind] = replace(sub, kwargs={**sub.kwargs, **new})
    return replace(options, load=chosen, sub_models=sub_models)


def _with_device(loading: LoadOptions) -> LoadOptions:
    """`device` is "cpu" where it comes down to that. torch is imported only where it must tell.

    Raises OptionError for a string that names no device.
    """
    device = loading.device if loading.ngpu else "cpu"
    if device == "cpu" or (device == "auto" and _torch_knows_no_gpu()):
        return replace(loading, device="cpu")
    if has_torch():
        return replace(loading, device=str(choose_device(device)))
    if not re.fullmatch(r"auto|mps|cuda(:\d+)?", device):
        raise OptionError(f"device is {device!r}; use 'auto', 'cpu', 'cuda', 'cuda:0' or 'mps'")
    if device != "auto":
        logger.warning(
            "device %r needs torch (%s), or engine='onnx' and onnxruntime-gpu; using cpu",
            device,
            TORCH_COMMAND,
        )
    return replace(loading, device="cpu")


def _torch_knows_no_gpu() -> bool:
    """Told by its version, which costs nothing; importing it takes a second or two."""
    if "torch" in sys.modules or sys.platform == "darwin":
        return False
    try:
        return importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
