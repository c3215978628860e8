"""Forced alignment: utterances (N,) float32 and what was said in them -> Transcripts with times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Samples
from funasr.decode.timestamps import token_times
from funasr.errors import InputError
from funasr.result import Token, Transcript
from funasr.stages.paraformer import Frontend
from funasr.stages.protocols import AlignmentNetwork
from funasr.text.tokenizer import Tokenizer


class Aligner:
    """Immutable: any number of threads may call one."""

    def __init__(
        self,
        network: AlignmentNetwork,
        frontend: Frontend,
        tokenizer: Tokenizer,
        *,
        frame_ms: float = 60.0,
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

    def pieces(self, text: str) -> list[Token]:
        """The vocabulary entries that a text is spelt with, one Token each, and no times yet.

        What the vocabulary lacks counts as one entry a word or character and keeps its own text; only
        punctuation that it lacks is left out, for it makes no sound. Raises InputError where nothing is left.
        """
        pieces: list[Token] = []
        for word in self._speakable(text).split():
            pieces += self._pieces_of(word)
        if not pieces:
            raise InputError(f"the text {text!r} has no words that could be in the sound")
        return pieces

    def align(self, sounds: Sequence[Samples], texts: Sequence[Sequence[Token]]) -> list[Transcript]:
        """Sounds at `rate` and their texts as `pieces` -> one Transcript each, key unset, words with times.

        Raises InputError where a sound is too short for its text: see `require_room`.
        """
        if not sounds:
            return []
        features, lengths = self.frontend.batch(sounds)
        counts = np.array([len(pieces) for pieces in texts], dtype=np.int64)
        for frames, pieces in zip(lengths.tolist(), texts, strict=True):
            self._require_room(frames, pieces)
        alphas = self.network.fire(features, lengths, counts)
        return [
            self._transcript(pieces, row, len(samples) * 1000 // self.rate)
            for samples, pieces, row in zip(sounds, texts, alphas, strict=True)
        ]

    def require_room(self, samples: Samples, pieces: Sequence[Token]) -> None:
        """Raises InputError where a sound has no room for a text: at most one token begins in 20 ms."""
        block = self._frame_ms * self.rate / 1000
        self._require_room(int(-(-len(samples) // block)), pieces)

    def _require_room(self, frames: int, pieces: Sequence[Token]) -> None:
        room = max(frames * self.network.upsample_rate - 1, 0)
        if len(pieces) > room:
            seconds = frames * self._frame_ms / 1000
            raise InputError(
                f"the text has {len(pieces)} tokens, and {seconds:.2f} s of sound have room for {room} at "
                "most: they do not belong together, or the sound is cut short"
            )

    def _transcript(
        self, pieces: Sequence[Token], alphas: NDArray[np.float32], duration_ms: int
    ) -> Transcript:
        rate = self.network.upsample_rate
        times = token_times(alphas, None, len(pieces), upsample_rate=rate, frame_ms=self._frame_ms)
        timed = [
            Token(text=piece.text, start_ms=start, end_ms=end, ids=piece.ids)
            for piece, (start, end) in zip(pieces, times, strict=True)
        ]
        return Transcript(
            key="", tokens=self.tokenizer.words(timed), duration_ms=duration_ms, timed=True, spaced=True
        )

    def _speakable(self, text: str) -> str:
        return "".join(char if self._is_spoken(char) else " " for char in text)

    def _is_spoken(self, char: str) -> bool:
        return char.isalnum() or char == "'" or self.tokenizer.unk_id not in self.tokenizer.encode(char)

    def _pieces_of(self, word: str) -> list[Token]:
        ids = self.tokenizer.encode(word)
        if self.tokenizer.unk_id not in ids:
            return [Token(text=t, ids=(i,)) for i, t in zip(ids, self.tokenizer.tokens(ids), strict=True)]
        if len(ids) == 1 or len(word) == 1:
            return [Token(text=word, ids=(self.tokenizer.unk_id,))]
        return [piece for char in word for piece in self._pieces_of(char)]
