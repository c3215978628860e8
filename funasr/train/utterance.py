"""A line of a manifest: what can be learnt from it, or why nothing can. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from funasr.train.manifest import text_length

Tags: TypeAlias = tuple[str | None, str | None, str | None, str | None]

TAG_FIELDS = ("text_language", "emo_target", "event_target", "with_or_wo_itn")
NO_TAGS: Tags = (None, None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One line of a manifest that can be learnt from."""

    key: str
    source: str
    """Path or URL of the sound, or the shard it is in; empty for lines of text alone."""
    text: str
    """What is said, or who says it."""
    frames: int
    """Length of the sound in frames of 10 ms, 1 where nothing tells; of text alone, its words."""
    where: str
    """File and line."""
    tags: Tags = NO_TAGS
    """Language, emotion, event and style, such as `<|en|>`; None for what the line does not have."""
    segments: tuple[tuple[int, int], ...] = ()
    """Where somebody speaks, [start_ms, end_ms), in order."""
    part: tuple[int, int] | None = None
    """Offset and size in bytes of the sound, where `source` is a shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a line is left out."""

    where: str
    kind: str
    """A few words, the same for all lines with this fault."""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}{f': {self.detail}' if self.detail else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Fields of `dataset_conf`. Source lengths are frames of 10 ms, target lengths words or characters."""

    min_source_length: int = 0
    max_source_length: int = 2048
    min_target_length: int = 0
    max_target_length: int = 2048
    max_token_length: int = 2200
    """Of both together."""

    def broken_by(self, frames: int, text: str) -> str | None:
        """The limit that an utterance breaks, in words; None for one within all of them."""
        size = text_length(text)
        if broken := self.source_broken_by(frames):
            return broken
        if size < self.min_target_length:
            return f"text shorter than min_target_length={self.min_target_length} words or characters"
        if size > self.max_target_length:
            return f"text longer than max_target_length={self.max_target_length} words or characters"
        if frames + size > self.max_token_length:
            return f"sound and text longer than max_token_length={self.max_token_length}"
        return None

    def source_broken_by(self, length: int, what: str = "sound", unit: str = "frames of 10 ms") -> str | None:
        """The same for what has a source alone."""
        if length < self.min_source_length:
            return f"{what} shorter than min_source_length={self.min_source_length} {unit}"
        if length > self.max_source_length:
            return f"{what} longer than max_source_length={self.max_source_length} {unit}"
        return None
