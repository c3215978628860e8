"""Forced alignment: utterances (N,) float32 and what was said in them -> Transcripts with times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Samples
from funasr.decode.timestamps import token_times
from funasr.errors import InputError
from funasr.result import Token, Transcript
from funasr.stages.paraformer import Frontend
from funasr.stages.protocols import AlignmentNetwork
from funasr.text.join import CONTINUES
from funasr.text.tokenizer import Tokenizer

PARTS_AT_A_TIME = 8
"""Stretches of a long sound that go through the network together."""


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
        for samples, pieces in zip(sounds, texts, strict=True):
            self.require_room([samples], pieces)
        return [
            self._transcript(self._timed(pieces, alphas), len(samples) * 1000 // self.rate)
            for samples, pieces, alphas in zip(sounds, texts, self._weigh(sounds), strict=True)
        ]

    def align_parts(
        self, parts: Sequence[tuple[int, Samples]], pieces: Sequence[Token], duration_ms: int
    ) -> Transcript:
        """A long sound's stretches of speech, each with its start (ms), and all of its text -> a Transcript.

        Every part is given the share of the text that its weights ask for, and is aligned by itself: an error
        in one does not move the times of the others. Raises InputError where they are too short for the text.
        """
        sounds = [samples for _, samples in parts]
        self.require_room(sounds, pieces)
        weights: list[NDArray[np.float32]] = []
        for first in range(0, len(sounds), PARTS_AT_A_TIME):
            weights += self._weigh(sounds[first : first + PARTS_AT_A_TIME])
        # One token more than there are closes the last one of each part.
        masses = [max(float(alphas.sum(dtype=np.float64)) - 1, 0.0) for alphas in weights]
        inside = [not piece.text.endswith(CONTINUES) for piece in pieces]
        ends = share_out(masses, [self._room(samples) for samples in sounds], inside)
        timed: list[Token] = []
        begin = 0
        for (start_ms, _), alphas, end in zip(parts, weights, ends, strict=True):
            timed += self._timed(pieces[begin:end], alphas, start_ms)
            begin = end
        return self._transcript(timed, duration_ms)

    def require_room(self, sounds: Sequence[Samples], pieces: Sequence[Token]) -> None:
        """Raises InputError where sounds have no room for a text: at most one token begins in 20 ms."""
        room = sum(map(self._room, sounds))
        if len(pieces) > room:
            seconds = sum(map(len, sounds)) / self.rate
            raise InputError(
                f"the text has {len(pieces)} tokens, and {seconds:.2f} s of sound have room for {room} at "
                "most: they do not belong together, or the sound is cut short"
            )

    def _room(self, samples: Samples) -> int:
        frames = -(-len(samples) * 1000 // int(self._frame_ms * self.rate))
        return max(frames * self.network.upsample_rate - 1, 0)

    def _weigh(self, sounds: Sequence[Samples]) -> Sequence[NDArray[np.float32]]:
        if not sounds:
            return []
        features, lengths = self.frontend.batch(sounds)
        return self.network.weigh(features, lengths)

    def _timed(self, pieces: Sequence[Token], alphas: NDArray[np.float32], begin_ms: int = 0) -> list[Token]:
        """The pieces with the times at which the weights of a sound fire that begins at `begin_ms`."""
        total = max(np.float32(alphas.sum(dtype=np.float64)), np.float32(1e-6))
        times = token_times(
            alphas * (np.float32(len(pieces) + 1) / total),
            None,
            len(pieces),
            upsample_rate=self.network.upsample_rate,
            frame_ms=self._frame_ms,
        )
        return [
            Token(text=piece.text, start_ms=begin_ms + start, end_ms=begin_ms + end, ids=piece.ids)
            for piece, (start, end) in zip(pieces, times, strict=True)
        ]

    def _transcript(self, pieces: Sequence[Token], duration_ms: int) -> Transcript:
        words = self.tokenizer.words(pieces)
        return Transcript(key="", tokens=words, duration_ms=duration_ms, timed=True, spaced=True)

    def _speakable(self, text: str) -> str:
        return "".join(char if self._is_spoken(char) else " " for char in text)

    def _is_spoken(self, char: str) -> bool:
        return char.isalnum() or char == "'" or self.tokenizer.unk_id not in self.tokenizer.encode(char)

    def _pieces_of(self, word: str) -> list[Token]:
        ids = self.tokenizer.encode(word)
        if self.tokenizer.unk_id not in ids:
            tokens = self.tokenizer.tokens(ids)
            return _spelt(word, [Token(text=t, ids=(i,)) for i, t in zip(ids, tokens, strict=True)])
        if len(ids) == 1 or len(word) == 1:
            return [Token(text=word, ids=(self.tokenizer.unk_id,))]
        return _spelt(word, [piece for char in word for piece in self._pieces_of(char)])


def _spelt(word: str, pieces: list[Token]) -> list[Token]:
    """The pieces of a word, of which letters that follow each other stay together, written as in the word.

    Else single letters would join those of the next word, as in an abbreviation.
    """
    if [piece.text.lower() for piece in pieces] != list(word.lower()):
        return pieces
    return [
        replace(piece, text=char + (CONTINUES if _is_letter(following) else ""))
        if _is_letter(char)
        else piece
        for piece, char, following in zip(pieces, word, word[1:] + " ", strict=True)
    ]


def _is_letter(char: str) -> bool:
    return char.isascii() and (char.isalpha() or char == "'")


def share_out(masses: Sequence[float], rooms: Sequence[int], ends_word: Sequence[bool]) -> list[int]:
    """Tokens, in order, to parts of a sound -> the index behind the last token of each part.

    `masses`: how much of the text each part asks for; `rooms`: how many tokens it can hold, enough in all;
    `ends_word`: for each token, whether a part may end behind it. A word is parted only where it must be.
    """
    count = len(ends_word)
    total = sum(masses)
    shares = np.cumsum(masses) / total if total > 0 else np.cumsum(rooms) / max(sum(rooms), 1)
    ends: list[int] = []
    begin, room_after = 0, sum(rooms)
    for share, room in zip(shares.tolist(), rooms, strict=True):
        room_after -= room
        lowest, highest = max(begin, count - room_after), min(begin + room, count)
        wanted = min(max(round(share * count), lowest), highest)
        # The nearest place between two words, the earlier one of two.
        places = (end for end in range(lowest, highest + 1) if end in (0, count) or ends_word[end - 1])
        begin = min(places, key=lambda end: abs(end - wanted), default=wanted)
        ends.append(begin)
    return ends
