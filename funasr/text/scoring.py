"""What was said and what was heard -> how many units are wrong, and which: the counts behind CER and WER.

Units are single characters of Chinese, Japanese and Korean, and words of everything else; so a mixed text has
both. Alignments are jiwer's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from funasr.errors import MissingDependencyError, install_extra

Unit: TypeAlias = Literal["auto", "char", "word"]
Operation: TypeAlias = Literal["equal", "substitute", "delete", "insert"]

_OPERATIONS: dict[str, Operation] = {
    "equal": "equal",
    "substitute": "substitute",
    "delete": "delete",
    "insert": "insert",
}

_CJK = (
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3130-\u318f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_PIECE = re.compile(f"[{_CJK}]|[^{_CJK}]+")
_INNER = {"'": str.isalnum, ".": str.isdigit}
"""Marks that belong to a word between two such characters: it's, 3.5."""
_SAME_MARK = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalization:
    """What is made alike before texts are compared. All off: they are compared as they stand."""

    case: bool = True
    """Small and capital letters are the same."""
    punctuation: bool = True
    """Marks and symbols are not compared; those within a word are (it's, 3.5), and 1,000 is 1000."""
    width: bool = True
    """Full-width letters and digits are the ordinary ones (Unicode's NFKC)."""

    def apply(self, text: str) -> str:
        """The text in the form that is compared."""
        if self.width:
            text = unicodedata.normalize("NFKC", text)
        if self.case:
            text = text.casefold()
        return _without_marks(text) if self.punctuation else text


def _without_marks(text: str) -> str:
    """Marks become blanks; those within a word stay, and commas within a number go."""
    text = text.translate(_SAME_MARK)
    kept: list[str] = []
    for place, char in enumerate(text):
        if unicodedata.category(char)[0] not in "PS":
            kept.append(char)
            continue
        before, after = text[place - 1 : place], text[place + 1 : place + 2]
        if char == "," and before.isdigit() and after.isdigit():
            continue
        belongs = _INNER.get(char)
        kept.append(char if belongs is not None and belongs(before) and belongs(after) else " ")
    return "".join(kept)


def split_units(text: str, normalization: Normalization | None = None, *, unit: Unit = "auto") -> list[str]:
    """The units that are compared. `char`: every character but blanks; `word`: what blanks part.

    >>> split_units("今天，做 Machine-Learning")
    ['今', '天', '做', 'machine', 'learning']
    """
    words = (normalization or Normalization()).apply(text).split()
    if unit == "word":
        return words
    if unit == "char":
        return [char for word in words for char in word]
    return [piece for word in words for piece in _PIECE.findall(word)]


def is_character(unit: str) -> bool:
    """One character of Chinese, Japanese or Korean, and no word."""
    return bool(re.fullmatch(f"[{_CJK}]", unit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One place of an alignment."""

    operation: Operation
    reference: str = ""
    """Empty where something was inserted."""
    heard: str = ""
    """Empty where something was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Counts of units."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def total(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def units(self) -> int:
        """Units of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float | None:
        """Errors in each unit of the reference; more than 1 is possible. None where there is no reference."""
        return self.total / self.units if self.units else None

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            hits=self.hits + other.hits,
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
        )


def count(steps: Iterable[Step]) -> Errors:
    """The errors of an alignment, or of several."""
    found = dict.fromkeys(_OPERATIONS, 0)
    for step in steps:
        found[step.operation] += 1
    return Errors(
        hits=found["equal"],
        substitutions=found["substitute"],
        deletions=found["delete"],
        insertions=found["insert"],
    )


def align(reference: Sequence[str], heard: Sequence[str]) -> tuple[Step, ...]:
    """The fewest steps from one to the other. Raises MissingDependencyError without jiwer."""
    try:
        import jiwer
    except ImportError as error:
        raise MissingDependencyError("jiwer", "counting errors", install_extra("eval")) from error
    if not reference or not heard:
        return (
            *(Step(operation="delete", reference=unit) for unit in reference),
            *(Step(operation="insert", heard=unit) for unit in heard),
        )
    # Blanks part units for jiwer, and no unit has one.
    [chunks] = jiwer.process_words([" ".join(reference)], [" ".join(heard)]).alignments
    steps: list[Step] = []
    for chunk in chunks:
        left = reference[chunk.ref_start_idx : chunk.ref_end_idx]
        right = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for place in range(max(len(left), len(right))):
            steps.append(
                Step(
                    operation=_OPERATIONS[chunk.type],
                    reference=left[place] if place < len(left) else "",
                    heard=right[place] if place < len(right) else "",
                )
            )
    return tuple(steps)


def metric_of(steps: Sequence[Step], unit: Unit = "auto") -> str:
    """What the rate of such errors is called: CER, WER, or for units of both kinds MER."""
    if unit != "auto":
        return "CER" if unit == "char" else "WER"
    kinds = {is_character(step.reference) for step in steps if step.reference}
    if len(kinds) == 2:
        return "MER"
    return "CER" if kinds == {True} else "WER"
