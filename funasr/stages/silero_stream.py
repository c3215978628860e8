"""SileroStream: windows of 32 ms -> probability of speech -> segments; SileroState: all that it remembers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import NO_SAMPLES, Samples, read_only
from funasr.errors import InputError
from funasr.features.fbank import finite
from funasr.stages.detector import all_or_nothing
from funasr.vad.endpoint import Event, SpeechEnd, SpeechStart
from funasr.vad.silero import SileroOptions

# Sound scored at once, in windows.
BLOCK_WINDOWS = 512

# Speech ends below a lower threshold than it starts with, against flicker. silero-vad's own value.
HYSTERESIS = 0.15


class WindowScorer(Protocol):
    """A window classifier with memory. Immutable."""

    window_samples: int

    def initial_state(self) -> Any: ...

    def score(self, windows: NDArray[np.float32], state: Any) -> tuple[NDArray[np.float32], Any]:
        """windows (N, window_samples), consecutive -> probability of speech (N,), and the next state."""
        ...


@dataclass(frozen=True, slots=True)
class _Speech:
    """Samples [start, end), before padding; a side that was cut touches its neighbour and gets none."""

    start: int
    end: int
    cut_before: bool = False
    cut_after: bool = False
    start_ms: int | None = None
    """Padded, once it has been told."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SileroState:
    """All that one live stream remembers between calls. Picklable; arrays are its own, and read-only."""

    options: SileroOptions
    network: Any
    """The scorer's memory."""
    waiting: Samples
    """(N,) less than a window."""
    seen: int = 0
    """Samples scored."""
    speech: _Speech | None = None
    """The open segment; its end is not known yet."""
    scores: tuple[float, ...] = ()
    """Of the windows of the open segment."""
    silent_since: int | None = None
    held: _Speech | None = None
    """Complete, but the next one may be near."""
    floor: int = 0
    """No segment starts before this."""
    flushed: bool = False

    @property
    def nbytes(self) -> int:
        """Size in bytes; bounded by `max_single_segment_time`."""
        return int(self.waiting.nbytes + 8 * len(self.scores) + self.network.nbytes)


