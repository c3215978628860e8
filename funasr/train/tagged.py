"""Utterances with what a SenseVoice writes in front of the text: language, emotion, event and style."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from funasr.errors import InputError, did_you_mean
from funasr.text.rich import EMOTIONS, EVENTS, LANGUAGES
from funasr.text.tokenizer import SentencepieceTokenizer
from funasr.train.check import TAG_FIELDS
from funasr.train.data import PADDING, Example
from funasr.train.speech import SpeechExamples

KNOWN = (*LANGUAGES, *EMOTIONS, *EVENTS, "EMO_UNKNOWN", "Event_UNK", "withitn", "woitn")


class TaggedExamples:
    """An `ExampleSource` whose targets begin with the ids of four tags; PADDING for one that is not known."""

    def __init__(self, speech: SpeechExamples, tokenizer: SentencepieceTokenizer) -> None:
        """Raises InputError for a tag that is not in the vocabulary."""
        self._speech = speech
        self._ids: dict[str, int] = {}
        for utterance in speech.utterances:
            for field, tag in zip(TAG_FIELDS, utterance.tags, strict=True):
                if tag is None or tag in self._ids:
                    continue
                found = tokenizer.find(tag)
                if found is None:
                    near = did_you_mean(tag.strip("<|>"), KNOWN) or "."
                    raise InputError(f"{utterance.where}: {field} {tag!r} is not in the vocabulary{near}")
                self._ids[tag] = found

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        return self._speech.lengths(epoch)

    def load(self, epoch: int, index: int) -> Example:
        example = self._speech.load(epoch, index)
        tags = self._speech.utterances[index].tags
        ids = np.array([PADDING if tag is None else self._ids[tag] for tag in tags], dtype=np.int64)
        return replace(example, target=np.concatenate([ids, example.target]))
