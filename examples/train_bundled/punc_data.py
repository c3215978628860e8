"""Punctuated text -> words with the mark after each: what the bundled punctuation model learns from.

Folders `zh`, `mixed` and `en` hold one file a source (`.txt` or `.txt.gz`), a paragraph, a sentence or a turn
a line. A line becomes words as the recognizer would write them, without case, quotes and brackets, and one
label a word.
"""

from __future__ import annotations

import gzip
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from zlib import crc32

import numpy as np

LABELS = ("<unk>", "_", "，", "。", "？", "、")
"""`punc_list` of the released models."""
IGNORED, NONE, COMMA, STOP, QUESTION, ENUMERATION = range(6)

LANGUAGES = ("zh", "mixed", "en")
LISTS = frozenset(
    {
        "zh/commonvoice_wiki",
        "zh/cmrc2018_questions",
        "zh/tatoeba",
        "en/tatoeba",
        "en/commonvoice",
        "en/commonvoice_conversational",
    }
)
"""Sources whose lines do not follow on one another: they are shuffled."""
UNSEEN = frozenset(
    {
        "zh/asp_stories",
        "zh/howtocook",
        "mixed/vue_docs",
        "en/se_time_machine",
        "en/commonvoice_conversational",
    }
)
"""Whole sources that are never trained on."""
BLOCK_LINES = 200

_MARKS = {
    **dict.fromkeys("，,：:—–", COMMA),
    # A semicolon parts clauses that could be sentences, as in other work on this task.
    **dict.fromkeys("。．.！!；;…", STOP),
    **dict.fromkeys("？?", QUESTION),
    "、": ENUMERATION,
}
_STRONGER = {NONE: 0, ENUMERATION: 1, COMMA: 2, STOP: 3, QUESTION: 4}

_PIECE = re.compile(
    r"(?P<word>[$]?[a-zA-Z0-9]+(?:(?<=\d),(?=\d{3})\d+|(?<=\d):(?=\d)\d+|['._@&+/][a-zA-Z0-9]+)*(?:[%#]|\+\+)?)"
    r"|(?P<dash>--+|(?<=\s)-(?=\s))"
    r"|(?P<dots>\.\.+|…+)"
    r"|(?P<mark>[，,：:—–。．.！!；;？?、])"
    r"|(?P<other>[^\x00-\x7f])"
)
_NO_END = frozenset(
    """mr mrs ms dr st prof rev hon capt col gen lieut lt sgt messrs mme mlle vs eg ie viz cf fig""".split()  # noqa: SIM905
)
"""The dot after these is part of them."""
_PLAIN = str.maketrans({"’": "'", "‘": "'", "`": "'", "％": "%", "\u3000": " "})


@dataclass(frozen=True, slots=True)
class Line:
    words: tuple[str, ...]
    """As they are written, capitals and all."""
    labels: tuple[int, ...]


def read_line(text: str) -> Line:
    """The words of a line and the mark after each; a line that ends without a mark ends with 。.

    Exclamation marks, semicolons and dots that trail off are 。, colons and dashes ，.

    >>> read_line("“Is it 3.5 GB, Mr. Bell?” he asked; 我说：“对！”").labels
    (1, 1, 1, 2, 1, 4, 1, 3, 1, 2, 3)
    """
    text = _plain_letters(text.translate(_PLAIN))
    words: list[str] = []
    labels: list[int] = []
    for found in _PIECE.finditer(text):
        kind, piece = found.lastgroup, found[0]
        if kind == "word":
            words.append(_spoken(piece))
            labels.append(NONE)
        elif kind == "other" and piece not in _MARKS:
            if unicodedata.category(piece)[0] in "LN":
                words.append(piece)
                labels.append(NONE)
        elif words:
            mark = _mark(kind or "", piece, words[-1], text[found.start() - 1], text[found.end() :])
            if _STRONGER[mark] > _STRONGER[labels[-1]]:
                labels[-1] = mark
    if labels and labels[-1] == NONE:
        labels[-1] = STOP
    return Line(tuple(words), tuple(labels))


