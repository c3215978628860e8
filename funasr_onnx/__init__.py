"""ONNX Runtime back end: upstream's `funasr_onnx` classes over the shared, torch-free half of `funasr`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from funasr_onnx.vad import Fsmn_vad as Fsmn_vad
    from funasr_onnx.vad import Fsmn_vad_online as Fsmn_vad_online

_HOMES = {"Fsmn_vad": "funasr_onnx.vad", "Fsmn_vad_online": "funasr_onnx.vad"}
"""Public name -> the module that holds it, imported on first use."""

__all__ = ["Fsmn_vad", "Fsmn_vad_online"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(
        f"module 'funasr_onnx' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}"
    )


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
