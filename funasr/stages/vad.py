"""Sound -> stretches of speech, for whole recordings of any length and for live streams.

Which back end scores the frames does not matter here. Memory is bounded: a recording is a stream of blocks,
and a segment is handed out as soon as it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.features.frontend import WavFrontend
from funasr.result import Segment
from funasr.stages.protocols import FrameScorer
from funasr.vad.endpoint import DYNAMIC_SPEECH_NOISE_THRES, Endpointer, Event
from funasr.vad.energy import EnergyMeter
from funasr.vad.options import VadOptions
from funasr.vad.segments import finished

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

    def stream(self, options: VadOptions | None = None, *, chunk_ms: int | None = None) -> VadStream:
        """A live stream. `chunk_ms`: see VadStream."""
        return VadStream(self._scorer, self._frontend, options or self.options, chunk_ms=chunk_ms)


class VadStream:
    """Speech in one live stream. How the audio is cut into pieces never changes what is found.

    With `chunk_ms` sound is gathered into chunks of that length, and events come at the end of a chunk. The
    schedule of `dynamic_silence` counts such chunks, so it needs one (60 ms unless given); it is the only
    thing whose result depends on the length.
    """

    def __init__(
        self, scorer: FrameScorer, frontend: WavFrontend, options: VadOptions, *, chunk_ms: int | None = None
    ) -> None:
        if options.dynamic_silence and chunk_ms is None:
            chunk_ms = 60
        self.options = options
        self._scorer = scorer
        self._state = scorer.initial_state()
        self._frontend = frontend.online()
        self._endpoint = Endpointer(options)
        self._chunk_ms = chunk_ms
        self._chunk = 0 if chunk_ms is None else frontend.fs * chunk_ms // 1000
        self._waiting: Samples = np.zeros(0, dtype=np.float32)
        self._schedule = _Schedule(options) if options.dynamic_silence else None
        self._energy = EnergyMeter(options) if options.needs_energy else None
        self._decibels: NDArray[np.float64] = np.zeros(0)
        self._flushed = False

    @property
    def in_speech(self) -> bool:
        """Speech has started and not ended, as far as events have told."""
        return self._endpoint.in_speech

    @property
    def earliest_start_ms(self) -> int:
        """No segment that is still to end starts before this: sound older than it can be forgotten."""
        return self._endpoint.earliest_start_ms

    @property
    def nbytes(self) -> int:
        """Size of what is remembered, in bytes; bounded."""
        energy = self._energy.nbytes if self._energy else 0
        own = self._waiting.nbytes + self._decibels.nbytes + energy
        return int(own + self._frontend.nbytes + self._state.nbytes + self._endpoint.nbytes)

    def accept(self, samples: Samples) -> list[Event]:
        """samples (N,), any number of them -> what happened in them; often nothing."""
        if not self._chunk:
            return self._advance(samples)
        waiting = np.concatenate([self._waiting, samples])
        events: list[Event] = []
        done = 0
        while len(waiting) - done >= self._chunk:
            events += self._advance(waiting[done : done + self._chunk])
            done += self._chunk
        self._waiting = waiting[done:].copy()
        return events

    def flush(self) -> list[Event]:
        """No more sound will come: what is open ends. Flushing again says nothing."""
        if self._flushed:
            return []
        self._flushed = True
        events = self._advance(self._waiting, last=True)
        self._waiting = self._waiting[:0]
        return events

    def _advance(self, samples: Samples, last: bool = False) -> list[Event]:
        if self._schedule:
            self._schedule.before_chunk(self._endpoint, self._chunk_ms or 0)
        if self._energy:
            self._decibels = np.concatenate([self._decibels, self._energy.accept(samples)])
        events = self._endpoint_on(self._frontend.accept(samples))
        if last:
            events += self._endpoint_on(self._frontend.flush())
            events += self._endpoint.flush()
        if self._schedule:
            self._schedule.after_chunk(events)
        return events

    def _endpoint_on(self, features: Features) -> list[Event]:
        count = len(features)
        if count == 0:
            return []
        scores, self._state = self._scorer.score(features[None], self._state)
        decibels, self._decibels = self._decibels[:count], self._decibels[count:]
        return self._endpoint.accept(scores[0], decibels if self._energy else None)


class _Schedule:
    """The end silence that shrinks as speech grows longer; consulted once a chunk."""

    def __init__(self, options: VadOptions) -> None:
        self._options = options
        self._spoken_ms = 0
        self._counting = False

    def before_chunk(self, endpoint: Endpointer, chunk_ms: int) -> None:
        if self._counting or endpoint.in_speech:
            self._counting = True
            self._spoken_ms += chunk_ms
        rows = self._options.silence_schedule
        silence = next((silence for limit, silence in rows if self._spoken_ms <= limit), rows[-1][1])
        endpoint.end_threshold_ms = max(silence - self._options.speech_to_sil_time_thres, 0)
        endpoint.speech_noise_thres = DYNAMIC_SPEECH_NOISE_THRES

    def after_chunk(self, events: list[Event]) -> None:
        """As upstream: counting starts afresh after any event, the start of speech included."""
        if events:
            self._counting = False
            self._spoken_ms = 0
