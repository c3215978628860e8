"""The two arrays that flow between the layers, by name."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
"""(N,) mono sound in [-1, 1], at the rate of whoever asks for it (16 kHz unless a model says otherwise)."""

Features: TypeAlias = NDArray[np.float32]
"""(T, D) for one utterance or (B, T, D), zero-padded, for a batch."""
