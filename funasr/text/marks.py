"""Words and their punctuation labels -> text, by the spacing and capitals of the released models.

A label is the number of a mark in the model's `punc_list`; "single-byte" is upstream's word for ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from funasr.errors import ModelFilesError

COMMA = "，"
SENTENCE_ENDS = frozenset("。？")
NARROW = {"，": ",", "。": ".", "？": "?"}
"""Marks as they are written after an ASCII word."""

_NO_MARK = frozenset({"_", "<unk>"})
_TAKES_ITS_PLACE = frozenset("，、")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkTable:
    """The labels of a model: `punc_list` and `sentence_end_id` of its config.yaml."""

    marks: tuple[str, ...] = ("<unk>", "_", "，", "。", "？", "、")
    sentence_end_id: int = 3

    @classmethod
    def from_official(cls, model_conf: Mapping[str, Any]) -> MarkTable:
        """Raises ModelFilesError when `sentence_end_id` is not the number of a mark."""
        table = cls(
            marks=tuple(str(mark) for mark in model_conf.get("punc_list") or ()) or cls().marks,
            sentence_end_id=model_conf.get("sentence_end_id", 3),
        )
        if table.sentence_end_id not in range(len(table.marks)):
            raise ModelFilesError(
                f"model_conf.sentence_end_id is {table.sentence_end_id!r}; it must be the place of a mark in "
                f"punc_list, 0 to {len(table.marks) - 1}"
            )
        return table

    def mark(self, label: int) -> str:
        """What is written for a label; nothing for `_` and for "unknown", which upstream would print."""
        mark = self.marks[label]
        return "" if mark in _NO_MARK else mark

    def written(self, word: str, label: int) -> str:
        """The mark after a word: narrow after an ASCII one."""
        mark = self.mark(label)
        return NARROW.get(mark, mark) if word[0].isascii() else mark


def closed_label(table: MarkTable, word: str, label: int) -> int:
    """The label of the last word of a text: that of a sentence end, unless it ends with one."""
    return label if is_closed(table.written(word, label) or word) else table.sentence_end_id


def is_closed(text: str) -> bool:
    return text[-1] in "。？.?"


def write_text(
    runs: Iterable[tuple[Sequence[str], Sequence[int]]], table: MarkTable, *, close: bool = True
) -> str:
    """(words, labels) of the stretches that windows handed out -> the punctuated text.

    As upstream: blanks stand between ASCII words only, a stretch that begins with one begins with a blank,
    the first word of a sentence is capitalized and the rest of it is not, and the text ends with a sentence.
    """
    parts: list[str] = []
    for words, labels in runs:
        before = ""  # the word before, and its mark
        mark = ""
        for index, (word, label) in enumerate(zip(words, labels, strict=True)):
            ascii_word = word[0].isascii()
            if ascii_word and (index == 0 or before[0].isascii()):
                parts.append(" ")
            starts = index == 0 or mark in SENTENCE_ENDS
            parts.append(word.capitalize() if ascii_word and starts else word)
            parts.append(table.written(word, label))
            before, mark = word, table.mark(label)
    text = "".join(parts)
    if not close or not text or is_closed(text):
        return text
    if text[-1] in _TAKES_ITS_PLACE:
        return text[:-1] + table.marks[table.sentence_end_id]
    if text[-1] == ",":
        return text[:-1] + "."
    return text + ("." if text[-1].isascii() else table.marks[table.sentence_end_id])


def write_live(words: Sequence[str], labels: Sequence[int], table: MarkTable, known: int = 0) -> str:
    """The text of a live call: full-width marks, nothing capitalized, no mark at its end.

    `known` words at the beginning were written before; only the mark of the last of them is written now.
    """
    parts = [table.mark(labels[known - 1])] if known else []
    for index in range(known, len(words)):
        if index and words[index][0].isascii() and words[index - 1][-1].isascii():
            parts.append(" ")
        parts += (words[index], table.mark(labels[index]))
    text = "".join(parts)
    # As upstream: a mark that the text had itself is taken away too, where the model adds none.
    return text[:-1] if text and text[-1] in table.marks else text
