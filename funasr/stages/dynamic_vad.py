"""DynamicStreamingVAD: a live stream whose end silence shrinks as speech grows longer. Upstream's class.

Unlike `VadOptions.dynamic_silence` it counts from where speech began, and asks once a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from funasr.audio.load import load_audio
from funasr.errors import InputError, OptionError
from funasr.stages.detector import all_or_nothing
from funasr.stages.vad import SpeechDetector, VadStream
from funasr.vad.endpoint import Event, SpeechStart
from funasr.vad.options import VadOptions

Pairs = list[list[int]]
"""[[start_ms, end_ms], ...]"""

WRAPPER_SCHEDULE = (
    (5_000, 2000),
    (10_000, 1500),
    (15_000, 1000),
    (30_000, 800),
    (45_000, 400),
    (float("inf"), 100),
)
"""(speech so far at most this long, silence that then ends it) in ms."""

_STREAM = "vad_stream"


class DynamicStreamingVAD:
    """Complete segments of one live stream, as they end. A call that raises leaves it as it was."""

    def __init__(
        self,
        vad_model: Any,
        chunk_size_ms: int = 60,
        speech_noise_thres: float = 0.5,
        speech_to_sil_thres_ms: int = 150,
        silence_schedule: Sequence[tuple[float, float]] | None = None,
        sample_rate: int = 16000,
    ) -> None:
        """`vad_model` is an AutoModel of an fsmn-vad, or a SpeechDetector; other wrappers may share it.

        `speech_to_sil_thres_ms` is the part of the silence that the window takes to notice it. Raises
        InputError for another model, OptionError for a bad schedule or a rate that is not the model's.
        """
        detector = getattr(vad_model, "model", vad_model)
        if not isinstance(detector, SpeechDetector):
            raise InputError(
                f"DynamicStreamingVAD works on an fsmn-vad, e.g. AutoModel(model='fsmn-vad'), and this is a "
                f"{type(detector).__name__}"
            )
        if sample_rate != detector.fs:
            raise OptionError(f"sample_rate is {sample_rate}; the model expects sound at {detector.fs} Hz")
        if chunk_size_ms < 1:
            raise OptionError(f"chunk_size_ms is {chunk_size_ms}: expected milliseconds, 1 or more")
        options = detector.options.override(
            {
                "dynamic_silence": False,
                "speech_noise_thres": speech_noise_thres,
                "silence_schedule": WRAPPER_SCHEDULE if silence_schedule is None else silence_schedule,
            }
        )
        self.model = vad_model
        self.chunk_size_ms = chunk_size_ms
        self.speech_noise_thres = speech_noise_thres
        self.speech_to_sil_thres_ms = speech_to_sil_thres_ms
        self.silence_schedule = options.silence_schedule
        self.sample_rate = sample_rate
        self._detector = detector
        # Until the first call has been heard there is nothing to tune: as upstream, the model's own
        # speech_to_sil_time_thres counts in it.
        first = int(options.silence_schedule[0][1])
        self._options: VadOptions = options.override({"max_end_silence_time": first})
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next call begins a stream."""
        self.cache: dict[str, Any] = {}
        """The live stream, once it has begun; opaque."""
        self.confirmed_segments: Pairs = []
        """All complete segments since the stream began."""
        self.current_speech_start: int | None = None
        """Where speech that has not ended began, in ms."""
        self.accumulated_since_cut_ms = 0
        self._heard = 0
        self._ended = False

    @property
    def is_speaking(self) -> bool:
        return self.current_speech_start is not None

    @property
    def current_duration_ms(self) -> int:
        """Sound since the start of the open speech; 0 where there is none."""
        return self.accumulated_since_cut_ms

    @property
    def current_threshold_ms(self) -> int:
        """Silence that would end speech now."""
        return self._threshold_ms(self.accumulated_since_cut_ms)

    def feed(self, audio: Any, is_final: bool = False) -> Pairs:
        """The next sound, an array or tensor (N,) at the model's rate -> the segments that ended in it.

        `is_final` ends the stream, and the call after that begins another one.
        """
        if self._ended:
            self.reset()
        samples = load_audio(audio, self.sample_rate, source_rate=self.sample_rate)
        heard = self._heard + len(samples)
        spoken_ms = self._spoken_ms(heard, self.current_speech_start)
        began: VadStream | None = self.cache.get(_STREAM)
        stream = began or self._detector.stream(self._options, chunk_ms=self.chunk_size_ms)
        with all_or_nothing(stream):
            if began is not None:
                silence_ms = self._threshold_ms(spoken_ms)
                stream.tune(
                    end_threshold_ms=max(silence_ms - self.speech_to_sil_thres_ms, 0),
                    speech_noise_thres=self.speech_noise_thres,
                )
            events = stream.accept(samples)
            if is_final:
                events += stream.flush()
        self.cache[_STREAM] = stream
        self._heard, self._ended = heard, is_final
        self.accumulated_since_cut_ms = spoken_ms
        return self._told(events)

    def finalize(self) -> Pairs:
        """No more sound will come: what is open ends. Saying so again does nothing."""
        if self._ended:
            return []
        return self.feed(np.zeros(self.sample_rate // 100, dtype=np.float32), is_final=True)

    def process(self, audio: Any) -> Pairs:
        """A whole recording, as a stream of its own -> all its segments."""
        self.reset()
        samples = load_audio(audio, self.sample_rate, source_rate=self.sample_rate)
        size = self.sample_rate * self.chunk_size_ms // 1000
        for start in range(0, len(samples), size):
            self.feed(samples[start : start + size], is_final=start + size >= len(samples))
        return [list(pair) for pair in self.confirmed_segments]

    def _told(self, events: Sequence[Event]) -> Pairs:
        ended: Pairs = []
        for event in events:
            if isinstance(event, SpeechStart):
                self.current_speech_start = event.start_ms
            else:
                ended.append([event.start_ms, event.end_ms])
                self.current_speech_start = None
            self.accumulated_since_cut_ms = self._spoken_ms(self._heard, self.current_speech_start)
        self.confirmed_segments += [list(pair) for pair in ended]
        return ended

    def _spoken_ms(self, heard: int, start_ms: int | None) -> int:
        return 0 if start_ms is None else max(heard * 1000 // self.sample_rate - start_ms, 0)

    def _threshold_ms(self, spoken_ms: int) -> int:
        rows = self.silence_schedule
        return int(next((silence for limit, silence in rows if spoken_ms <= limit), rows[-1][1]))
