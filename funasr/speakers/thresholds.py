"""`spk_conf` of a speaker model's config.yaml -> how its voices are told apart: a matter of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from funasr.config import pick, section
from funasr.errors import ModelFilesError, OptionError
from funasr.speakers.evidence import STAY, WEIGHT, Spread
from funasr.speakers.windows import SHIFT_MS, WINDOW_MS

SAME_THR = 0.45
ENROLLED_THR = 0.31


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The defaults are for the released models, whose settings name none."""

    merge_thr: float = 0.78
    """Speakers whose mean voices are this similar (cosine) become one, where their number is not known."""
    split_thr: float = 0.25
    """Fewer than 20 windows: speakers whose voices are on average less similar than this are two."""
    same_thr: float = SAME_THR
    """In a live stream: a voice this similar to the mean voice of a speaker is that speaker's."""
    enrolled_thr: float = ENROLLED_THR
    """A voice this similar to one that has a name is called by it."""

    window_ms: int = WINDOW_MS
    """What a voice is taken of, in a recording with several speakers."""
    shift_ms: int = SHIFT_MS
    """From the beginning of a window to that of the next."""
    repeat: bool = False
    """Speech shorter than a window is filled up with itself, and not with zeros."""

    between: tuple[float, ...] = ()
    """As in `evidence.Spread`, and so are the next three. Where it is given, speakers are parted by evidence,
    and not by `merge_thr` and `split_thr`: for networks to which a window says little."""
    within: tuple[float, ...] = ()
    weight: float = WEIGHT
    stay: float = STAY

    def __post_init__(self) -> None:
        for name in ("merge_thr", "split_thr", "same_thr", "enrolled_thr"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not -1 <= value <= 1:
                raise ModelFilesError(f"spk_conf.{name} is {value!r}; it is a cosine, from -1 to 1")
        if not 0 < self.shift_ms <= self.window_ms:
            raise ModelFilesError(
                f"spk_conf: windows of {self.window_ms!r} ms every {self.shift_ms!r} ms; expected a shift of "
                "more than 0 and not more than a window"
            )
        try:
            self.spread()
        except OptionError as error:
            raise ModelFilesError(f"spk_conf: {error}") from error

    def spread(self) -> Spread | None:
        """What the network's voices are like, if that is known."""
        if not self.between and not self.within:
            return None
        return Spread(between=self.between, within=self.within, weight=self.weight, stay=self.stay)

    @classmethod
    def from_config(cls, raw: Mapping[str, Any]) -> Thresholds:
        """`raw` is the config.yaml as a mapping. Raises ModelFilesError for what makes no sense."""
        given = dict(section(raw, "spk_conf"))
        for name in ("between", "within"):
            if name in given:
                given[name] = tuple(given[name])
        return pick(cls, given, "spk_conf")
