"""A checkpoint file -> the weights of a network. What does not fit is said precisely; nothing is guessed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from funasr.errors import CheckpointMismatchError, ModelFilesError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Misfit:
    """How the names and shapes of a checkpoint differ from a network's."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.misshapen)


class _WithoutRandomNumbers(TorchFunctionMode):
    """Turns the drawing of initial weights into nothing."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("uniform_", "normal_", "kaiming_uniform_", "xavier_uniform_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def unallocated() -> Iterator[None]:
    """Networks built inside have parameters without memory or values (meta device), ready for `load_weights`.

    On the meta device alone, torch would import 800 modules in order to draw no random numbers (0.9 s).
    """
    with torch.device("meta"), _WithoutRandomNumbers():
        yield


def load_weights(
    model: nn.Module,
    path: str | Path,
    *,
    leftovers: frozenset[str] = frozenset(),
    absent: Set[str] = frozenset(),
) -> None:
    """Put the tensors of a checkpoint in the place of the network's own, which may be `unallocated`.

    Every parameter must be there with its shape, and nothing else. `leftovers` are prefixes of entries that
    a class of checkpoints is known to carry without use; `absent` are names that need not be there and then
    keep their values.

    Raises ModelFilesError for a file that cannot be read, CheckpointMismatchError for one that does not fit.
    """
    state = read_checkpoint(path)
    state = {name: value for name, value in state.items() if not name.startswith(tuple(leftovers))}
    own = model.state_dict()
    state |= {name: own[name] for name in absent if name not in state}
    misfit = compare(model, state)
    if misfit:
        raise CheckpointMismatchError(
            f"{path} does not hold the weights of a {type(model).__name__}: "
            f"{_describe(model, state, misfit)}. Check that config.yaml belongs to this file."
        )
    model.load_state_dict(state, strict=True, assign=True)


def initialize_weights(
    model: nn.Module, path: str | Path, *, scope_map: Sequence[str] = (), excludes: Sequence[str] = ()
) -> Misfit:
    """Copy what fits from a checkpoint and leave the rest of the network as it is (`init_param` of training).

    scope_map is (source prefix, own prefix, source prefix, ...); "none" is the empty prefix. excludes are own
    prefixes that are not copied. Returns what did not fit, and logs how much did.
    """
    if len(scope_map) % 2:
        raise ModelFilesError(
            f"scope_map has {len(scope_map)} entries: expected pairs of source and own prefix"
        )
    state = rename(read_checkpoint(path), scope_map)
    state = {name: value for name, value in state.items() if not name.startswith(tuple(excludes))}
    misfit = compare(model, state)
    unfit = {*misfit.unexpected, *misfit.misshapen}
    model.load_state_dict({name: value for name, value in state.items() if name not in unfit}, strict=False)
    logger.info("%s: %d of %d tensors taken", path, len(state) - len(unfit), len(model.state_dict()))
    if misfit:
        logger.warning("%s: %s", path, _describe(model, state, misfit))
    return misfit


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Names and CPU tensors of a `.pt`/`.pb` or `.safetensors` file.

    Only tensors and plain values are read, never code. A training checkpoint's `state_dict`,
    `model_state_dict` or `model` is what counts, and the `module.` that DDP puts before names does not.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFilesError(f"no checkpoint at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: object = load_file(path)
        else:
            # Not mmap: pages of a mapped file stay resident until all of it is let go, and packing
            # (nn/packed.py) would then hold every weight twice.
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelFilesError(
            f"{path} cannot be read as a checkpoint, it may be damaged or incomplete "
            f"({path.stat().st_size} bytes): {reason}"
        ) from error
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ModelFilesError(f"{path} holds a {type(content).__name__}, not named tensors")
    return {
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }


def rename(state: Mapping[str, Tensor], scope_map: Sequence[str]) -> dict[str, Tensor]:
    """Replace prefixes; of several that match, the first counts."""
    pairs = [
        tuple("" if scope.lower() == "none" else scope for scope in scope_map[i : i + 2])
        for i in range(0, len(scope_map), 2)
    ]
    renamed = {}
    for name, value in state.items():
        for source, own in pairs:
            if name.startswith(source):
                name = own + name.removeprefix(source)
                break
        renamed[name] = value
    return renamed


def compare(model: nn.Module, state: Mapping[str, Tensor]) -> Misfit:
    """Names and shapes of `state` against the network's."""
    own = model.state_dict()
    return Misfit(
        missing=tuple(name for name in own if name not in state),
        unexpected=tuple(name for name in state if name not in own),
        misshapen=tuple(name for name in own if name in state and not _fits(own[name], state[name])),
    )


def _fits(own: Tensor, given: Tensor) -> bool:
    # Counters of batch normalisations have no axis, and one axis of length 1 in very old checkpoints.
    return own.shape == given.shape or (own.ndim == 0 and given.shape == (1,))


def _describe(model: nn.Module, state: Mapping[str, Tensor], misfit: Misfit) -> str:
    parts = []
    if misfit.missing:
        parts.append(f"{len(misfit.missing)} missing, the first {misfit.missing[0]!r}")
    if misfit.unexpected:
        parts.append(f"{len(misfit.unexpected)} unexpected, the first {misfit.unexpected[0]!r}")
    if misfit.misshapen:
        name = misfit.misshapen[0]
        parts.append(
            f"{len(misfit.misshapen)} of another shape, the first {name!r}: "
            f"{tuple(state[name].shape)} in the file, {tuple(model.state_dict()[name].shape)} in the network"
        )
    return "; ".join(parts)
