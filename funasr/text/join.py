"""Vocabulary pieces -> words, each with the times, ids and confidence of the pieces it was made of.

A piece is a `Token` whose text is the vocabulary string and whose ids hold one id. Two conventions occur:
`hel@@ lo` (the mark says that the word goes on) and `▁hel lo` (the mark says that a word begins).
`funasr.result.join_words` turns the words into a line of text.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from funasr.result import Tag, Token, is_cjk_char, is_latin_char

SPECIAL = frozenset({"<blank>", "<s>", "</s>", "<unk>", "<OOV>"})
"""Vocabulary entries that are never shown. One that is dropped takes its time with it."""

CONTINUES = "@@"
WORD_START = "\u2581"
MOST_OPEN = 64
"""Pieces of a word, or letters of an abbreviation; one that would be longer ends there."""


def merge_pieces(pieces: Sequence[Token]) -> tuple[Token, ...]:
    """Pieces with `@@` marks -> words; runs of single letters become abbreviations (`a i` -> `AI`).

    As upstream, so that text and times agree with it: a Chinese character does not end an open `hel@@`; the
    next English piece does, and stands after the character. When pieces are timed and a character falls
    into an open word, the character takes the time of the pieces before it and the word begins at its last
    part. So it is for what is neither, a sign or `42nd`, to which upstream gives no time. An open word that
    nothing closes is dropped.
    """
    words, rest = PieceJoiner().add(pieces)
    return words + rest.close()


def merge_word_starts(pieces: Sequence[Token]) -> tuple[Token, ...]:
    """Pieces with `▁` marks (SentencePiece) -> words. A Chinese character is a word of its own."""
    words, rest = WordStartJoiner().add(pieces)
    return words + rest.close()


class Joiner(Protocol):
    """What pieces of a stream have not settled yet. Frozen; pieces come in any portions."""

    @property
    def tail(self) -> tuple[Token, ...]:
        """The words that are still open, as far as they were heard; the next piece may change them."""
        ...

    @property
    def nbytes(self) -> int:
        """Size of what is remembered, in bytes; bounded by MOST_OPEN pieces a word."""
        ...

    def add(self, pieces: Sequence[Token]) -> tuple[tuple[Token, ...], Joiner]:
        """The words that nothing will change any more, and what is open after these pieces."""
        ...

    def close(self) -> tuple[Token, ...]:
        """No more pieces will come: the words that this makes of what is open."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PieceJoiner:
    """`merge_pieces`, portion by portion: words are handed out in the same order, and are the same."""

    pieces: tuple[Token, ...] = ()
    """Of the open word, without their marks."""
    spans: tuple[Token, ...] = ()
    """Those of them that no character has taken the time of."""
    letters: tuple[Token, ...] = ()
    """Single letters at the end of the words, which others may make an abbreviation."""

    @property
    def tail(self) -> tuple[Token, ...]:
        letters = _abbreviated(self.letters)
        if not any(piece.text for piece in self.pieces):
            return letters
        return (*letters, _timed_by(_glue(self.pieces), self.spans or self.pieces[-1:]))

    @property
    def nbytes(self) -> int:
        return _size((*self.pieces, *self.spans, *self.letters))

    def add(self, pieces: Sequence[Token]) -> tuple[tuple[Token, ...], PieceJoiner]:
        words: list[Token] = []
        open_pieces, spans = list(self.pieces), list(self.spans)
        for piece in pieces:
            text = piece.text
            if not text or text in SPECIAL:
                continue
            if CONTINUES in text:
                part = replace(piece, text=text.replace(CONTINUES, ""))
                open_pieces.append(part)
                spans.append(part)
                if len(open_pieces) < MOST_OPEN:
                    continue
                words.append(_timed_by(_glue(open_pieces), spans))
                open_pieces, spans = [], []
            elif all(is_cjk_char(char) for char in text):
                words.append(_timed_by(piece, spans or [piece]))
                spans = []
            elif all(is_latin_char(char) for char in text):
                words.append(_timed_by(_glue([*open_pieces, piece]), [*spans, piece]))
                open_pieces, spans = [], []
            else:
                words.append(_timed_by(piece, spans or [piece]))
                spans = []
        settled, letters = _abbreviate([*self.letters, *words])
        return settled, PieceJoiner(pieces=tuple(open_pieces), spans=tuple(spans), letters=letters)

    def close(self) -> tuple[Token, ...]:
        return _abbreviated(self.letters)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordStartJoiner:
    """`merge_word_starts`, portion by portion."""

    pieces: tuple[Token, ...] = ()
    """Of the last word, which the next piece may continue."""

    @property
    def tail(self) -> tuple[Token, ...]:
        return self.close()

    @property
    def nbytes(self) -> int:
        return _size(self.pieces)

    def add(self, pieces: Sequence[Token]) -> tuple[tuple[Token, ...], WordStartJoiner]:
        words: list[Token] = []
        last = list(self.pieces)

        def end() -> None:
            if last:
                words.append(_glue(last))
                last.clear()

        for piece in pieces:
            if not piece.text or piece.text in SPECIAL:
                continue
            bare = replace(piece, text=piece.text.replace(WORD_START, ""))
            if not bare.text:  # a lone mark: only says that what follows is a new word
                end()
            elif "\u4e00" <= bare.text[0] <= "\u9fff":
                end()
                words.append(bare)
            else:
                if piece.text.startswith(WORD_START) or len(last) == MOST_OPEN:
                    end()
                last.append(bare)
        return tuple(words), WordStartJoiner(pieces=tuple(last))

    def close(self) -> tuple[Token, ...]:
        return (_glue(self.pieces),) if self.pieces else ()


