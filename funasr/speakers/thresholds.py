"""`spk_conf` of a speaker model's config.yaml -> how alike voices have to be. Every network has its scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from funasr.config import pick, section
from funasr.errors import ModelFilesError

SAME_THR = 0.45
ENROLLED_THR = 0.31


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Cosines, but for `context`. The defaults are for the released models, whose settings name none."""

    merge_thr: float = 0.78
    """Speakers whose mean voices are this similar become one, where their number is not known."""
    split_thr: float = 0.25
    """Fewer than 20 windows: speakers whose voices are on average less similar than this are two."""
    same_thr: float = SAME_THR
    """In a live stream: a voice this similar to the mean voice of a speaker is that speaker's."""
    enrolled_thr: float = ENROLLED_THR
    """A voice this similar to one that has a name is called by it."""

    context: int = 0
    """Windows on either side that the voice of a window is averaged with, within one stretch of speech: for
    networks to which 1.5 s say too little."""

    def __post_init__(self) -> None:
        if self.context < 0:
            raise ModelFilesError(f"spk_conf.context is {self.context}; it is a number of windows, 0 or more")
        for field in fields(self):
            if field.name == "context":
                continue
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or not -1 <= value <= 1:
                raise ModelFilesError(f"spk_conf.{field.name} is {value!r}; it is a cosine, from -1 to 1")

    @classmethod
    def from_config(cls, raw: Mapping[str, Any]) -> Thresholds:
        """`raw` is the config.yaml as a mapping. Raises ModelFilesError for numbers that are no cosines."""
        return pick(cls, section(raw, "spk_conf"), "spk_conf")