def _mark(kind: str, piece: str, word: str, before: str, rest: str) -> int:
    """What a mark after `word` counts as; `before` is the character before it, `rest` the text after it."""
    if kind == "dash":
        return COMMA
    ahead = rest.lstrip("\"')]}”’》」』）…. ")
    if kind == "dots" or piece == "…":
        # Trailing off within a sentence is a pause.
        closed = not ahead or ahead[0].isupper() or rest[:1] in tuple("”」』")
        return STOP if closed else COMMA
    if piece == "." and before.isascii() and before.isalnum():
        initial = len(word) == 1 and word.isupper() and word != "I"
        if word.lower() in _NO_END or initial or ahead[:1].islower():
            return NONE
    return _MARKS[piece]


def _plain_letters(text: str) -> str:
    """é -> e, Ａ -> A: letters as recognizers write them. Marks and Chinese stay as they are."""
    if text.isascii():
        return text
    return "".join(
        unicodedata.normalize("NFKD", c).encode("ascii", "ignore").decode() or c
        if "\u00c0" <= c <= "\u024f" or ("\uff10" <= c <= "\uff5a" and c.isalnum())
        else c
        for c in text
    )


def _spoken(word: str) -> str:
    """1,000 -> 1000, U.S -> US."""
    word = re.sub(r"(?<=\d),(?=\d)", "", word)
    return word.replace(".", "") if re.fullmatch(r"(?:[a-zA-Z]\.)+[a-zA-Z]", word) else word


@dataclass(frozen=True, kw_only=True)
class Block:
    """Consecutive lines of one source: what is trained on or held out as a whole."""

    source: str
    """`zh/luxun`"""
    number: int
    part: str
    """`train`, `dev`, `test`, or `unseen` for the sources that are never trained on."""
    lines: tuple[Line, ...]

    @property
    def language(self) -> str:
        return self.source.partition("/")[0]


def read_blocks(folder: Path) -> list[Block]:
    """All sources of a folder, in the order of their names."""
    blocks: list[Block] = []
    for language in LANGUAGES:
        for path in sorted((folder / language).glob("*.txt*")):
            source = f"{language}/{path.name.partition('.')[0]}"
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            # Not splitlines: some texts have separators of other kinds within a line.
            blocks += split_source(source, list(StringIO(content.decode("utf-8"), newline=None)))
    return blocks


def split_source(source: str, texts: Sequence[str]) -> list[Block]:
    """Blocks of BLOCK_LINES lines; of a source with many, one in 20 is for tests, one in 40 for choosing."""
    parts = list(_parts(source, -(-len(texts) // BLOCK_LINES)))
    return [
        Block(
            source=source,
            number=number,
            part=part,
            lines=tuple(
                line
                for text in texts[number * BLOCK_LINES : (number + 1) * BLOCK_LINES]
                if (line := read_line(text)).words
            ),
        )
        for number, part in enumerate(parts)
    ]


def _parts(source: str, count: int) -> Iterator[str]:
    # Where the first one is differs by source; a source of five blocks has one for testing in any case.
    first = crc32(source.encode()) % min(20, max(count, 1))
    for number in range(count):
        if source in UNSEEN:
            yield "unseen"
        elif count >= 5 and number % 20 == first:
            yield "test"
        elif count >= 5 and number % 40 == (first + 10) % min(40, count):
            yield "dev"
        else:
            yield "train"


def running_texts(blocks: Iterable[Block], seed: int = 0) -> Iterator[tuple[Block, Line]]:
    """Each block as one text of many sentences; the lines of lists in a random order."""
    for block in blocks:
        order = np.arange(len(block.lines))
        if block.source in LISTS:
            order = np.random.default_rng((seed, block.number)).permutation(order)
        lines = [block.lines[place] for place in order]
        words = tuple(word for line in lines for word in line.words)
        if words:
            yield block, Line(words, tuple(label for line in lines for label in line.labels))
