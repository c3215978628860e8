"""A live utterance is complete: its sound and the words heard so far -> its words, told for good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from funasr.pipeline.offline import Marker, Recognizer
from funasr.pipeline.utterances import Closed
from funasr.result import Token, Transcript
from funasr.stages.live_speaker import LiveSpeakers
from funasr.stages.paraformer import DecodeOptions


class Closing(Protocol):
    """What is done with an utterance when it is complete. Immutable: what it remembers is handed to it."""

    @property
    def keeps_words(self) -> bool:
        """The words stay those that the streaming recognizer heard, so they are told when it is certain."""
        ...

    def initial_memory(self) -> Any:
        """What is remembered of no utterances: frozen, picklable, has `nbytes`; or None."""
        ...

    def close(self, utterance: Closed, words: tuple[Token, ...], memory: Any) -> tuple[Transcript, Any]:
        """A complete utterance and what was heard of it -> its words, at times of the stream; the memory."""
        ...


@dataclass(frozen=True, slots=True)
class KeptWords:
    """Closes utterances with the words that were heard, marks set by `marker`, each utterance by itself."""

    marker: Marker | None = None

    @property
    def keeps_words(self) -> bool:
        return True

    def initial_memory(self) -> Any:
        return None

    def close(self, utterance: Closed, words: tuple[Token, ...], memory: Any) -> tuple[Transcript, Any]:
        transcript = Transcript(key="", tokens=words, timed=True)
        if self.marker is not None:
            [transcript] = self.marker.mark_words([transcript])
        return transcript, memory


@dataclass(frozen=True, slots=True)
class SecondPass:
    """Closes utterances with the words that another recognizer hears in the whole of them."""

    recognizer: Recognizer
    marker: Marker | None
    speakers: LiveSpeakers | None
    decode: DecodeOptions

    @property
    def keeps_words(self) -> bool:
        return False

    def initial_memory(self) -> Any:
        return self.speakers.nobody() if self.speakers else None

    def close(self, utterance: Closed, words: tuple[Token, ...], memory: Any) -> tuple[Transcript, Any]:
        [transcript] = self.recognizer.recognize([utterance.samples], self.decode)
        tokens = tuple(token.shifted(utterance.start_ms) for token in transcript.tokens)
        if self.speakers is not None:
            speaker, memory = self.speakers.tell(utterance.samples, memory)
            tokens = tuple(replace(token, speaker=speaker) for token in tokens)
        transcript = replace(transcript, tokens=tokens)
        if self.marker is not None:
            [transcript] = self.marker.mark_words([transcript])
        return transcript, memory
