"""Labels of frames -> counts of speech in the window that ends with each: where speech turns on and off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import read_only


class Votes:
    """Counts of speech labels in the window that ends with each frame of one call (frames relative to it)."""

    def __init__(
        self, recent: NDArray[np.bool_], speech: NDArray[np.bool_], on_count: int, off_count: int
    ) -> None:
        self._window = len(recent)
        self._on_count = on_count
        self._off_count = off_count
        self._labels = np.concatenate([recent, speech])
        sums = np.zeros(len(self._labels) + 1, dtype=np.int32)
        np.cumsum(self._labels, dtype=np.int32, out=sums[1:])
        self._counts = sums[self._window + 1 :] - sums[1 : len(speech) + 1]
        self._on_frames = np.flatnonzero(self._counts >= on_count)
        self._off_frames = np.flatnonzero(self._counts <= off_count)
        self._patched = 0
        """The window was emptied: the two lists of frames hold from here on only."""

    def next_on(self, frame: int) -> int:
        """First frame from `frame` on with enough speech to turn it on; beyond the end if there is none."""
        if frame < self._patched:
            near = np.flatnonzero(self._counts[frame : self._patched] >= self._on_count)
            if len(near):
                return frame + int(near[0])
        return self._first(self._on_frames, max(frame, self._patched))

    def next_off(self, frame: int) -> int:
        """First frame from `frame` on with little enough speech to turn it off."""
        if frame < self._patched:
            near = np.flatnonzero(self._counts[frame : self._patched] <= self._off_count)
            if len(near):
                return frame + int(near[0])
        return self._first(self._off_frames, max(frame, self._patched))

    def reset(self, frame: int) -> None:
        """Forget all labels up to and including `frame`."""
        first = self._window + frame + 1
        self._labels[max(first - self._window, 0) : first] = False
        self._patched = min(frame + self._window, len(self._counts))
        self._counts[frame + 1 : self._patched] = np.cumsum(
            self._labels[first : self._window + self._patched]
        )

    def recent(self) -> NDArray[np.bool_]:
        """Labels of the last window, for the next call."""
        return read_only(self._labels[-self._window :].copy())

    def _first(self, frames: NDArray[np.intp], frame: int) -> int:
        at = int(np.searchsorted(frames, frame))
        return int(frames[at]) if at < len(frames) else len(self._counts)
