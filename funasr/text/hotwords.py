"""What a user writes for `hotword=` -> phrases with weights -> vocabulary ids, with a report on each."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from funasr.download import download, is_url, shown_url
from funasr.errors import InputError

USUAL_WEIGHT = 20.0
"""What upstream's runtime takes for a phrase without a weight, and its documents write in every example."""

HotwordInput: TypeAlias = "str | os.PathLike[str] | Mapping[str, float] | Sequence[Any]"
"""All forms `parse_hotwords` reads."""

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")

Fetch: TypeAlias = Callable[[str], str]
"""URL -> the text behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hotword:
    """A phrase to listen for."""

    text: str
    weight: float = USUAL_WEIGHT
    """On the scale of upstream's runtime: 20 is usual, 40 is twice as strong. Below 20 is the same as 20,
    for a hotword is never meant to be heard less."""

    @property
    def strength(self) -> float:
        """The weight as networks take it: 1.0 leaves the network as it was trained."""
        return max(1.0, self.weight / USUAL_WEIGHT)


@dataclass(frozen=True, slots=True, kw_only=True)
class HotwordReport:
    """What became of one phrase."""

    hotword: Hotword
    ids: tuple[int, ...] | None
    """Its vocabulary ids; None when a part of it is not in the vocabulary: the model cannot write it."""

    @property
    def encoded(self) -> bool:
        return self.ids is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedHotwords:
    """Phrases for a network, and the report on all that were given, in their order."""

    ids: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]
    """`Hotword.strength` of each phrase in `ids`."""
    reports: tuple[HotwordReport, ...]

    @property
    def not_encoded(self) -> tuple[str, ...]:
        return tuple(report.hotword.text for report in self.reports if not report.encoded)


class PhraseEncoder(Protocol):
    """The part of a tokenizer that hotwords need."""

    def encode_phrase(self, phrase: str) -> tuple[int, ...] | None: ...


def encode_hotwords(hotwords: Iterable[Hotword], tokenizer: PhraseEncoder) -> EncodedHotwords:
    """Phrases that the vocabulary cannot spell are left out and reported."""
    reports = tuple(
        HotwordReport(hotword=hotword, ids=tokenizer.encode_phrase(hotword.text)) for hotword in hotwords
    )
    # Two spellings with the same ids are one phrase for the network: the stronger counts.
    phrases: dict[tuple[int, ...], float] = {}
    for report in reports:
        if report.ids is not None:
            phrases[report.ids] = max(report.hotword.strength, phrases.get(report.ids, 0.0))
    return EncodedHotwords(ids=tuple(phrases), weights=tuple(phrases.values()), reports=reports)


def parse_hotwords(value: HotwordInput, *, fetch: Fetch | None = None) -> tuple[Hotword, ...]:
    """Read hotwords in any documented form; phrases given twice count once, with the later weight.

    - `"阿里巴巴 达摩院 30"`: phrases between blanks or commas; a number weighs the phrase before it;
    - `"hotwords.txt"` (or a Path), `"https://.../hotwords.txt"`, or a string of several lines: a phrase a
      line, which may contain blanks; a number at the end of the line is its weight (`阿里巴巴 20`);
    - `{"阿里巴巴": 20}`: phrase -> weight;
    - `["阿里巴巴", "hello world", ("达摩院", 30)]`: a phrase an element, pairs with a weight;
    - JSON text of the last two.

    Raises InputError for a file that is not there, text that is not JSON though it begins like it, and
    weights that are not positive numbers.
    """
    if isinstance(value, Mapping):
        found = [_hotword(text, weight) for text, weight in value.items()]
    elif isinstance(value, str):
        found = _parse_string(value, fetch)
    elif isinstance(value, os.PathLike):
        found = _parse_lines(_read_file(Path(value)))
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        found = [_parse_element(element) for element in value]
    else:
        raise InputError(
            f"cannot read hotwords from a {type(value).__name__}: expected a string, a list of phrases, "
            "a dict of phrase -> weight, or a .txt file"
        )
    return tuple({hotword.text: hotword for hotword in found if hotword.text}.values())


def fetch_text(url: str, *, timeout_s: float = 20.0, limit_bytes: int = 4 << 20) -> str:
    """The text behind an http(s) URL. Raises InputError, with the cause, when it cannot be had."""
    with download(url, timeout=timeout_s, max_bytes=limit_bytes) as file:
        data = file.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the hotword list {shown_url(url)} is not UTF-8 text (byte {error.start})"
        ) from error


def _parse_string(value: str, fetch: Fetch | None) -> list[Hotword]:
    text = value.strip()
    if is_url(text):
        return _parse_lines((fetch or fetch_text)(text))
    if text[:1] in ("{", "["):
        return _parse_json(text)
    if "\n" in text:
        return _parse_lines(text)
    if text.endswith(".txt"):
        return _parse_lines(_read_file(Path(text)))
    for comma in ",，、;；":
        text = text.replace(comma, " ")
    found: list[Hotword] = []
    for word in text.split():
        weight = _as_number(word)
        if weight is None or not found:
            found.append(Hotword(text=word))
        else:
            found[-1] = _hotword(found[-1].text, weight)
    return found


def _parse_json(text: str) -> list[Hotword]:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"hotwords begin like JSON but are not: {error}. "
            'Write {"phrase": 20, ...} or ["phrase", ...], or phrases between blanks'
        ) from error
    return list(parse_hotwords(loaded))


def _parse_lines(text: str) -> list[Hotword]:
    """A phrase a line; blank lines are nothing."""
    found = []
    for line in text.splitlines():
        words = line.split()
        weight = _as_number(words[-1]) if len(words) > 1 else None
        if weight is None:
            found.append(Hotword(text=" ".join(words)))
        else:
            found.append(_hotword(" ".join(words[:-1]), weight))
    return found


def _parse_element(element: Any) -> Hotword:
    if isinstance(element, Hotword):
        return element
    if isinstance(element, str):
        return Hotword(text=" ".join(element.split()))
    if isinstance(element, Sequence) and len(element) == 2 and isinstance(element[0], str):
        return _hotword(element[0], element[1])
    raise InputError(f"a list of hotwords holds {element!r}: expected a phrase or a pair (phrase, weight)")


def _hotword(text: Any, weight: Any) -> Hotword:
    if not isinstance(text, str):
        raise InputError(f"a hotword must be a string, not {text!r}")
    number = _as_number(weight)
    if number is None or not number > 0 or math.isinf(number):
        raise InputError(
            f"hotword {text!r} has the weight {weight!r}: expected a number above 0; "
            f"{USUAL_WEIGHT:g} is usual"
        )
    return Hotword(text=" ".join(text.split()), weight=number)


def _as_number(value: Any) -> float | None:
    """Numbers, and strings of digits; words such as "nan" are words."""
    if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value.strip())):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _read_file(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"no hotword file {str(path)!r}: the path does not exist. "
            "Give phrases as a list when one of them ends in .txt"
        ) from error
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # not UTF-8; a NUL in it; no such ~user
        raise InputError(f"cannot read the hotword file {str(path)!r}: {error}") from error
