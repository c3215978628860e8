"""What recognition returns: tokens with their own text, time and confidence; all else derives from them.

All times are integer milliseconds from the start of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One word of the result: a Chinese character, an English word, an abbreviation."""

    text: str
    start_ms: int | None = None
    end_ms: int | None = None
    confidence: float | None = None
    """0..1: probability of the word's least certain piece, times the share of its utterance that the model
    could write: a word amid speech that is unknown to the vocabulary is not to be trusted."""
    ids: tuple[int, ...] = ()
    """Vocabulary ids of the pieces the word was made of."""
    mark: str = ""
    """Punctuation that follows the word."""
    lead: str = ""
    """The blank that the model wrote before the word, if it did; of verbatim transcripts alone."""
    spoken: tuple[str, ...] = ()
    """The words that were heard, where `text` is another way to write them: 100 for 一 百."""
    beside: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Words that were heard before and behind it, and that a rule of the user leaves out."""
    speaker: int | str | None = None
    channel: int | None = None

    @property
    def heard(self) -> tuple[str, ...]:
        """What was heard here, as it was heard."""
        before, behind = self.beside
        return (*before, *(self.spoken or (self.text,)), *behind)

    def shifted(self, ms: int) -> Token:
        """The same word that much later; without times it stays as it is."""
        if self.start_ms is None or self.end_ms is None:
            return self
        return replace(self, start_ms=self.start_ms + ms, end_ms=self.end_ms + ms)

    def until(self, ms: int) -> Token:
        """The same word, but not beyond `ms`; without times it stays as it is."""
        if self.start_ms is None or self.end_ms is None or self.end_ms <= ms:
            return self
        return replace(self, start_ms=min(self.start_ms, ms), end_ms=ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """What a model says about the sound rather than of the words in it: `<|zh|>`, `<|HAPPY|>`, `<|BGM|>`."""

    text: str
    """As the model writes it, with a blank before it where the model wrote one."""
    at: int = 0
    """It stands before that word of its segment; behind the last one where there is no such word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of speech, [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    channel: int | None = None
    first_token: int = 0
    stop_token: int = 0
    """`Transcript.tokens[first_token:stop_token]` are the words heard in it."""
    tags: tuple[Tag, ...] = ()
    """What the model says about it, in order. Part of `Transcript.text`, and of no word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A stretch in which one speaker holds the floor, [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    speaker: int | str
    """0, 1, ... as they are first heard, or the name of a voice that was enrolled."""
    channel: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """Words that were heard as something like a phrase of the user's, and were written as that phrase."""

    original: str
    replacement: str
    score: float
    """How alike they sound, up to 1; 1 where the user gave both."""
    start: int
    end: int
    """Where `original` stood in the text as it was before, without tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The result for one input. Silence is an empty tuple of tokens; a failure carries `error`."""

    key: str
    tokens: tuple[Token, ...] = ()
    duration_ms: int = 0
    segments: tuple[Segment, ...] = ()
    """Speech found by the voice activity detector, when there was one."""
    turns: tuple[Turn, ...] = ()
    """Who speaks when, where speakers were told apart. The words have theirs in `Token.speaker`."""
    speaker_centres: tuple[tuple[float, ...], ...] = ()
    """The mean voice of each speaker, in the order in which they are first heard."""
    timed: bool = False
    """The model gives times: `timestamp` is part of the result, one pair a token."""
    spaced: bool = False
    """`text` has a space between any two tokens (as upstream's timestamp models return it)."""
    verbatim: bool = False
    """The model writes blanks and punctuation itself: `text` is as it wrote it."""
    punctuated: bool = False
    """The tokens went through a punctuation model: `text` is written as sentences are."""
    repairs: tuple[Repair, ...] = ()
    """What was written as hotwords of the user."""
    error: str | None = None

    @property
    def text(self) -> str:
        """The tokens as a line of text; segments are separated by a space, unless sentences are.

        Tags stand where the model wrote them; the text of a punctuation model has none.
        """
        if self.punctuated and all(segment.channel is None for segment in self.segments):
            return self.text_of(0, len(self.tokens))
        if self.verbatim and self.segments:
            parts = (self._tagged(segment) for segment in self.segments)
            return " ".join(part for part in parts if part)
        return self._by_segment(self.text_of)

    @property
    def raw_text(self) -> str:
        """The text without marks, as it is without a punctuation model."""
        if self.verbatim:
            bare = tuple(replace(token, mark="") for token in self.tokens)
            return replace(self, punctuated=False, tokens=bare).text
        return self._by_segment(self._raw_text_of)

    def text_of(self, first: int, stop: int) -> str:
        """The text of `tokens[first:stop]`: words and marks, without tags."""
        if self.verbatim:
            return self._as_written(first, stop)
        if self.punctuated:
            return join_sentences(self.tokens[first:stop], spaced=self.spaced)
        tokens = self.tokens[first:stop]
        return " ".join(t.text + t.mark for t in tokens) if self.spaced else _join_tokens(tokens)

    def _as_written(self, first: int, stop: int) -> str:
        """The text of a verbatim transcript."""
        begins = {segment.first_token for segment in self.segments}
        text = ""
        for index in range(first, stop):
            token = self.tokens[index]
            lead = token.lead
            if index in begins and not lead and text and not (_is_han(text[-1]) and _is_han(token.text[0])):
                lead = " "
            text += lead + token.text + token.mark
        return text.lstrip()

    def _tagged(self, segment: Segment) -> str:
        """The text of a segment with its tags, as the model wrote it."""
        text = ""
        waiting = list(segment.tags)
        for place, token in enumerate(self.tokens[segment.first_token : segment.stop_token]):
            while waiting and waiting[0].at <= place:
                text += waiting.pop(0).text
            text += token.lead + token.text + token.mark
        return text + "".join(tag.text for tag in waiting)

    def _raw_text_of(self, first: int, stop: int) -> str:
        words = [word for token in self.tokens[first:stop] for word in token.heard]
        return " ".join(words) if self.spaced else join_words((word, "") for word in words)

    def _by_segment(self, text_of: Callable[[int, int], str]) -> str:
        if not self.segments:
            return text_of(0, len(self.tokens))
        parts = (text_of(segment.first_token, segment.stop_token) for segment in self.segments)
        return " ".join(part for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        """The public dict with upstream's keys.

        `key`, `text`; for models with times `timestamp` ([[start_ms, end_ms], ...], one pair a word), and
        `words` (one string a pair) where blanks in the text do not part them;
        `confidence` (one float a word); `segments` ([{start, end, text, channel}], ms) when channels were
        kept apart; `error` when this input failed.
        """
        item: dict[str, Any] = {"key": self.key, "text": self.text}
        if self.timed:
            item["timestamp"] = [[token.start_ms, token.end_ms] for token in self.tokens]
            if self.verbatim or any(token.spoken for token in self.tokens):
                item["words"] = [token.text for token in self.tokens]
        if any(token.confidence is not None for token in self.tokens):
            item["confidence"] = [token.confidence for token in self.tokens]
        if any(segment.channel is not None for segment in self.segments):
            item["segments"] = [
                {
                    "start": segment.start_ms,
                    "end": segment.end_ms,
                    "text": self.text_of(segment.first_token, segment.stop_token),
                    "channel": segment.channel,
                }
                for segment in self.segments
            ]
        if self.error is not None:
            item["error"] = self.error
        return item


def main_speaker(tokens: Iterable[Token]) -> int | str | None:
    """Who speaks for most of the time of some words, or most of the words where times are not known.

    Of equals, the one who speaks first. None where no word has a speaker.
    """
    spoken: dict[int | str, int] = {}
    for token in tokens:
        if token.speaker is not None:
            length = 0
            if token.start_ms is not None and token.end_ms is not None:
                length = token.end_ms - token.start_ms
            # A word of no length counts too, but less than any that has one.
            spoken[token.speaker] = spoken.get(token.speaker, 0) + length * 1000 + 1
    return max(spoken, key=spoken.__getitem__, default=None)


def _is_han(char: str) -> bool:
    return "\u3400" <= char <= "\u9fff"


def is_cjk_char(char: str) -> bool:
    """Characters written without spaces around them; digits and @ count, as in upstream's text rules."""
    return "\u4e00" <= char <= "\u9fff" or "0" <= char <= "9" or char == "@"


def is_latin_char(char: str) -> bool:
    """Letters of words that are separated by spaces, and the apostrophe."""
    return char == "'" or (char.isalpha() and not is_cjk_char(char))


def join_words(words: Iterable[tuple[str, str]]) -> str:
    """(word, mark) pairs -> text: a space after a Latin word, unless a CJK character or the end follows."""
    return _join_tokens(Token(text=word, mark=mark) for word, mark in words)


def _join_tokens(tokens: Iterable[Token]) -> str:
    text = ""
    blank = False
    for token in tokens:
        if not token.text:
            continue
        if blank and not is_cjk_char(first_char(token)):
            text += " "
        text += token.text + token.mark
        blank = is_latin_char(last_char(token)) or (bool(token.mark) and token.mark.isascii())
    return text


def first_char(token: Token) -> str:
    """What decides on a blank before a word: a number has the blanks of the words that were spoken."""
    char = token.text[0]
    return token.spoken[0][0] if token.spoken and not is_latin_char(char) else char


def last_char(token: Token) -> str:
    """What decides on a blank after a word."""
    char = token.text[-1]
    return token.spoken[-1][-1] if token.spoken and not is_latin_char(char) else char


def _as_heard(token: Token) -> Token:
    text = join_words((word, "") for word in token.spoken) if token.spoken else token.text
    return replace(token, text=text, mark="", spoken=())


def join_sentences(tokens: Iterable[Token], *, spaced: bool) -> str:
    """Words with marks -> text: as upstream, blanks stand only between ASCII words.

    `spaced`: without marks there would be a blank between any two words, so that `3` and `5` are not 35.
    """
    text = ""
    before: Token | None = None
    for token in tokens:
        if not token.text:
            continue
        if before is not None and last_char(before).isascii() and first_char(token).isascii():
            parted = is_latin_char(last_char(before)) and not is_cjk_char(first_char(token))
            if spaced or before.mark or parted:
                text += " "
        text += token.text + token.mark
        before = token
    return text