def merge_surfaces(pieces: Sequence[Token]) -> tuple[tuple[Token, ...], tuple[Tag, ...]]:
    """Pieces whose texts, one after the other, are the text itself -> words with their blanks, and tags.

    As upstream: ASCII letters continue a word of such letters, unless a blank or a tag parts them; any other
    piece (a character or two, a digit, a punctuation mark) is a word of its own.
    """
    words: list[list[Token]] = []
    tags: list[Tag] = []
    lead = ""
    joins = False  # whether the next piece may continue the last word
    for piece in pieces:
        bare = piece.text.lstrip(" ")
        lead += piece.text[: len(piece.text) - len(bare)]
        if not bare:
            continue
        if is_tag(bare):
            tags.append(Tag(text=lead + bare, at=len(words)))
            lead, joins = "", False
            continue
        letters = bare.isascii() and bare.isalpha()
        if not (joins and letters and not lead):
            words.append([])
        words[-1].append(replace(piece, text=bare, lead=lead))
        lead, joins = "", letters
    return tuple(_glue(word) for word in words), tuple(tags)


def is_tag(text: str) -> bool:
    """`<|...|>`: not a word."""
    return text.startswith("<|") and text.endswith("|>")


def _glue(pieces: Sequence[Token]) -> Token:
    """One word of several pieces: it is as certain as the least certain of them."""
    if len(pieces) == 1:
        return pieces[0]
    known = [piece.confidence for piece in pieces if piece.confidence is not None]
    word = replace(
        pieces[0],
        text="".join(piece.text for piece in pieces),
        confidence=min(known) if known else None,
        ids=tuple(id_ for piece in pieces for id_ in piece.ids),
    )
    return _timed_by(word, pieces)


def _timed_by(word: Token, pieces: Sequence[Token]) -> Token:
    """The word, from the start of the first piece to the end of the last."""
    return replace(word, start_ms=pieces[0].start_ms, end_ms=pieces[-1].end_ms)


def _abbreviate(words: Sequence[Token]) -> tuple[tuple[Token, ...], tuple[Token, ...]]:
    """Runs of two or more single ASCII letters become one word in capitals; a lone letter stays as it is.

    The second part of the result is the run at the end, which may go on.
    """
    merged: list[Token] = []
    run: list[Token] = []
    for word in words:
        letter = len(word.text) == 1 and word.text.isascii() and word.text.isalpha()
        if not letter or len(run) == MOST_OPEN:
            merged += _abbreviated(run)
            run = []
        (run if letter else merged).append(word)
    return tuple(merged), tuple(run)


def _abbreviated(run: Sequence[Token]) -> tuple[Token, ...]:
    if len(run) < 2:
        return tuple(run)
    word = _glue(run)
    return (replace(word, text=word.text.upper()),)


def _size(tokens: Sequence[Token]) -> int:
    sizes = (sys.getsizeof(part) for token in tokens for part in (token, token.text, token.ids))
    return sum(sizes)
