"""Options of silero-vad: when probabilities of speech, one a window of 32 ms, are a segment. Times in ms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from funasr import config
from funasr.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class SileroOptions:
    """Upstream's names."""

    silero_threshold: float = 0.5
    """Probability of speech that starts a segment."""
    silero_min_speech_duration_ms: int = 250
    """Shorter speech is dropped."""
    silero_min_silence_duration_ms: int = 100
    """Shorter pauses do not end a segment."""
    silero_speech_pad_ms: int = 30
    """Added at both ends of a segment, or half the pause where two would meet."""
    silero_sampling_rate: int = 16000
    silero_onnx: bool = True
    """Accepted for upstream's sake: the graph is what there is."""
    max_single_segment_time: int = 60_000
    """Longer segments are cut, at the deepest pause in the second half of what is allowed."""

    def override(self, given: Mapping[str, Any]) -> SileroOptions:
        """These options with some replaced. Raises OptionError for a name that is not a field."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return config.options(type(self), {**fields, **given}, "silero-vad")

    def __post_init__(self) -> None:
        if self.silero_sampling_rate not in (8000, 16000):
            raise OptionError(f"silero_sampling_rate is {self.silero_sampling_rate}: expected 16000 or 8000")
        if not 0 < self.silero_threshold < 1:
            raise OptionError(
                f"silero_threshold is {self.silero_threshold}: expected a number between 0 and 1"
            )
        if self.max_single_segment_time < 1000:
            raise OptionError(
                f"max_single_segment_time is {self.max_single_segment_time}: expected 1000 (ms) or more"
            )
