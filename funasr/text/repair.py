"""Hotwords written where something that sounds like them was heard; for models that take none, too.

A rule `wrong => right` is applied as it stands. A phrase alone is looked for by its sound: tone-less pinyin
of Chinese characters, small letters of the rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from funasr.errors import InputError, MissingDependencyError, OptionError, install_extra
from funasr.result import Repair, Transcript
from funasr.text.hotwords import HotwordReport
from funasr.text.respell import Change, Respelling, respell

_ARROW = re.compile(r"=>|->|→")
_WEIGHT = re.compile(r"\s+[0-9]+(\.[0-9]+)?$")
_BLANK_BESIDE_CHINESE = re.compile(r"(?<=[^\x00-\x7f])\s+|\s+(?=[^\x00-\x7f])")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRules:
    """What to write."""

    explicit: Mapping[str, str]
    """wrong -> right."""
    targets: tuple[str, ...]
    """Phrases that are looked for by their sound."""
    threshold: float = 0.85
    """How alike the sounds must be, 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise OptionError(
                f"postprocess_hotword_threshold is {self.threshold!r}; it must be between 0 and 1"
            )

    def __bool__(self) -> bool:
        return bool(self.explicit or self.targets)


def parse_rules(
    value: Any = None,
    *,
    file: str | os.PathLike[str] | None = None,
    threshold: float = 0.85,
    fuzzy: bool = True,
) -> RepairRules:
    """Read `postprocess_hotwords` and `postprocess_hotword_file`; later entries win.

    A string has an entry a line, a list an entry an element, a file an entry a line: `wrong => right` (or
    `->`, `→`), or a phrase, with a weight behind it or not. `#` begins a comment. A dict has wrong -> right;
    a phrase that is its own value, or has a weight for it, is a phrase. Without `fuzzy` phrases have no
    effect.

    Raises InputError for anything else, and for files that cannot be read; OptionError for the threshold.
    """
    explicit: dict[str, str] = {}
    targets: dict[str, None] = {}
    for wrong, right in (*_entries(value), *(_entries(_read(Path(file))) if file is not None else ())):
        wrong, right = _tidy(wrong), " ".join(right.split())
        if not wrong and right:
            raise InputError(
                f"the rule '=>{right}' does not say what to look for: an entry is 'wrong=>right', or a phrase"
            )
        if not wrong:
            continue
        if wrong == _tidy(right):
            targets[right] = None
        else:
            explicit[wrong] = right
    return RepairRules(explicit=explicit, targets=tuple(targets) if fuzzy else (), threshold=threshold)


def _entries(value: Any) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, str):
        yield from _entries(value.splitlines())
    elif isinstance(value, Mapping):
        for key, of in value.items():
            if not isinstance(key, str) or not isinstance(of, (str, int, float)):
                raise InputError(
                    f"postprocess_hotwords has {key!r}: {of!r}; expected 'wrong': 'right', or a phrase: 20"
                )
            yield key, of if isinstance(of, str) else key
    elif isinstance(value, Sequence) and all(isinstance(entry, str) for entry in value):
        for entry in value:
            line = entry.partition("#")[0].strip()
            wrong, *right = _ARROW.split(line, maxsplit=1)
            phrase = _WEIGHT.sub("", line)
            yield (wrong, right[0]) if right else (phrase, phrase)
    else:
        raise InputError(
            f"cannot read postprocess_hotwords from {value!r}: expected a string with an entry a line, a "
            "list of entries, or a dict. An entry is 'wrong=>right', or a phrase"
        )


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError, RuntimeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read postprocess_hotword_file {str(path)!r}: {cause}") from error


def _tidy(phrase: str) -> str:
    """As words stand in a stretch: blanks between Latin words only."""
    return _BLANK_BESIDE_CHINESE.sub("", " ".join(phrase.split()))


class HotwordRepairer:
    """Immutable: any number of threads may use one."""

    def __init__(self, rules: RepairRules) -> None:
        """Raises MissingDependencyError when phrases are given and what finds them by sound is absent."""
        self.rules = rules
        longest_first = sorted(rules.explicit, key=len, reverse=True)
        self._explicit = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        # Those of one length are compared with the same windows, all at once.
        self._targets: dict[int, list[tuple[str, str]]] = {}
        for target in rules.targets:
            sound = "".join(_sounds(target))
            if sound:
                self._targets.setdefault(len(_tidy(target)), []).append((target, sound))
        if rules.targets:
            _compare([], [], 1.0)

    def repair(self, transcript: Transcript) -> Transcript:
        """Reads tokens; writes those that are meant to be hotwords, and `repairs`. Times stay.

        Words that a mark, a pause or another speaker parts are never one phrase.
        """
        repaired, made = respell(transcript, self.find)
        if not made:
            return transcript
        offsets = _offsets(transcript)
        return replace(repaired, repairs=tuple(_report(one, offsets) for one in made))

    def find(self, text: str) -> list[Change]:
        """What to write in place of parts of a text, from left to right."""
        found = []
        if self._explicit is not None:
            for match in self._explicit.finditer(text):
                right = self.rules.explicit[match[0]]
                found.append(Change(start=match.start(), stop=match.end(), text=right))
        taken = [(change.start, change.stop) for change in found]
        for change in self._alike(text) if self._targets else ():
            if all(change.stop <= start or stop <= change.start for start, stop in taken):
                taken.append((change.start, change.stop))
                if text[change.start : change.stop] != _tidy(change.text):
                    found.append(change)
        return sorted(found, key=lambda change: change.start)

    def _alike(self, text: str) -> list[Change]:
        """All places that sound like a phrase: right ones, then the best, then the longest."""
        sounds = _sounds(text)
        found = []
        for length, targets in self._targets.items():
            spans = list(_windows(text, length))
            heard = ["".join(sounds[start:stop]) for start, stop in spans]
            for which, place, score in _compare([s for _, s in targets], heard, self.rules.threshold):
                start, stop = spans[place]
                found.append(Change(start=start, stop=stop, text=targets[which][0], score=score))
        found.sort(
            key=lambda c: (
                text[c.start : c.stop] != _tidy(c.text),
                -c.score,
                c.start - c.stop,
                c.start,
            )
        )
        return found


