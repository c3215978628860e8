"""FunASR: speech recognition, voice activity, punctuation, timestamps and speakers.

>>> from funasr import AutoModel
>>> AutoModel(model="paraformer-zh", vad_model="fsmn-vad").generate(input="a.wav")

Importing this package loads no model and no torch; names are resolved when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from funasr.auto.auto_frontend import AutoFrontend as AutoFrontend
    from funasr.auto.auto_model import AutoModel as AutoModel

__version__ = "2.0.0"
__all__ = ["AutoFrontend", "AutoModel", "__version__"]

_LAZY = {"AutoModel": "funasr.auto.auto_model", "AutoFrontend": "funasr.auto.auto_frontend"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
