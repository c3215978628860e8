"""silero-vad as a second detector: samples -> windows of 32 ms -> probability of speech -> segments.

The network comes from a back end (`WindowScorer`); how probabilities become segments on streams of any length
is in silero_stream.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from funasr.arrays import Samples
from funasr.result import Segment
from funasr.stages.silero_stream import BLOCK_WINDOWS, SileroState, SileroStream, WindowScorer
from funasr.vad.segments import finished
from funasr.vad.silero import SileroOptions

__all__ = ["SileroDetector", "SileroOptions", "SileroState", "SileroStream", "WindowScorer"]


class SileroDetector:
    """A detector ready for use; any number of threads may share it. The face of `SpeechDetector`."""

    def __init__(self, scorer: WindowScorer, options: SileroOptions | None = None) -> None:
        self._scorer = scorer
        self.options = options or SileroOptions()

    @property
    def fs(self) -> int:
        """Samples per second that the detector expects."""
        return self.options.silero_sampling_rate

    def segments(
        self, sound: Samples | Iterable[Samples], options: SileroOptions | None = None
    ) -> list[Segment]:
        """All segments of a recording: samples (N,), or its consecutive blocks."""
        return list(self.iter_segments(sound, options))

    def iter_segments(
        self, sound: Samples | Iterable[Samples], options: SileroOptions | None = None
    ) -> Iterator[Segment]:
        """The same, each segment as soon as it is certain."""
        stream = self.stream(options)
        block = BLOCK_WINDOWS * self._scorer.window_samples
        for piece in [sound] if isinstance(sound, np.ndarray) else sound:
            for start in range(0, len(piece), block):
                yield from finished(stream.accept(piece[start : start + block]))
        yield from finished(stream.flush())

    def file_stream(self, options: SileroOptions | None = None) -> SileroStream:
        return self.stream(options)

    def stream(
        self,
        options: SileroOptions | None = None,
        *,
        chunk_ms: int | None = None,
        state: SileroState | None = None,
    ) -> SileroStream:
        """A live stream; `chunk_ms` has no effect on it. With `state` the stream that left it goes on.

        A state brings the options it was left with; InputError where others stand beside it.
        """
        if state is None:
            return SileroStream(self._scorer, options or self.options)
        return SileroStream(self._scorer, options or state.options, state)
