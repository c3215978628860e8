"""VadStream: speech in one live stream, chunk by chunk; VadState: all that it remembers between chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import NO_SAMPLES, Features, Samples, read_only
from funasr.errors import InputError
from funasr.features.fbank import finite
from funasr.features.frontend import WavFrontend
from funasr.features.online import OnlineState
from funasr.stages.detector import all_or_nothing
from funasr.stages.protocols import FrameScorer
from funasr.vad.endpoint import DYNAMIC_SPEECH_NOISE_THRES, Endpointer, EndpointState, Event
from funasr.vad.energy import EnergyMeter
from funasr.vad.options import VadOptions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VadState:
    """All that one live stream remembers between calls. Picklable; arrays are its own, and read-only."""

    options: VadOptions
    chunk_ms: int | None
    """See VadStream."""
    frontend: OnlineState
    network: Any
    """The scorer's memory."""
    endpoint: EndpointState
    schedule: ScheduleState | None
    """Of `dynamic_silence`."""
    waiting: Samples
    """(N,) the chunk that is being gathered."""
    unmeasured: Samples
    """(N,) samples that no whole frame of the energy meter covers yet."""
    decibels: NDArray[np.float64]
    """(F,) of the frames that have no features yet."""
    flushed: bool

    @property
    def nbytes(self) -> int:
        """Size in bytes; bounded by a chunk, a window, some frames and the network's memory."""
        own = self.waiting.nbytes + self.unmeasured.nbytes + self.decibels.nbytes
        return int(own + self.frontend.nbytes + self.network.nbytes + self.endpoint.nbytes)


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """How long speech has lasted, as the schedule of `dynamic_silence` counts."""

    spoken_ms: int = 0
    counting: bool = False


class VadStream:
    """Speech in one live stream. How the audio is cut into pieces never changes what is found.

    With `chunk_ms` sound is gathered into chunks of that length, and events come at the end of a chunk. The
    schedule of `dynamic_silence` counts such chunks, so it needs one (60 ms unless given); it is the only
    thing whose result depends on the length.

    A call that raises, whatever and wherever, leaves the stream as it was: it may be made again.
    """

    _waiting: Samples
    _flushed: bool

    def __init__(
        self,
        scorer: FrameScorer,
        frontend: WavFrontend,
        options: VadOptions,
        *,
        chunk_ms: int | None = None,
        state: VadState | None = None,
    ) -> None:
        """`state`: to go on where another stream stood, here or in another process.

        Raises InputError for the state of another back end, of another front end, or of other options.
        """
        if options.dynamic_silence and chunk_ms is None:
            chunk_ms = 60
        self.options = options
        self._scorer = scorer
        self._wav_frontend = frontend
        self._chunk_ms = chunk_ms
        self._chunk = 0 if chunk_ms is None else frontend.fs * chunk_ms // 1000
        if state is None:
            state = self._initial()
        else:
            self._check(state)
        self.restore(state)

    @property
    def state(self) -> VadState:
        """All that is remembered now; `SpeechDetector.stream(state=)` goes on from it."""
        return VadState(
            options=self.options,
            chunk_ms=self._chunk_ms,
            frontend=self._frontend.state,
            network=self._network,
            endpoint=self._endpoint.state,
            schedule=self._schedule.state if self._schedule else None,
            waiting=self._waiting,
            unmeasured=self._energy.waiting if self._energy else NO_SAMPLES,
            decibels=self._decibels,
            flushed=self._flushed,
        )

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
        return self.state.nbytes

    def accept(self, samples: Samples) -> list[Event]:
        """samples (N,), any number of them -> what happened in them; often nothing.

        Raises InputError for what is no sound, and for a stream that was flushed.
        """
        if self._flushed:
            raise InputError("this stream was flushed and takes no more sound: make a new one with stream()")
        samples = finite(samples)
        with all_or_nothing(self):
            if not self._chunk:
                return self._advance(samples)
            waiting = np.concatenate([self._waiting, samples])
            events: list[Event] = []
            done = 0
            while len(waiting) - done >= self._chunk:
                events += self._advance(waiting[done : done + self._chunk])
                done += self._chunk
            self._waiting = read_only(waiting[done:].copy())
            return events

    def flush(self) -> list[Event]:
        """No more sound will come: what is open ends. Flushing again says nothing."""
        if self._flushed:
            return []
        with all_or_nothing(self):
            events = self._advance(self._waiting, last=True)
            self._waiting = NO_SAMPLES
            self._flushed = True
            return events

    def tune(self, *, end_threshold_ms: float, speech_noise_thres: float) -> None:
        """From the next sound on: see `Endpointer`. Part of the state."""
        self._endpoint.end_threshold_ms = end_threshold_ms
        self._endpoint.speech_noise_thres = speech_noise_thres

    def restore(self, state: VadState) -> None:
        """Go back to a state that this stream was in."""
        options = self.options
        self._frontend = self._wav_frontend.online(state.frontend)
        self._network = state.network
        self._endpoint = Endpointer(options, state.endpoint)
        self._schedule = None if state.schedule is None else _Schedule(options, state.schedule)
        self._energy = EnergyMeter(options, state.unmeasured) if options.needs_energy else None
        self._waiting = state.waiting
        self._decibels = state.decibels
        self._flushed = state.flushed

    def _initial(self) -> VadState:
        return VadState(
            options=self.options,
            chunk_ms=self._chunk_ms,
            frontend=self._wav_frontend.online().state,
            network=self._scorer.initial_state(),
            endpoint=EndpointState.initial(self.options),
            schedule=ScheduleState() if self.options.dynamic_silence else None,
            waiting=NO_SAMPLES,
            unmeasured=NO_SAMPLES,
            decibels=np.zeros(0),
            flushed=False,
        )

    def _check(self, state: VadState) -> None:
        """Raises InputError where this stream could not have left the state."""
        if state.options != self.options or state.chunk_ms != self._chunk_ms:
            raise InputError(
                "this state was left by a stream of other options or another chunk_ms: leave them out, the "
                "state brings its own"
            )
        theirs, ours = type(state.network), type(self._scorer.initial_state())
        if theirs is not ours:
            raise InputError(
                f"this state was left by another back end: it holds a {theirs.__name__}, and this network "
                f"works with a {ours.__name__}. Resume it with the engine that began the stream"
            )

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
        scores, self._network = self._scorer.score(features[None], self._network)
        decibels, self._decibels = self._decibels[:count], self._decibels[count:].copy()
        return self._endpoint.accept(scores[0], decibels if self._energy else None)


class _Schedule:
    """The end silence that shrinks as speech grows longer; consulted once a chunk."""

    def __init__(self, options: VadOptions, state: ScheduleState) -> None:
        self._options = options
        self.state = state

    def before_chunk(self, endpoint: Endpointer, chunk_ms: int) -> None:
        if self.state.counting or endpoint.in_speech:
            self.state = ScheduleState(self.state.spoken_ms + chunk_ms, counting=True)
        rows, spoken_ms = self._options.silence_schedule, self.state.spoken_ms
        silence = next((silence for limit, silence in rows if spoken_ms <= limit), rows[-1][1])
        endpoint.end_threshold_ms = max(silence - self._options.speech_to_sil_time_thres, 0)
        endpoint.speech_noise_thres = DYNAMIC_SPEECH_NOISE_THRES

    def after_chunk(self, events: list[Event]) -> None:
        """As upstream: counting starts afresh after any event, the start of speech included."""
        if events:
            self.state = ScheduleState()
