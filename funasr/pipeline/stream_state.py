"""What a live stream remembers, and what may be chosen for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from funasr.arrays import Samples
from funasr.errors import OptionError
from funasr.pipeline.closing import ClosingMemory
from funasr.pipeline.utterances import UtterancesState
from funasr.result import Token
from funasr.stages.protocols import ChunkShape

WORD_BYTES = 500
"""About what a word takes in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """What may be chosen for one stream."""

    vad: Any = None
    """The detector's options; None for its own."""
    shape: ChunkShape | None = None
    """How the streaming recognizer walks over the sound; None for its own way."""
    longest_ms: int = 60_000
    """Without a detector: an utterance that is longer ends with the last word that is settled."""
    lead_in_ms: int = 0
    """Without a detector: so much silence is heard before the first sample, so that a recognizer that learnt
    from whole recordings does not lose a word which the sound begins in. Times do not count it."""
    block_ms: int = 60
    """Sound is looked at in blocks of this length, counted from the beginning of the stream, however it
    comes: events are told at the end of a block, and depend on nothing but the sound."""

    def __post_init__(self) -> None:
        for name in ("longest_ms", "block_ms"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise OptionError(f"{name} is {value!r}; it must be a number of milliseconds, 1 or more")
        if not isinstance(self.lead_in_ms, int) or isinstance(self.lead_in_ms, bool) or self.lead_in_ms < 0:
            raise OptionError(
                f"lead_in_ms is {self.lead_in_ms!r}; it must be a number of milliseconds, 0 or more"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamState:
    """All that a stream remembers. Picklable; a stream of the same models and options goes on from it."""

    waiting: Samples
    """Sound that fills no block yet."""
    samples_in: int
    """Samples in complete blocks."""
    utterances: UtterancesState | None
    """None without a detector."""
    words: Any
    """Of the recognizer's stream on the open utterance, or None."""
    memory: ClosingMemory
    id: int
    """Number of the open utterance, or of the next one."""
    start_ms: int
    """Where the sound begins that the recognizer hears as one: the utterance, or without a detector all."""
    settled: tuple[Token, ...]
    shown: tuple[Token, ...]
    """The words of the last `Partial`."""
    flushed: bool

    @property
    def nbytes(self) -> int:
        """Size in bytes, bounded by the longest utterance: its words, and with a detector its sound."""
        parts = (self.utterances, self.words, self.memory)
        known = sum(int(part.nbytes) for part in parts if part is not None)
        return known + self.waiting.nbytes + WORD_BYTES * (len(self.settled) + len(self.shown))
