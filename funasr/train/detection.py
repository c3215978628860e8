"""Recordings and where somebody speaks in them as a data set: features and a label a frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from funasr.features.config import FrontendConfig
from funasr.train.data import Example
from funasr.train.speech import Recordings


class DetectionExamples:
    """An `ExampleSource` whose targets are 1 for speech and 0 for none, one a row of features."""

    def __init__(self, recordings: Recordings, frontend: FrontendConfig) -> None:
        self._recordings, self._frontend = recordings, frontend

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        return self._recordings.lengths(epoch)

    def load(self, epoch: int, index: int) -> Example:
        utterance = self._recordings.utterances[index]
        features = self._recordings.features(epoch, index)
        speed = self._recordings.speed(epoch, index)
        segments = [(start / speed, end / speed) for start, end in utterance.segments]
        target = labels(segments, len(features), self._frontend)
        return Example(key=utterance.key, features=features, target=target)


def labels(segments: Sequence[tuple[float, float]], rows: int, frontend: FrontendConfig) -> NDArray[np.int64]:
    """Segments in ms -> (rows,): whether the middle of each row's frame lies in one."""
    middles = np.arange(rows) * frontend.lfr_n * frontend.frame_shift + frontend.frame_length / 2
    target = np.zeros(rows, dtype=np.int64)
    for start, end in segments:
        target[(middles >= start) & (middles < end)] = 1
    return target
