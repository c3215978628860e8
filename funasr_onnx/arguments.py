"""What callers give the classes -> an error that says what it must be, before anything is computed."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from funasr.errors import InputError, OptionError, did_you_mean
from funasr.values import checked, shown

logger = logging.getLogger(__name__)

_DEVICE = re.compile(r"-1|\d+")


@dataclass(frozen=True, kw_only=True)
class Construction:
    """Numbers and switches of a constructor, as upstream names them."""

    batch_size: int = 1
    quantize: bool = False
    intra_op_num_threads: int = 4
    device_id: str | int = "-1"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise OptionError(f"batch_size is {self.batch_size}; it must be 1 or more")
        if self.intra_op_num_threads < 0:
            raise OptionError(
                f"intra_op_num_threads is {self.intra_op_num_threads}; it must be 1 or more, or 0 for "
                "onnxruntime's own choice"
            )
        if not _DEVICE.fullmatch(str(self.device_id)):
            raise OptionError(
                f"device_id is {self.device_id!r}; it must be -1 for the cpu, or the number of a GPU"
            )


def construction(
    *, batch_size: Any, quantize: Any, device_id: Any, intra_op_num_threads: Any
) -> Construction:
    """Raises OptionError for values that cannot be."""
    given = {
        "batch_size": batch_size,
        "quantize": quantize,
        "intra_op_num_threads": intra_op_num_threads,
        "device_id": device_id,
    }
    return Construction(**checked(Construction, given))


def require_place(model_dir: Any) -> str:
    """A directory or a name. Raises OptionError for anything else."""
    if isinstance(model_dir, (str, os.PathLike)):
        return os.fsdecode(model_dir)
    raise OptionError(
        f"model_dir is {shown(model_dir)}; give a directory with a model.onnx, or a name of the hub"
    )


def tell_unused(given: Iterable[str], known: Collection[str]) -> None:
    """As upstream, what nobody knows changes nothing; it is told."""
    for name in given:
        logger.warning("the option %r has no effect here%s", name, did_you_mean(name, known))


def require_text(text: Any) -> str:
    """Raises InputError for what is no string."""
    if not isinstance(text, str):
        raise InputError(f"the text is {shown(text)}; give a string, and several texts one by one")
    return text


def require_split_size(split_size: Any) -> int:
    """Raises OptionError for what is no number of words."""
    if isinstance(split_size, bool) or not isinstance(split_size, int) or split_size < 1:
        raise OptionError(f"split_size is {shown(split_size)}; it must be a number of words, 1 or more")
    return split_size


def require_memory(param_dict: Any, example: str) -> dict[str, Any]:
    """The dictionary that a caller keeps for a stream. Raises OptionError for anything else."""
    if not isinstance(param_dict, dict):
        raise OptionError(f"param_dict is {shown(param_dict)}; keep a dict for each stream: {example}")
    return param_dict
