"""Words with marks and times -> sentences, and the `sentence_info` of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from funasr.result import Token, Transcript, first_char, last_char, main_speaker

WIDE = {",": "，", ".": "。", "?": "？"}
ENGLISH = {"，": ",", "。": ".", "？": "?", "、": ","}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """Words up to a mark; any mark, as upstream counts them: a comma ends one too."""

    tokens: tuple[Token, ...]

    @property
    def start_ms(self) -> int | None:
        return self.tokens[0].start_ms

    @property
    def end_ms(self) -> int | None:
        return self.tokens[-1].end_ms

    @property
    def speaker(self) -> int | str | None:
        """Who says most of it."""
        return main_speaker(self.tokens)

    @property
    def channel(self) -> int | None:
        return self.tokens[0].channel

    def text(self, *, english: bool = False) -> str:
        """As upstream: full-width marks, a blank before and after English words, the first one included.

        `english` (upstream's `en_post_proc`): ASCII marks, no blank at the beginning.
        """
        mark = self.tokens[-1].mark
        if english:
            return _spaced(self.tokens).strip() + ENGLISH.get(mark, mark)
        return _spaced(self.tokens) + WIDE.get(mark, mark)

    @property
    def raw_text(self) -> str:
        """The words alone, as they were heard."""
        heard = [Token(text=word) for token in self.tokens for word in token.heard]
        return _spaced(heard).strip()

    def to_dict(self, *, english: bool = False, raw_text: bool = False) -> dict[str, Any]:
        """Upstream's keys: text, start, end, timestamp, and raw_text when wanted. Perhaps spk, channel."""
        item: dict[str, Any] = {
            "text": self.text(english=english),
            "start": self.start_ms,
            "end": self.end_ms,
            "timestamp": [[token.start_ms, token.end_ms] for token in self.tokens],
        }
        if raw_text:
            item["raw_text"] = self.raw_text
        if self.speaker is not None:
            item["spk"] = self.speaker
        if self.channel is not None:
            item["channel"] = self.channel
        return item


def make_sentences(transcript: Transcript) -> list[Sentence]:
    """Sentences that partition the words of a transcript; of channels kept apart, each one's, by start.

    What follows the last mark is a sentence too.
    """
    channels = {token.channel: None for token in transcript.tokens}
    found = [
        sentence
        for channel in channels
        for sentence in _split([token for token in transcript.tokens if token.channel == channel])
    ]
    if len(channels) > 1:
        found.sort(key=lambda sentence: sentence.start_ms or 0)
    return found


def _split(tokens: Sequence[Token]) -> Iterator[Sentence]:
    begin = 0
    for index, token in enumerate(tokens, 1):
        if token.mark or index == len(tokens):
            yield Sentence(tokens=tuple(tokens[begin:index]))
            begin = index


def _spaced(tokens: Sequence[Token]) -> str:
    text = ""
    before = ""
    for token in tokens:
        if token.text:
            if _is_letter(first_char(token)) or _is_letter(before):
                text += " "
            text += token.text
            before = last_char(token)
    return text


def _is_letter(char: str) -> bool:
    return char.isascii() and char.isalpha()
