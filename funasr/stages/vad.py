"""Sound -> stretches of speech, for whole recordings of any length and for live streams.

Which back end scores the frames does not matter here. Memory is bounded: a recording is a stream of blocks,
and a segment is handed out as soon as it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from funasr.arrays import Samples
from funasr.features.frontend import WavFrontend
from funasr.result import Segment
from funasr.stages.protocols import FrameScorer
from funasr.stages.vad_stream import VadState, VadStream
from funasr.vad.options import VadOptions
from funasr.vad.segments import finished

__all__ = ["BLOCK_MS", "OFFLINE_CHUNK_MS", "SpeechDetector", "VadState", "VadStream"]

# Sound scored at once: long enough to be efficient, short enough to stay in the cache.
BLOCK_MS = 30_000

OFFLINE_CHUNK_MS = 60_000
"""As upstream: how often the schedule of `dynamic_silence` is consulted on a whole recording."""


class SpeechDetector:
    """A detector ready for use; any number of threads may share it."""

    def __init__(self, scorer: FrameScorer, frontend: WavFrontend, options: VadOptions | None = None) -> None:
        self._scorer = scorer
        self._frontend = frontend
        self.options = options or VadOptions()
        """The model's own; each call may bring others."""

    @property
    def fs(self) -> int:
        """Samples per second that the detector expects."""
        return self._frontend.fs

    def segments(
        self, sound: Samples | Iterable[Samples], options: VadOptions | None = None
    ) -> list[Segment]:
        """All segments of a recording: samples (N,), or its consecutive blocks. Too short: none."""
        return list(self.iter_segments(sound, options))

    def iter_segments(
        self, sound: Samples | Iterable[Samples], options: VadOptions | None = None
    ) -> Iterator[Segment]:
        """The same, each segment as soon as it has ended, so that audio can be cut while it is being read."""
        stream = self.file_stream(options)
        block = self._frontend.fs * BLOCK_MS // 1000
        for piece in [sound] if isinstance(sound, np.ndarray) else sound:
            for start in range(0, len(piece), block):
                yield from finished(stream.accept(piece[start : start + block]))
        yield from finished(stream.flush())

    def file_stream(self, options: VadOptions | None = None) -> VadStream:
        """A stream for a recording that is there already: nobody waits for its events."""
        chosen = options or self.options
        return self.stream(chosen, chunk_ms=OFFLINE_CHUNK_MS if chosen.dynamic_silence else None)

    def stream(
        self,
        options: VadOptions | None = None,
        *,
        chunk_ms: int | None = None,
        state: VadState | None = None,
    ) -> VadStream:
        """A live stream; `chunk_ms`: see VadStream. With `state` the stream that left it goes on.

        A state brings the options and the chunk_ms it was left with; InputError where others stand beside it.
        """
        if state is None:
            return VadStream(self._scorer, self._frontend, options or self.options, chunk_ms=chunk_ms)
        return VadStream(
            self._scorer,
            self._frontend,
            options or state.options,
            chunk_ms=state.chunk_ms if chunk_ms is None else chunk_ms,
            state=state,
        )
