"""A live utterance is complete: its sound and the words heard so far -> its words, told for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from funasr.pipeline.offline import Marker, Recognizer
from funasr.pipeline.utterances import Closed
from funasr.result import Token, Transcript
from funasr.stages.live_speaker import LiveSpeakers, SpeakersHeard
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.punctuation import PunctuationState, Punctuator

Rewrite: TypeAlias = Callable[[Transcript], Transcript]
"""Writes words in another way, numbers as digits for one; see auto/rewrite.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingMemory:
    """What is remembered of the utterances that are complete. Picklable."""

    text: PunctuationState | None = None
    """The words since the last sentence end, where punctuation goes on over utterances."""
    speakers: SpeakersHeard | None = None

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.text, self.speakers) if part is not None)


class Closing(Protocol):
    """What is done with an utterance when it is complete. Immutable: what it remembers is handed to it."""

    @property
    def keeps_words(self) -> bool:
        """The words stay those that the streaming recognizer heard, so they are told when it is certain."""
        ...

    def initial_memory(self) -> ClosingMemory: ...

    def close(
        self, utterance: Closed, words: tuple[Token, ...], memory: ClosingMemory
    ) -> tuple[Transcript, ClosingMemory]:
        """A complete utterance and what was heard of it -> its words, at times of the stream; the memory."""
        ...


@dataclass(frozen=True, slots=True)
class Writing:
    """How the words of an utterance are written: first marks, then `rewrite`.

    A punctuation model of live texts reads on over the utterances, and leaves open where a sentence does not
    end; any other reads each by itself, and ends it with a sentence.
    """

    marker: Marker | None = None
    rewrite: Rewrite | None = None

    def initial_memory(self) -> ClosingMemory:
        live = self._live()
        return ClosingMemory(text=live.stream().state if live else None)

    def write(self, transcript: Transcript, memory: ClosingMemory) -> tuple[Transcript, ClosingMemory]:
        live = self._live()
        if live is not None:
            text = live.stream(memory.text)
            transcript = text.mark_words(transcript)
            memory = replace(memory, text=text.state)
        elif self.marker is not None:
            [transcript] = self.marker.mark_words([transcript])
        return transcript if self.rewrite is None else self.rewrite(transcript), memory

    def _live(self) -> Punctuator | None:
        return self.marker if isinstance(self.marker, Punctuator) and self.marker.live else None


@dataclass(frozen=True, slots=True)
class KeptWords:
    """Closes utterances with the words that were heard."""

    writing: Writing

    @property
    def keeps_words(self) -> bool:
        return True

    def initial_memory(self) -> ClosingMemory:
        return self.writing.initial_memory()

    def close(
        self, utterance: Closed, words: tuple[Token, ...], memory: ClosingMemory
    ) -> tuple[Transcript, ClosingMemory]:
        return self.writing.write(Transcript(key="", tokens=words, timed=True), memory)


@dataclass(frozen=True, slots=True)
class SecondPass:
    """Closes utterances with the words that another recognizer hears in the whole of them."""

    recognizer: Recognizer
    writing: Writing
    speakers: LiveSpeakers | None
    decode: DecodeOptions

    @property
    def keeps_words(self) -> bool:
        return False

    def initial_memory(self) -> ClosingMemory:
        nobody = self.speakers.nobody() if self.speakers else None
        return replace(self.writing.initial_memory(), speakers=nobody)

    def close(
        self, utterance: Closed, words: tuple[Token, ...], memory: ClosingMemory
    ) -> tuple[Transcript, ClosingMemory]:
        [transcript] = self.recognizer.recognize([utterance.samples], self.decode)
        tokens = tuple(token.shifted(utterance.start_ms) for token in transcript.tokens)
        if self.speakers is not None and memory.speakers is not None:
            speaker, heard = self.speakers.tell(utterance.samples, memory.speakers)
            tokens = tuple(replace(token, speaker=speaker) for token in tokens)
            memory = replace(memory, speakers=heard)
        return self.writing.write(replace(transcript, tokens=tokens), memory)