class SileroStream:
    """Speech in one live stream. How the audio is cut into pieces never changes what is found.

    A start is told as soon as the speech is long enough not to be dropped, an end when the pause after it is
    long enough for the padding. A call that raises leaves the stream as it was.
    """

    _waiting: Samples
    _open: _Speech | None
    _flushed: bool

    def __init__(
        self, scorer: WindowScorer, options: SileroOptions, state: SileroState | None = None
    ) -> None:
        """`state`: to go on where another stream of these options stood, here or in another process."""
        self._scorer, self._options = scorer, options
        self._window = scorer.window_samples
        if state is None:
            state = SileroState(options=options, network=scorer.initial_state(), waiting=NO_SAMPLES)
        else:
            self._check(state)
        self.restore(state)

    @property
    def state(self) -> SileroState:
        """All that is remembered now; `SileroDetector.stream(state=)` goes on from it."""
        return SileroState(
            options=self._options,
            network=self._network,
            waiting=self._waiting,
            seen=self._seen,
            speech=self._open,
            scores=tuple(self._scores),
            silent_since=self._silent_since,
            held=self._held,
            floor=self._floor,
            flushed=self._flushed,
        )

    @property
    def in_speech(self) -> bool:
        return self._open is not None

    @property
    def earliest_start_ms(self) -> int:
        """No segment that is still to end starts before this: sound older than it can be forgotten."""
        speech = self._held or self._open
        first = self._seen if speech is None else speech.start
        pad = self._samples(self._options.silero_speech_pad_ms)
        return self._ms(max(first - pad, self._floor))

    @property
    def nbytes(self) -> int:
        """Size of what is remembered, in bytes; bounded by `max_single_segment_time`."""
        return self.state.nbytes

    def accept(self, samples: Samples) -> list[Event]:
        """samples (N,) -> what is certain now.

        Raises InputError for what is no sound, and for a stream that was flushed.
        """
        if self._flushed:
            raise InputError("this stream was flushed and takes no more sound: make a new one with stream()")
        samples = finite(samples)
        with all_or_nothing(self):
            waiting = np.concatenate([self._waiting, samples])
            count = len(waiting) // self._window
            self._waiting = read_only(waiting[count * self._window :].copy())
            return self._score(waiting[: count * self._window].reshape(count, self._window))

    def flush(self) -> list[Event]:
        """No more sound will come: what is open ends. Flushing again says nothing."""
        if self._flushed:
            return []
        with all_or_nothing(self):
            length = self._seen + len(self._waiting)
            found: list[Event] = []
            if len(self._waiting):
                padded = np.pad(self._waiting, (0, self._window - len(self._waiting)))
                found += self._score(padded[None], length)
                self._waiting = NO_SAMPLES
            if self._open is not None:
                found += self._finish(replace(self._open, end=length))
                self._open = None
            if self._held is not None:
                found += self._release(length)
            self._flushed = True
            return found

    def restore(self, state: SileroState) -> None:
        """Go back to a state that this stream was in."""
        self._network = state.network
        self._waiting = state.waiting
        self._seen = state.seen
        self._open = state.speech
        self._scores = list(state.scores)
        self._silent_since = state.silent_since
        self._held = state.held
        self._floor = state.floor
        self._flushed = state.flushed

    def _check(self, state: SileroState) -> None:
        """Raises InputError where this stream could not have left the state."""
        theirs, ours = type(state.network), type(self._scorer.initial_state())
        if theirs is not ours or state.options != self._options:
            raise InputError(
                "this state was left by another detector, or with other options: give it to the detector "
                "that began the stream, and no options beside it"
            )

    def _score(self, windows: NDArray[np.float32], length: int | None = None) -> list[Event]:
        """`length`: samples of the stream, where the last window is padded."""
        found: list[Event] = []
        for start in range(0, len(windows), BLOCK_WINDOWS):
            part = windows[start : start + BLOCK_WINDOWS]
            scores, self._network = self._scorer.score(part, self._network)
            for score in scores.tolist():
                found += self._step(score, length)
        return found

    def _step(self, score: float, length: int | None) -> list[Event]:
        """One more window."""
        options, at = self._options, self._seen
        self._seen += self._window
        found: list[Event] = []
        threshold = options.silero_threshold
        if score >= threshold:
            self._silent_since = None
            if self._open is None:
                self._open, self._scores = _Speech(at, at), []
        elif score < max(threshold - HYSTERESIS, 0.01) and self._open is not None:
            if self._silent_since is None:
                self._silent_since = at
            if at - self._silent_since >= self._samples(options.silero_min_silence_duration_ms):
                ended = replace(self._open, end=self._silent_since)
                self._open = self._silent_since = None
                found += self._finish(ended)
        if self._open is not None:
            self._scores.append(score)
            # In a pause the segment may be about to end by itself.
            longest = self._samples(options.max_single_segment_time)
            if self._silent_since is None and self._seen - self._open.start >= longest:
                found += self._cut(self._open, longest // self._window)
            heard = self._seen if length is None else length
            if self._open.start_ms is None and self._is_certain(self._open, heard):
                self._open, events = self._told(self._open)
                found += events
        gap = 2 * self._samples(options.silero_speech_pad_ms)
        if self._held is not None and self._open is None and self._seen - self._held.end >= gap:
            found += self._release(self._seen)
        return found

    def _cut(self, long: _Speech, windows: int) -> list[Event]:
        """End the open segment at its deepest pause, at most `windows` long, and go on behind it."""
        half = windows // 2
        place = half + int(np.argmin(self._scores[half : windows + 1]))
        at = long.start + max(place, 1) * self._window
        self._scores = self._scores[max(place, 1) :]
        self._open = _Speech(at, at, cut_before=True)
        return self._finish(replace(long, end=at, cut_after=True))

    def _is_certain(self, speech: _Speech, heard: int) -> bool:
        """Whether the open speech will not be dropped, whatever follows the `heard` samples."""
        shortest = self._samples(self._options.silero_min_speech_duration_ms)
        return speech.cut_before or (self._silent_since is None and heard - speech.start > shortest)

    def _told(self, speech: _Speech) -> tuple[_Speech, list[Event]]:
        """Where speech starts; before that, where the one before it ends."""
        found = self._release(speech.start) if self._held is not None else []
        pad = self._samples(self._options.silero_speech_pad_ms)
        start_ms = self._ms(speech.start if speech.cut_before else max(speech.start - pad, self._floor))
        return replace(speech, start_ms=start_ms), [*found, SpeechStart(start_ms)]

    def _finish(self, speech: _Speech) -> list[Event]:
        """A complete stretch; too short ones vanish, unless they are the rest of something longer."""
        found: list[Event] = []
        if speech.start_ms is None:
            shortest = self._samples(self._options.silero_min_speech_duration_ms)
            if speech.end - speech.start <= shortest and not speech.cut_before:
                return []
            speech, found = self._told(speech)
        self._held = speech
        return found

    def _release(self, until: int) -> list[Event]:
        """The held stretch, padded; what follows begins at `until` or later."""
        held = self._held
        assert held is not None
        assert held.start_ms is not None
        self._held = None
        pad = self._samples(self._options.silero_speech_pad_ms)
        end = held.end
        if not held.cut_after:
            gap = max(until - held.end, 0)
            end += pad if gap >= 2 * pad else gap // 2
        self._floor = end
        return [SpeechEnd(held.start_ms, self._ms(end))]

    def _samples(self, milliseconds: int) -> int:
        return milliseconds * self._options.silero_sampling_rate // 1000

    def _ms(self, samples: int) -> int:
        return samples * 1000 // self._options.silero_sampling_rate
