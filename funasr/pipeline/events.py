"""What a live stream tells: words as they are heard, words that are settled, utterances that are complete.

Utterances are numbered 0, 1, 2, ... in the order in which they begin; one ends before the next one begins.
The events of an utterance come in this order: any number of `Partial` and `Stable`, mixed, then one `Final`.
A client that shows captions needs two rules: a `Partial` replaces what is shown of its utterance, and so does
the `Final`, for good. A client that only appends takes the `Stable` events, or only the `Final` ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from funasr.result import Token, join_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """All that has been heard of an utterance that is still open; it replaces the one before.

    The first `settled` words are in all later ones too; the rest may change or vanish. Sent only when the
    words differ from those of the last one, so not every piece of sound brings one.
    """

    id: int
    words: tuple[Token, ...]
    text: str
    start_ms: int
    """Where the utterance begins."""
    end_ms: int
    """How far the sound has been listened to. Words come later than their sound, by the recognizer's lag."""
    settled: int

    def to_dict(self) -> dict[str, Any]:
        return {**_common("partial", self), "settled": self.settled}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stable:
    """More words that will never change; each word of an utterance comes once, in order.

    `text` begins with the blank that parts it from the words before, if there is one: the texts of all
    `Stable` of an utterance, one behind the other, are its text without punctuation. Where a second model
    reads the utterance when it is complete, nothing is stable before, and there are none.
    """

    id: int
    words: tuple[Token, ...]
    """One or more."""
    text: str
    start_ms: int
    end_ms: int
    """The time of these words."""

    def to_dict(self) -> dict[str, Any]:
        return _common("stable", self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """An utterance is complete. No words: speech was noticed, and no word was found in it.

    Its words are those of its `Stable` events with their punctuation marks; where there is a second model,
    that model's.
    """

    id: int
    words: tuple[Token, ...]
    text: str
    start_ms: int
    end_ms: int
    """The stretch of speech; the last words may stand a little behind it."""
    speaker: int | str | None = None
    """Who speaks, where voices are told apart and this one could be told."""

    def to_dict(self) -> dict[str, Any]:
        item = _common("final", self)
        if self.speaker is not None:
            item["speaker"] = self.speaker
        return item


LiveEvent: TypeAlias = Partial | Stable | Final


def more_text(before: Sequence[Token], words: Sequence[Token]) -> str:
    """The text of words that follow others, with the blank that parts them."""
    known = join_words((word.text, "") for word in before)
    return join_words((word.text, "") for word in (*before, *words))[len(known) :]


def _common(kind: str, event: LiveEvent) -> dict[str, Any]:
    return {
        "type": kind,
        "id": event.id,
        "text": event.text,
        "start_ms": event.start_ms,
        "end_ms": event.end_ms,
        "words": [_word(word) for word in event.words],
    }


def _word(word: Token) -> dict[str, Any]:
    """`text`; `start_ms`, `end_ms`, `confidence`, `mark` where there are such."""
    item: dict[str, Any] = {"text": word.text}
    for name in ("start_ms", "end_ms", "confidence"):
        value = getattr(word, name)
        if value is not None:
            item[name] = value
    if word.mark:
        item["mark"] = word.mark
    return item
