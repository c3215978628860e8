"""SenseVoice: utterances (N,) float32 -> Transcripts with tags (language, emotion, event), one each.

The model is asked four things in front of the sound: which language, which emotion, which event, how to
write. It answers with tags, at the place of the questions, and with text, at the place of the sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.decode.ctc import Run, collapse
from funasr.errors import OptionError, did_you_mean
from funasr.result import Segment, Tag, Token, Transcript
from funasr.stages.paraformer import DecodeOptions, Frontend
from funasr.stages.protocols import CtcNetwork, CtcRow
from funasr.text.join import merge_surfaces

LANGUAGES: Mapping[str, int] = {"auto": 0, "zh": 3, "en": 4, "yue": 7, "ja": 11, "ko": 12, "nospeech": 13}
"""Name -> its row in the network's table of queries."""

EMOTION_AND_EVENT = (1, 2)
WITH_ITN, WITHOUT_ITN = 14, 15
QUERIES = 4

OTHER_NAMES: Mapping[str, str] = {
    "chinese": "zh",
    "mandarin": "zh",
    "cmn": "zh",
    "cn": "zh",
    "zn": "zh",  # as upstream's own samples had it
    "zh-yue": "yue",
    "zh-hk": "yue",
    "cantonese": "yue",
    "english": "en",
    "japanese": "ja",
    "jp": "ja",
    "korean": "ko",
    "kr": "ko",
}
"""Other ways to write a language, in lower case with `-`. A region behind it (`en-US`) may always stand."""

UNKNOWN_EMOTION = "<|EMO_UNKNOWN|>"


class Vocabulary(Protocol):
    """What the stage needs of a tokenizer; `text.tokenizer.SentencepieceTokenizer` is one."""

    def surfaces(self, ids: Sequence[int]) -> list[str]:
        """What each id adds to the text."""
        ...

    def find(self, piece: str) -> int | None:
        """The id of a vocabulary entry, or None."""
        ...


class SenseVoiceRecognizer:
    """Immutable: any number of threads may call one."""

    timed = False
    """Results have times only when asked for."""
    spaced = False
    verbatim = True
    """Results are as the model wrote them: its blanks, its punctuation."""

    def __init__(
        self, network: CtcNetwork, frontend: Frontend, tokenizer: Vocabulary, *, frame_ms: float = 60.0
    ) -> None:
        """`frame_ms`: from one feature row to the next."""
        self.network = network
        self.frontend = frontend
        self.tokenizer = tokenizer
        self._frame_ms = frame_ms

    @property
    def rate(self) -> int:
        """Samples per second of the utterances."""
        return self.frontend.fs

    def recognize(self, batch: Sequence[Samples], options: DecodeOptions | None = None) -> list[Transcript]:
        """Utterances at `rate` -> one Transcript each, key unset; an empty one for no sound.

        Each has one segment, the whole of it, which carries the tags.
        """
        results = [Transcript(key="", timed=options is not None and options.timestamps, verbatim=True)]
        results *= len(batch)
        spoken = [index for index, samples in enumerate(batch) if len(samples)]
        if spoken:
            features, lengths = self.frontend.batch([batch[index] for index in spoken])
            durations = [len(batch[index]) * 1000 // self.rate for index in spoken]
            found = self._heard(features, lengths, durations, options or DecodeOptions())
            for index, transcript in zip(spoken, found, strict=True):
                results[index] = transcript
        return results

    def recognize_features(
        self, features: Features, lengths: NDArray[np.int64], options: DecodeOptions | None = None
    ) -> list[Transcript]:
        """features (B, T, D), zero-padded, lengths (B,) -> one Transcript each, key unset."""
        durations = [int(length * self._frame_ms) for length in lengths]
        return self._heard(features, lengths, durations, options or DecodeOptions())

    def _heard(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        durations: Sequence[int],
        options: DecodeOptions,
    ) -> list[Transcript]:
        how = WITH_ITN if options.itn else WITHOUT_ITN
        queries = (LANGUAGES[options.language], *EMOTION_AND_EVENT, how)
        unknown = self.tokenizer.find(UNKNOWN_EMOTION) if options.ban_unknown_emotion else None
        banned = () if unknown is None else (unknown,)
        rows = self.network.infer(features, lengths, queries, banned)
        return [
            self._transcript(row, duration_ms, timed=options.timestamps)
            for row, duration_ms in zip(rows, durations, strict=True)
        ]

    def _transcript(self, row: CtcRow, duration_ms: int, *, timed: bool) -> Transcript:
        words, tags = self._words(row, timed=timed)
        whole = Segment(start_ms=0, end_ms=duration_ms, stop_token=len(words), tags=tags)
        return Transcript(
            key="", tokens=words, duration_ms=duration_ms, segments=(whole,), timed=timed, verbatim=True
        )

    def _words(self, row: CtcRow, *, timed: bool) -> tuple[tuple[Token, ...], tuple[Tag, ...]]:
        runs = collapse(row.ids, row.confidences)
        frames = len(row.ids) - QUERIES
        pieces = []
        for run, text in zip(runs, self.tokenizer.surfaces([run.id for run in runs]), strict=True):
            start, end = self._times(run, frames) if timed else (None, None)
            pieces.append(
                Token(text=text, start_ms=start, end_ms=end, confidence=run.confidence, ids=(run.id,))
            )
        return merge_surfaces(pieces)

    def _times(self, run: Run, frames: int) -> tuple[int, int]:
        """A frame's token is heard half a frame before it; nothing is heard before the sound, or after it."""
        start, end = (
            # As upstream: in seconds, and cut off.
            int(max(((edge - QUERIES) * self._frame_ms - 30) / 1000, 0) * 1000)
            for edge in (run.start, min(run.stop, frames + QUERIES))
        )
        return start, end


def language_name(value: str | None) -> str:
    """A language as users write it (`zh`, `zh-CN`, `Chinese`, None) -> its name in LANGUAGES.

    Raises OptionError for one that the model does not know: it would be taken for `auto` otherwise.
    """
    if value is None:
        return "auto"
    name = str(value).strip().lower().replace("_", "-")
    for form in (name, name.partition("-")[0]):
        found = OTHER_NAMES.get(form, form)
        if found in LANGUAGES:
            return found
    raise OptionError(
        f"language is {value!r}{did_you_mean(name, [*LANGUAGES, *OTHER_NAMES]) or '.'} "
        f"SenseVoice knows {', '.join(LANGUAGES)}"
    )
