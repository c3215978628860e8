"""Where the tokens of a stream fire, chunk by chunk -> when they were said."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from funasr.decode.timestamps import FIRE_SHIFT, MAX_TOKEN_FRAMES

HALF_FRAME = 0.5
"""A fire is known to a part of its frame; timestamps count from the frame, which is this much before on
average."""


def fired_spans(
    ends: NDArray[np.float32], *, before: float = 0.0, decided: float
) -> list[tuple[float, float]]:
    """(start, end), in frames, of the tokens that fired in one chunk, as `token_times` has them afterwards.

    ends (U,): where they fired. A token begins a little before its fire and lasts until the next one begins,
    but not longer than `MAX_TOKEN_FRAMES`. The last of a chunk lasts at most to `decided`, up to where all
    tokens have fired: its time does not wait for the next one. `before`: where the last token of the chunk
    before ended, which none of these begins before.
    """
    begins = np.asarray(ends, dtype=np.float64) + (FIRE_SHIFT - HALF_FRAME)
    starts = np.maximum.accumulate(np.maximum(begins, max(before, 0.0)))
    stops = np.append(starts[1:], decided)[: len(starts)]
    stops = np.maximum(np.minimum(stops, starts + MAX_TOKEN_FRAMES), starts)
    return list(zip(starts.tolist(), stops.tolist(), strict=True))
