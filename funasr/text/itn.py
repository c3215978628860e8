"""Spoken numbers, dates, amounts and times -> digits (inverse text normalization), for Chinese and English.

The grammars are wetext's. What is ours: which part of a text they see, so that each change has the place of
the words it is for, and what stays a word though it has a number in it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from funasr.errors import MissingDependencyError, install_extra
from funasr.result import Transcript
from funasr.text.respell import Change, respell

logger = logging.getLogger(__name__)

Language: TypeAlias = Literal["zh", "en"]

_CHINESE = re.compile(r"[A-Za-z0-9]*[\u3400-\u9fff][A-Za-z0-9\u3400-\u9fff]*")
_ENGLISH = re.compile(r"[A-Za-z'][A-Za-z' ]*[A-Za-z']|[A-Za-z]")

_ZH_NUMBER = "〇零一二两三四五六七八九十百千万亿半幺点壹贰叁肆伍陆柒捌玖拾佰仟萬億兩零負负"
# What belongs to a number is at most so far from its digits: 公元前, 摄氏度, 平方公里.
_ZH_AREA = re.compile(rf"[^{_ZH_NUMBER}]{{0,5}}(?:[{_ZH_NUMBER}][^{_ZH_NUMBER}]{{0,6}})+")
_ZH_WORDS = re.compile(
    "(?<![点零一二两三四五六七八九百])十分(?!钟|之)|十足|十字|十全|十恶|十里|十指|十堰|十万火急|十有八九|十之八九|八九不离十|十月怀胎|双十一|十一黄金周"
    "|三十而立|四十不惑|五十知天命|五十步笑百步|百步|二百五|三三两两|三百六十行|七十二变|七十二行|千千万万"
    "|一五一十|九九八十一难|不管三七二十一|三十六计|十八般|十八罗汉|三百六十度无死角"
)
_ZH_VAGUE_BEFORE = re.compile("几$|(?<![人小分总次岁页指参个])数$")
_ZH_VAGUE_AFTER = frozenset("几来")
"""几十, 数百 and 十几 are no numbers."""

_EN_NUMBER = re.compile(
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen"
    r"|seventeen|eighteen|nineteen|(?:twen|thir|for|fif|six|seven|eigh|nine)(?:ty|tieth)|hundred|thousand|[mbtr]illion"
    r"|\w+illion|half|quarter|dozen|point|dot|first|second|third|fifth|eighth|ninth|twelfth|\w+(?:th|ths))\b",
    re.IGNORECASE,
)
_EN_CAPITALIZED = re.compile(r"\b[A-Z](?=[a-z])")
_EN_AT_THE_BORDER = frozenset({"i", "a", "I", "A"})
"""Words that the grammar takes for letters of a number plate: "in twenty twenty five i" is not 2025i."""
_EN_WORDS = frozenset({"first", "second", "third"})
"""Mostly words: first of all, wait a second."""


class NumberWriter:
    """Immutable after it is made; what it has seen before is remembered for a while."""

    def __init__(self) -> None:
        """Raises MissingDependencyError without wetext."""
        try:
            from wetext import Normalizer
        except ImportError as error:
            raise MissingDependencyError(
                "wetext", "writing numbers as digits (use_itn, --itn)", install_extra("itn")
            ) from error
        self._normalizers: dict[Language, Any] = {
            "zh": Normalizer(lang="zh", operator="itn"),
            "en": Normalizer(lang="en", operator="itn"),
        }
        self._spans = lru_cache(maxsize=4096)(self._find_spans)

    def write(self, transcript: Transcript) -> Transcript:
        """Reads tokens; writes numbers in place of the words for them. Times and marks stay theirs."""
        return respell(transcript, self.find)[0]

    def write_text(self, text: str) -> str:
        """A text without marks inside of its numbers, with digits."""
        for change in reversed(list(self.find(text))):
            text = text[: change.start] + change.text + text[change.stop :]
        return text

    def find(self, text: str) -> Iterator[Change]:
        """What to write as digits, from left to right."""
        end = 0
        for change in sorted([*self._chinese(text), *self._english(text)], key=lambda change: change.start):
            if change.start >= end:
                yield change
                end = change.stop

    def _chinese(self, text: str) -> Iterator[Change]:
        for run in _CHINESE.finditer(text):
            words = [match.span() for match in _ZH_WORDS.finditer(run[0])]
            for area in _ZH_AREA.finditer(run[0]):
                for start, stop, written in self._spans("zh", area[0]):
                    start, stop = start + area.start(), stop + area.start()
                    if any(start < end and begin < stop for begin, end in words):
                        continue
                    if _ZH_VAGUE_BEFORE.search(run[0][:start]) and run[0][start] in "十百千万":
                        continue
                    if run[0][stop : stop + 1] in _ZH_VAGUE_AFTER:
                        continue
                    yield Change(start=run.start() + start, stop=run.start() + stop, text=written)

    def _english(self, text: str) -> Iterator[Change]:
        for run in _ENGLISH.finditer(text):
            if _EN_NUMBER.search(run[0]):
                # The grammar knows small letters; capitals of abbreviations stay what they are.
                lower = _EN_CAPITALIZED.sub(lambda match: match[0].lower(), run[0])
                for start, stop, written in self._spans("en", lower):
                    yield Change(start=run.start() + start, stop=run.start() + stop, text=written)

    def _find_spans(self, language: Language, text: str) -> tuple[tuple[int, int, str], ...]:
        """(start, stop, what is written) for each number of a text, trimmed to what changes."""
        try:
            return self._ask(self._normalizers[language], language, text)
        except RuntimeError as error:  # what wetext raises where its grammar has no way through a text
            logger.warning("numbers stay words in %r: %s", text, error)
            return ()

    def _ask(self, normalizer: Any, language: Language, text: str) -> tuple[tuple[int, int, str], ...]:
        whole = normalizer.normalize(text)
        if whole == text:
            return ()
        trim = _trimmed_words if language == "en" else _trimmed
        if language == "zh":  # a tenth of the time, where only one number is in sight
            start, stop, written = trim(text, whole)
            if all(char in _ZH_NUMBER for char in text[start:stop]):
                return ((start, stop, written),)
        found = []
        for mapping in normalizer.normalize_with_mapping(text).mappings:
            start, stop = mapping.input_start, mapping.input_end
            if language == "en":
                start, stop = _without_borders(text, start, stop)
            # By itself a part is written as it is in the whole; the output of the mapping has other ties.
            start, stop, written = _placed(trim, text, start, stop, normalizer.normalize(text[start:stop]))
            if text[start:stop] in _EN_WORDS:
                continue
            # The grammar also abbreviates titles and spelt names: those are no numbers.
            if any(map(str.isdigit, written)) or mapping.token_type == "electronic":
                found.append((start, stop, written))
        return tuple(found)


def _placed(trim: Any, text: str, start: int, stop: int, written: str) -> tuple[int, int, str]:
    inner_start, inner_stop, written = trim(text[start:stop], written)
    return start + inner_start, start + inner_stop, written


def _trimmed(text: str, written: str) -> tuple[int, int, str]:
    """Where two texts differ, in the first, and what the second has there."""
    shorter = min(len(text), len(written))
    start = next((i for i in range(shorter) if text[i] != written[i]), shorter)
    same = next((i for i in range(shorter - start) if text[-1 - i] != written[-1 - i]), shorter - start)
    return start, len(text) - same, written[start : len(written) - same]


def _trimmed_words(text: str, written: str) -> tuple[int, int, str]:
    """The same by whole words."""
    old, new = text.split(" "), written.split(" ")
    shorter = min(len(old), len(new))
    head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
    start = sum(len(word) + 1 for word in old[:head])
    stop = len(text) - sum(len(word) + 1 for word in old[len(old) - tail :])
    return min(start, len(text)), max(start, stop), " ".join(new[head : len(new) - tail])


def _without_borders(text: str, start: int, stop: int) -> tuple[int, int]:
    words = text[start:stop].split(" ")
    while len(words) > 1 and words[-1] in _EN_AT_THE_BORDER and len(words[-2]) > 1:
        stop -= len(words.pop()) + 1
    while len(words) > 1 and words[0] in _EN_AT_THE_BORDER and len(words[1]) > 1:
        start += len(words.pop(0)) + 1
    return start, stop
