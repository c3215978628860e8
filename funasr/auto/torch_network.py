"""A model directory with weights -> its network in torch, on its device, packed for inference."""

from __future__ import annotations

import importlib.util
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from funasr import registry
from funasr.auto.options import LoadOptions
from funasr.errors import FunASRError, MissingDependencyError, ModelFilesError, OptionError, install_extra
from funasr.modeldir import ModelDir

logger = logging.getLogger(__name__)

TORCH_COMMAND = install_extra("torch")


def torch_network(directory: ModelDir, loading: LoadOptions, vocab_size: int, input_size: int) -> Any:
    """The network of a directory with its weights, on its device, in its fastest form.

    Raises MissingDependencyError without torch, ModelFilesError (CheckpointMismatchError).
    """
    network = plain_network(directory, loading, vocab_size, input_size)
    import torch

    from funasr.nn.packed import prepare_for_inference

    device = choose_device(loading.device if loading.ngpu else "cpu")
    dtype = torch.float16 if loading.fp16 else torch.bfloat16 if loading.bf16 else torch.float32
    if dtype == torch.float16 and device.type == "cpu":
        logger.warning("fp16 is far slower than float32 on a cpu; computing in float32")
        dtype = torch.float32
    return prepare_for_inference(network, device=device, dtype=dtype)


def plain_network(directory: ModelDir, loading: LoadOptions, vocab_size: int, input_size: int) -> Any:
    """The network of a directory with its weights: on the cpu, float32, as it is trained and exported.

    Raises as `torch_network`.
    """
    if not has_torch():
        raise MissingDependencyError("torch", f"the model in {directory.path}", TORCH_COMMAND)
    import torch

    from funasr.nn.weights import initialize_weights, load_weights, unallocated

    if loading.ncpu is not None:
        torch.set_num_threads(loading.ncpu)
    network_class = registry.lookup(registry.MODELS, directory.model)

    def new() -> Any:
        try:
            return network_class.from_official(directory.config, vocab_size, input_size)
        except FunASRError:
            raise
        except (ArithmeticError, RuntimeError, ValueError) as error:  # sizes that torch refuses
            raise ModelFilesError(
                f"{directory.path}: the settings make no {directory.model}: {error}"
            ) from error

    weights = directory.require_weights()
    if loading.ignore_init_mismatch or loading.scope_map or loading.excludes:
        network = new()
        misfit = initialize_weights(network, weights, scope_map=loading.scope_map, excludes=loading.excludes)
        _warn_of_random_parts((*misfit.missing, *misfit.misshapen), weights)
    else:
        with unallocated():  # nothing is initialized that the file replaces anyway
            network = new()
        load_weights(network, weights)
    return network.float()  # some files hold 16 bits


def _warn_of_random_parts(names: Sequence[str], weights: Path) -> None:
    """Tensors of a network that no file gave a value: all that comes out of it is chance."""
    if names:
        parts = Counter(name.partition(".")[0] for name in names)
        logger.warning(
            "%d tensors of the network are not taken from %s and hold RANDOM values: %s. What it recognizes "
            "means nothing unless it is trained; check excludes, scope_map and ignore_init_mismatch",
            len(names),
            weights,
            ", ".join(f"{part} ({count})" for part, count in parts.items()),
        )


def choose_device(wanted: str) -> Any:
    """`auto`, `cpu`, `cuda[:n]`, `mps` -> torch.device; one that is not there becomes cpu, with a warning.

    Raises OptionError for a string that names no device.
    """
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        wanted = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
        logger.debug("device 'auto' is %s", wanted)
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise OptionError(f"device is {wanted!r}; use 'auto', 'cpu', 'cuda', 'cuda:0' or 'mps'") from error
    missing = device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    if missing or not there.get(device.type, False):
        logger.warning("device %r is not available here; using cpu", wanted)
        return torch.device("cpu")
    return device


def has_torch() -> bool:
    """Whether torch is installed; it is not imported for that."""
    try:
        return importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):  # a finder that refuses it, a module that has no spec
        return False
