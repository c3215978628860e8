"""One id a frame -> tokens: repeats are one token, blanks are none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funasr.decode.greedy import BLANK


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Neighbouring frames that say the same id: one token."""

    id: int
    start: int
    """Its first frame."""
    stop: int
    """The frame after its last one."""
    confidence: float
    """Probability of the id in the frame that is most sure of it, 0..1."""


def collapse(ids: NDArray[np.int64], confidences: NDArray[np.float32], blank: int = BLANK) -> list[Run]:
    """(T,) best id of each frame and its probability -> the tokens they spell.

    The runs of the best path are also its alignment: no path that spells the same tokens scores higher.
    """
    if not len(ids):
        return []
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    stops = np.append(starts[1:], len(ids))
    surest = np.maximum.reduceat(confidences, starts)
    return [
        Run(id=id_, start=start, stop=stop, confidence=confidence)
        for id_, start, stop, confidence in zip(
            ids[starts].tolist(), starts.tolist(), stops.tolist(), surest.tolist(), strict=True
        )
        if id_ != blank
    ]
