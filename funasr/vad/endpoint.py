"""Frame scores -> where speech starts and ends. One Endpointer belongs to one stream.

A frame is 10 ms (`frame_in_ms`); frames are numbered from the start of the stream. Three steps: every frame
is labelled speech or silence; a majority window over the labels turns speech on and off; a segment opens and
closes on those turns. The first two are array operations. The third jumps from turn to turn: within a run of
equal state there is at most one frame at which something can happen, and it is computed, not searched for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import read_only
from funasr.errors import InputError
from funasr.vad.options import VadOptions
from funasr.vad.votes import Votes

DYNAMIC_SPEECH_NOISE_THRES = 0.5


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """Speech has been noticed; it started at `start_ms`."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """The segment [start_ms, end_ms) is complete."""

    start_ms: int
    end_ms: int


Event: TypeAlias = SpeechStart | SpeechEnd


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EndpointState:
    """What an Endpointer remembers between calls: small, of constant size. Times are frames of the stream."""

    recent: NDArray[np.bool_]
    """Labels of the last window since the last reset; False stands for what it has not seen. Read-only."""
    end_threshold_ms: float
    speech_noise_thres: float
    frames: int = 0
    """Frames seen."""
    speaking: bool = False
    """What the window says of the last frame."""
    silent_frames: int = 0
    """Frames of silence in a row after the one that turned speech off."""
    start: int | None = None
    """First frame of the open segment."""
    floor: int = 0
    """First frame that belongs to no segment and has not been given up."""
    ended: bool = False
    """detect_mode 0 has its utterance, or has given up; or no more frames will come."""
    noise_db: float = -100.0

    @classmethod
    def initial(cls, options: VadOptions) -> EndpointState:
        return cls(
            recent=read_only(np.zeros(options.window_size_ms // options.frame_in_ms, dtype=np.bool_)),
            end_threshold_ms=options.end_threshold_ms,
            speech_noise_thres=options.speech_noise_thres,
        )

    @property
    def nbytes(self) -> int:
        """Size in bytes; constant."""
        return self.recent.nbytes + 8 * 9


class Endpointer:
    """One stream. How the scores are cut into calls never changes the events, only when they come."""

    def __init__(self, options: VadOptions, state: EndpointState | None = None) -> None:
        """`state` is that of an Endpointer of the same options, to go on where that one stood."""
        self._options = options
        frame = options.frame_in_ms
        self._window = options.window_size_ms // frame
        self._on_count = options.sil_to_speech_time_thres // frame
        self._off_count = options.speech_to_sil_time_thres // frame
        self._lookahead = options.lookahead_time_end_point // frame
        lookback = options.lookback_time_start_point // frame if options.do_extend else 0
        self._latency = self._window + lookback
        self._longest = int(options.max_single_segment_time // frame)

        state = EndpointState.initial(options) if state is None else state
        self.end_threshold_ms = state.end_threshold_ms
        """Silence to count before a segment closes; may be changed between calls."""
        self.speech_noise_thres = state.speech_noise_thres
        """See VadOptions; may be changed between calls."""
        self._recent = state.recent
        self._frames = state.frames
        self._speaking = state.speaking
        self._silent_frames = state.silent_frames
        self._start = state.start
        self._floor = state.floor
        self._ended = state.ended
        self._noise_db = state.noise_db

    @property
    def state(self) -> EndpointState:
        """What is remembered now."""
        return EndpointState(
            recent=self._recent,
            end_threshold_ms=self.end_threshold_ms,
            speech_noise_thres=self.speech_noise_thres,
            frames=self._frames,
            speaking=self._speaking,
            silent_frames=self._silent_frames,
            start=self._start,
            floor=self._floor,
            ended=self._ended,
            noise_db=self._noise_db,
        )

    @property
    def in_speech(self) -> bool:
        """A segment is open."""
        return self._start is not None

    @property
    def earliest_start_ms(self) -> int:
        """No segment that is still to end starts before this: sound older than it can be forgotten."""
        first = self._start
        if first is None:
            first = max(self._floor, self._frames - self._latency)
        return first * self._options.frame_in_ms

    @property
    def nbytes(self) -> int:
        """Size of what is remembered, in bytes; constant."""
        return self.state.nbytes

    def accept(self, p_silence: NDArray[Any], decibels: NDArray[Any] | None = None) -> list[Event]:
        """p_silence (T,) in [0, 1], decibels (T,) or None -> what happened in these frames, in order.

        `decibels` are needed, and looked at, only where `VadOptions.needs_energy`.
        """
        count = len(p_silence)
        if count == 0:
            return []
        speech = self._label(np.asarray(p_silence, dtype=np.float64), decibels)
        events: list[Event] = []
        if self._ended:
            self._frames += count
            return events
        votes = Votes(self._recent, speech, self._on_count, self._off_count)
        frame = 0  # relative to this call
        while frame < count and not self._ended:
            if self._speaking:
                frame = self._through_speech(votes, frame, count, events)
            else:
                frame = self._through_silence(votes, frame, count, events)
        self._recent = votes.recent()
        self._frames += count
        return events

    def flush(self) -> list[Event]:
        """No more frames will come: an open segment ends with the last one."""
        events: list[Event] = []
        if self._start is not None:
            # As upstream, except that speech noticed at the very last frame gets its end too.
            self._close(self._frames - 1, events)
        self._ended = True
        return events

    def _through_silence(self, votes: Votes, frame: int, count: int, events: list[Event]) -> int:
        """From `frame` on the window says silence; returns the first frame not dealt with."""
        options, base = self._options, self._frames
        on = votes.next_on(frame)
        turn = min(on, count)  # frames frame..turn-1 are silent
        if self._start is None:
            if options.detect_mode == 0:
                longest = options.max_start_silence_time // options.frame_in_ms
                if self._silent_frames + turn - frame > longest:
                    self._ended = True
                    return count
            if turn > frame and base + turn - 1 >= self._latency:
                self._floor = max(self._floor, base + turn - 1 - self._latency)
        else:
            # The segment ends by silence or by length, whichever comes first; silence wins a tie.
            needed = max(-int(-self.end_threshold_ms // options.frame_in_ms), 1)  # frames, rounded up
            by_silence = frame + max(needed - self._silent_frames - 1, 0)
            by_length = max(self._start + self._longest - base, frame)
            if min(by_silence, by_length) < turn:
                at = min(by_silence, by_length)
                back = 0
                if by_silence <= by_length:
                    back = int(self.end_threshold_ms / options.frame_in_ms)
                    if options.do_extend:
                        back -= self._lookahead + 1
                self._close(base + at - max(back, 0), events)
                votes.reset(at)
                return at + 1
        self._silent_frames += turn - frame
        if on >= count:
            return count
        self._silent_frames = 0
        self._speaking = True
        if self._start is None:
            self._start = max(self._floor, base + on - self._latency)
            events.append(SpeechStart(self._start * options.frame_in_ms))
        elif base + on >= self._start + self._longest:
            self._close(base + on, events)
            votes.reset(on)
        return on + 1

    def _through_speech(self, votes: Votes, frame: int, count: int, events: list[Event]) -> int:
        """From `frame` on the window says speech; returns the first frame not dealt with."""
        assert self._start is not None
        self._silent_frames = 0
        off = votes.next_off(frame)
        at = max(self._start + self._longest - self._frames, frame)
        if at <= min(off, count - 1):
            self._close(self._frames + at, events)
            votes.reset(at)
            return at + 1
        if off >= count:
            return count
        self._speaking = False
        return off + 1

    def _close(self, last_frame: int, events: list[Event]) -> None:
        """The open segment ends with `last_frame` (absolute); the window starts anew."""
        assert self._start is not None
        frame_ms = self._options.frame_in_ms
        events.append(SpeechEnd(self._start * frame_ms, (last_frame + 1) * frame_ms))
        self._floor = last_frame + 1
        self._start = None
        self._speaking = False
        self._silent_frames = 0
        self._ended = self._options.detect_mode == 0

    def _label(self, p_silence: NDArray[np.float64], decibels: NDArray[Any] | None) -> NDArray[np.bool_]:
        options = self._options
        noise = p_silence
        if options.speech_2_noise_ratio != 1.0:
            noise = p_silence**options.speech_2_noise_ratio
        speech: NDArray[np.bool_] = (1.0 - p_silence) >= noise + self.speech_noise_thres
        if not options.needs_energy:
            return speech
        if decibels is None or len(decibels) != len(speech):
            raise InputError(
                f"{len(speech)} scores came with {0 if decibels is None else len(decibels)} energies: "
                "snr_thres or decibel_thres is set, so every frame needs its decibels"
            )
        return self._gate(speech, np.asarray(decibels, dtype=np.float64))

    def _gate(self, speech: NDArray[np.bool_], decibels: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Reject speech that is not loud enough; silence updates the noise level, so frames come in turn."""
        options = self._options
        length = options.noise_frame_num_used_for_snr
        kept = speech.copy()
        noise = self._noise_db
        for index, (label, level) in enumerate(zip(speech.tolist(), decibels.tolist(), strict=True)):
            if level < options.decibel_thres:
                kept[index] = False
            elif label:
                kept[index] = level - noise >= options.snr_thres
            else:
                noise = level if noise < -99.9 else (level + noise * (length - 1)) / length
        self._noise_db = noise
        return kept
