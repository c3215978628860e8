"""Upstream's import path of what turns vocabulary pieces into text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from funasr.result import Token, Transcript
from funasr.text.join import merge_pieces, merge_word_starts
from funasr.text.rich import rich_transcription_postprocess

__all__ = [
    "rich_transcription_postprocess",
    "sentence_postprocess",
    "sentence_postprocess_sentencepiece",
    "spelled",
]


def sentence_postprocess(words: Sequence[str], time_stamp: Sequence[Sequence[int]] | None = None) -> Any:
    """Pieces such as `hel@@ lo` -> (text, words), or with one time a piece (text, times, words).

    Letters that make an abbreviation are words of their own, and have one time, as upstream.
    """
    tokens = merge_pieces(_pieces(words, time_stamp))
    names = spelled(tokens)
    if time_stamp is None:
        return Transcript(key="", tokens=tokens).text, names
    return " ".join(names), [[token.start_ms, token.end_ms] for token in tokens], names


def sentence_postprocess_sentencepiece(words: Sequence[str]) -> tuple[str, list[str]]:
    """Pieces such as `▁hel lo` -> (text, words)."""
    names = [token.text for token in merge_word_starts(_pieces(words, None))]
    return " ".join(names), names


def spelled(tokens: Sequence[Token]) -> list[str]:
    """The words, abbreviations letter by letter."""
    words: list[str] = []
    for token in tokens:
        letters = len(token.ids) == len(token.text) and token.text.isascii() and token.text.isupper()
        words += list(token.text) if letters else [token.text]
    return words


def _pieces(words: Sequence[str], times: Sequence[Sequence[int]] | None) -> list[Token]:
    spans: Sequence[Sequence[int | None]] = [(None, None)] * len(words) if times is None else times
    return [
        Token(text=str(word), start_ms=start, end_ms=end, ids=(at,))
        for at, (word, (start, end)) in enumerate(zip(words, spans, strict=True))
    ]
