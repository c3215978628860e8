"""Best ids of a non-autoregressive decoder -> the positions that are words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLANK, SOS, EOS = 0, 1, 2
"""Ids of `<blank>`, `<s>`, `</s>` in every official vocabulary."""


def kept_positions(ids: NDArray[np.int64], special: tuple[int, ...] = (BLANK, SOS, EOS)) -> NDArray[np.int64]:
    """(U,) ids -> positions of those that are shown. Special ids go wherever they stand; repeats stay."""
    return np.flatnonzero(~np.isin(ids, special)).astype(np.int64)
