"""The two arrays that flow between the layers, by name."""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
"""(N,) mono sound in [-1, 1], at the rate of whoever asks for it (16 kHz unless a model says otherwise)."""

Features: TypeAlias = NDArray[np.float32]
"""(T, D) for one utterance or (B, T, D), zero-padded, for a batch."""

_Array = TypeVar("_Array", bound=NDArray[Any])


def read_only(array: _Array) -> _Array:
    """The array itself, locked: for states, which are shared with whoever kept one."""
    array.setflags(write=False)
    return array


NO_SAMPLES: Samples = read_only(np.zeros(0, dtype=np.float32))
