"""`model_conf` of an fsmn-vad config.yaml -> VadOptions: when speech starts, when it ends. Times in ms."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from funasr import config
from funasr.errors import OptionError

Schedule = tuple[tuple[float, float], ...]
"""(speech so far at most this long, silence that then ends it) rows in ms, the longest last."""

DEFAULT_SCHEDULE: Schedule = (
    (10_000, 2000),
    (20_000, 1000),
    (30_000, 800),
    (40_000, 600),
    (50_000, 400),
    (60_000, 200),
    (float("inf"), 100),
)
"""The longer somebody has been speaking, the shorter the pause that ends the segment (upstream's values)."""

# Keys of released configs that upstream reads into its options and never acts on.
WITHOUT_EFFECT = frozenset(
    {
        "nn_eval_block_size",
        "dcd_block_size",
        "snr_mode",
        "do_start_point_detection",
        "do_end_point_detection",
        "fe_prior_thres",
        "silence_pdf_num",
        "speech_noise_thresh_low",
        "speech_noise_thresh_high",
        "output_frame_probs",
    }
)


@dataclass(frozen=True, kw_only=True)
class VadOptions:
    """Field names and defaults are those of the released model's `model_conf`."""

    sample_rate: int = 16000
    detect_mode: int = 1
    """1: any number of segments. 0: stop after the first utterance."""
    frame_in_ms: int = 10
    """One score covers this much time."""
    frame_length_ms: int = 25
    """Window over which a frame's energy is measured."""

    window_size_ms: int = 200
    """A majority vote over this window smooths the frame labels."""
    sil_to_speech_time_thres: int = 150
    """Speech inside the window that starts speech."""
    speech_to_sil_time_thres: int = 150
    """Speech inside the window, or less, that ends speech."""
    speech_2_noise_ratio: float = 1.0
    """Exponent on the probability of silence; above 1 makes speech easier to find."""
    speech_noise_thres: float = 0.6
    """A frame is speech when P(speech) >= P(silence) ** speech_2_noise_ratio + this."""
    sil_pdf_ids: tuple[int, ...] = (0,)
    """Outputs of the network that mean silence."""

    max_end_silence_time: int = 800
    """Silence that ends a segment, the part of the window that noticed it included."""
    max_start_silence_time: int = 3000
    """In detect_mode 0: silence after which nothing is expected any more."""
    max_single_segment_time: int = 60_000
    """Longer speech is cut."""
    do_extend: int = 1
    """Pad segments by the two times below."""
    lookback_time_start_point: int = 200
    lookahead_time_end_point: int = 100

    snr_thres: float = -100.0
    """dB above the running noise level that speech must have. The default never rejects."""
    decibel_thres: float = -100.0
    """dB that speech must have. The default never rejects: digital silence has -60."""
    noise_frame_num_used_for_snr: int = 100
    """Length of the running mean of the noise level, in frames."""

    dynamic_silence: bool = False
    """Let the end silence shrink as speech grows longer, by `silence_schedule`, instead of
    `max_end_silence_time`; labels then use a `speech_noise_thres` of 0.5. On by default upstream since 1.3;
    here a model does what its own config says."""
    silence_schedule: Schedule = DEFAULT_SCHEDULE

    def __post_init__(self) -> None:
        if self.detect_mode not in (0, 1):
            raise OptionError(
                f"detect_mode is {self.detect_mode!r}: expected 1 (many segments) or 0 (only the first)"
            )
        for name in ("sample_rate", "frame_in_ms", "frame_length_ms", "noise_frame_num_used_for_snr"):
            if getattr(self, name) <= 0:
                raise OptionError(f"{name} is {getattr(self, name)!r}: expected a number above 0")
        for field in dataclasses.fields(self):
            if field.name.endswith(("_time", "_time_thres", "_point")) and getattr(self, field.name) < 0:
                raise OptionError(
                    f"{field.name} is {getattr(self, field.name)!r}: expected milliseconds, 0 or more"
                )
        if self.window_size_ms < self.frame_in_ms:
            raise OptionError(
                f"window_size_ms is {self.window_size_ms}: expected at least one frame ({self.frame_in_ms})"
            )
        object.__setattr__(self, "silence_schedule", _as_schedule(self.silence_schedule))
        object.__setattr__(self, "sil_pdf_ids", tuple(int(pdf) for pdf in self.sil_pdf_ids))

    @classmethod
    def from_official(cls, model_conf: Mapping[str, Any]) -> VadOptions:
        """Read `model_conf` of a config.yaml; keys nobody knows are logged and left alone."""
        return config.pick(cls, model_conf, "model_conf of the vad model", WITHOUT_EFFECT)

    def override(self, given: Mapping[str, Any]) -> VadOptions:
        """These options with some replaced; nothing is changed in place.

        Raises OptionError for a name that is not a field, with the nearest one.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return config.options(type(self), {**fields, **given}, "vad_kwargs")

    @property
    def needs_energy(self) -> bool:
        """Whether an energy gate is set high enough to reject anything."""
        return self.snr_thres > -100 or self.decibel_thres > -100

    @property
    def end_threshold_ms(self) -> float:
        """Silence to count after the window has noticed the end of speech."""
        # As upstream: not clamped here, only where the schedule sets it; 0 or less ends at once.
        return self.max_end_silence_time - self.speech_to_sil_time_thres


def _as_schedule(rows: Sequence[Sequence[float]]) -> Schedule:
    try:
        schedule = tuple((float(limit), float(silence)) for limit, silence in rows)
    except (TypeError, ValueError):
        raise OptionError(f"silence_schedule is {rows!r}: expected pairs [speech_ms, silence_ms]") from None
    # Written so that nan fails; the last speech_ms may be infinite.
    grows = all(a[0] < b[0] for a, b in itertools.pairwise(schedule))
    if (
        not schedule
        or not grows
        or not all(limit >= 0 and 0 <= pause < math.inf for limit, pause in schedule)
    ):
        raise OptionError(
            f"silence_schedule is {rows!r}: expected one or more pairs of milliseconds with growing speech_ms"
        )
    return schedule