def hotword_report(
    transcript: Transcript, phrases: Sequence[str], encoded: Sequence[HotwordReport] = ()
) -> list[dict[str, Any]]:
    """What became of each hotword in one result.

    `encoded`: whether the vocabulary of the model could spell it, None where the model takes no hotwords or
    was not given it. `matched`: how often it is in the text. `applied`: how often it was written there in
    place of other words.
    """
    known = {report.hotword.text: report.encoded for report in encoded}
    text = _tidy(transcript.text_of(0, len(transcript.tokens))).casefold()
    records = []
    for phrase in dict.fromkeys((*known, *phrases)):
        matched = len(re.findall(_as_words(_tidy(phrase).casefold()), text))
        applied = sum(repair.replacement == phrase for repair in transcript.repairs)
        records.append(
            {"hotword": phrase, "encoded": known.get(phrase), "matched": matched, "applied": applied}
        )
    return records


def _as_words(phrase: str) -> str:
    """A pattern for a phrase that is not within Latin words: "he" is not in "the"."""
    before = r"(?<![a-z0-9'])" if phrase and _is_latin(phrase[0]) else ""
    after = r"(?![a-z0-9'])" if phrase and _is_latin(phrase[-1]) else ""
    return before + re.escape(phrase) + after


def _windows(text: str, length: int) -> Iterator[tuple[int, int]]:
    """Stretches of about that length that begin and end with words; no Latin word is cut."""
    for size in range(max(length - 1, 1), length + 2):
        for start in range(len(text) - size + 1):
            stop = start + size
            if " " not in (text[start], text[stop - 1]) and not (_cuts(text, start) or _cuts(text, stop)):
                yield start, stop


def _cuts(text: str, place: int) -> bool:
    return 0 < place < len(text) and _is_latin(text[place - 1]) and _is_latin(text[place])


def _is_latin(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "'")


def _sounds(text: str) -> list[str]:
    """The sound of each character; nothing for a blank."""
    try:
        from pypinyin import lazy_pinyin
    except ImportError as error:
        raise _missing("pypinyin") from error
    # As a whole, for the sound of a character is a matter of its neighbours.
    sounds: list[str] = lazy_pinyin(text, errors=_letters)
    if len(sounds) != len(text):
        sounds = [lazy_pinyin(char, errors=_letters)[0] for char in text]
    return [sound.strip().lower() for sound in sounds]


_letters: Any = list
"""What pypinyin has no sound for stays, letter by letter."""


def _compare(
    sounds: Sequence[str], heard: Sequence[str], threshold: float
) -> Iterator[tuple[int, int, float]]:
    """(which sound, what was heard, how alike they are) of all that are alike."""
    try:
        from rapidfuzz import fuzz, process
    except ImportError as error:
        raise _missing("rapidfuzz") from error
    if not sounds or not heard:
        return iter(())
    scores = process.cdist(sounds, heard, scorer=fuzz.ratio, score_cutoff=threshold * 100, dtype=np.float64)
    return (
        (which, place, float(scores[which, place]) / 100)
        for which, place in zip(*(axis.tolist() for axis in scores.nonzero()), strict=True)
    )


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(
        package,
        "finding hotwords by their sound (postprocess_hotwords; rules with => do without it)",
        install_extra("hotwords"),
    )


def _offsets(transcript: Transcript) -> list[int]:
    """Where each word begins in the text without tags."""
    segments = tuple(replace(segment, tags=()) for segment in transcript.segments)
    text = replace(transcript, segments=segments).text
    offsets = []
    position = 0
    for token in transcript.tokens:
        position = text.index(token.text, position)
        offsets.append(position)
        position += len(token.text)
    return offsets


def _report(one: Respelling, offsets: Sequence[int]) -> Repair:
    last = one.stop - 1
    inside = one.change.stop - one.stretch.starts[last - one.stretch.first]
    return Repair(
        original=one.original,
        replacement=one.change.text,
        score=round(one.change.score, 4),
        start=offsets[one.first] + one.offset,
        end=offsets[last] + inside,
    )
