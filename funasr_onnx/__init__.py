"""ONNX Runtime back end: upstream's `funasr_onnx` classes over the shared, torch-free half of `funasr`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from funasr_onnx.punctuators import CT_Transformer as CT_Transformer
    from funasr_onnx.punctuators import CT_Transformer_VadRealtime as CT_Transformer_VadRealtime
    from funasr_onnx.recognizers import ContextualParaformer as ContextualParaformer
    from funasr_onnx.recognizers import Paraformer as Paraformer
    from funasr_onnx.recognizers import SeacoParaformer as SeacoParaformer
    from funasr_onnx.recognizers import SenseVoiceSmall as SenseVoiceSmall
    from funasr_onnx.vad import Fsmn_vad as Fsmn_vad
    from funasr_onnx.vad import Fsmn_vad_online as Fsmn_vad_online

_HOMES = {
    "Paraformer": "funasr_onnx.recognizers",
    "ContextualParaformer": "funasr_onnx.recognizers",
    "SeacoParaformer": "funasr_onnx.recognizers",
    "SenseVoiceSmall": "funasr_onnx.recognizers",
    "Fsmn_vad": "funasr_onnx.vad",
    "Fsmn_vad_online": "funasr_onnx.vad",
    "CT_Transformer": "funasr_onnx.punctuators",
    "CT_Transformer_VadRealtime": "funasr_onnx.punctuators",
}
"""Public name -> the module that holds it, imported on first use."""

__all__ = [
    "CT_Transformer",
    "CT_Transformer_VadRealtime",
    "ContextualParaformer",
    "Fsmn_vad",
    "Fsmn_vad_online",
    "Paraformer",
    "SeacoParaformer",
    "SenseVoiceSmall",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(
        f"module 'funasr_onnx' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}"
    )


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
