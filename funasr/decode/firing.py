"""Where the tokens of a stream fire, chunk by chunk -> when they were said."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from funasr.decode.timestamps import FIRE_SHIFT, MAX_TOKEN_FRAMES

HALF_FRAME = 0.5
"""A fire is known to a part of its frame; timestamps count from the frame, which is this much before on
average."""


OPEN_FRAMES = 1.0
"""The last token of a chunk is taken to end this much before what is decided. The next one begins two frames
before its fire, so perhaps so early: this errs least over both."""


def fired_spans(
    ends: NDArray[np.float32], *, before: float = 0.0, decided: float, final: bool = False
) -> list[tuple[float, float]]:
    """(start, end), in frames, of the tokens that fired in one chunk, as `token_times` has them afterwards.

    ends (U,): where they fired, at most `decided`, up to which all tokens have. A token begins a little
    before its fire and lasts until the next one begins, but not longer than `MAX_TOKEN_FRAMES`. The time of
    the last one does not wait for the next chunk: see OPEN_FRAMES; where `final` there is none, and it ends
    with the sound. `before`: where the last token of the chunk before ended, which none of these begins
    before.
    """
    begins = np.asarray(ends, dtype=np.float64) + (FIRE_SHIFT - HALF_FRAME)
    starts = np.maximum.accumulate(np.maximum(begins, max(before, 0.0)))
    stops = np.append(starts[1:], decided if final else decided - OPEN_FRAMES)[: len(starts)]
    stops = np.maximum(np.minimum(stops, starts + MAX_TOKEN_FRAMES), starts)
    return list(zip(starts.tolist(), stops.tolist(), strict=True))
