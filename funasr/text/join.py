"""Vocabulary pieces -> words, each with the times, ids and confidence of the pieces it was made of.

A piece is a `Token` whose text is the vocabulary string and whose ids hold one id. Two conventions occur:
`hel@@ lo` (the mark says that the word goes on) and `▁hel lo` (the mark says that a word begins).
`funasr.result.join_words` turns the words into a line of text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from funasr.result import Tag, Token, is_cjk_char, is_latin_char

SPECIAL = frozenset({"<blank>", "<s>", "</s>", "<unk>", "<OOV>"})
"""Vocabulary entries that are never shown. One that is dropped takes its time with it."""

CONTINUES = "@@"
WORD_START = "\u2581"


def merge_pieces(pieces: Sequence[Token]) -> tuple[Token, ...]:
    """Pieces with `@@` marks -> words; runs of single letters become abbreviations (`a i` -> `AI`).

    As upstream, so that text and times agree with it: a Chinese character does not end an open `hel@@`; the
    next English piece does, and stands after the character. When pieces are timed and a character falls
    into an open word, the character takes the time of the pieces before it and the word begins at its last
    part. An open word that nothing closes is dropped.
    """
    words: list[Token] = []
    open_pieces: list[Token] = []
    spans: list[Token] = []  # the open pieces that no character has taken the time of
    for piece in pieces:
        text = piece.text
        if not text or text in SPECIAL:
            continue
        if CONTINUES in text:
            part = replace(piece, text=text.replace(CONTINUES, ""))
            open_pieces.append(part)
            spans.append(part)
        elif all(is_cjk_char(char) for char in text):
            words.append(_timed_by(piece, spans or [piece]))
            spans = []
        elif all(is_latin_char(char) for char in text):
            words.append(_timed_by(_glue([*open_pieces, piece]), [*spans, piece]))
            open_pieces, spans = [], []
        else:
            words.append(piece)
    return _abbreviate(words)


def merge_word_starts(pieces: Sequence[Token]) -> tuple[Token, ...]:
    """Pieces with `▁` marks (SentencePiece) -> words. A Chinese character is a word of its own."""
    groups: list[list[Token]] = []
    joins = False  # whether the next piece may continue the last word
    for piece in pieces:
        if not piece.text or piece.text in SPECIAL:
            continue
        starts = piece.text.startswith(WORD_START)
        bare = replace(piece, text=piece.text.replace(WORD_START, ""))
        if not bare.text:  # a lone mark: only says that what follows is a new word
            joins = False
            continue
        stands_alone = "\u4e00" <= bare.text[0] <= "\u9fff"
        if starts or stands_alone or not joins:
            groups.append([])
        groups[-1].append(bare)
        joins = not stands_alone
    return tuple(_glue(group) for group in groups)


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


def _abbreviate(words: Sequence[Token]) -> tuple[Token, ...]:
    """Runs of two or more single ASCII letters become one word in capitals; a lone letter stays as it is."""
    merged: list[Token] = []
    run: list[Token] = []

    def close() -> None:
        if len(run) > 1:
            word = _glue(run)
            merged.append(replace(word, text=word.text.upper()))
        else:
            merged.extend(run)
        run.clear()

    for word in words:
        if len(word.text) == 1 and word.text.isascii() and word.text.isalpha():
            run.append(word)
        else:
            close()
            merged.append(word)
    close()
    return tuple(merged)
