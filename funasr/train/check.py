"""Which utterances of a manifest can be learnt from, and what is wrong with each of the others.

Runs before any network is built. Torch-free.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from funasr.download import is_url
from funasr.errors import FunASRError, InputError
from funasr.text.tokenizer import Tokenizer
from funasr.train.manifest import read_records, sound_length, text_length

FRAMES_PER_TOKEN = 6
"""A recognizer that hears one frame in 60 ms writes no more than one token in each: 10 ms frames a token."""


Tags: TypeAlias = tuple[str | None, str | None, str | None, str | None]

TAG_FIELDS = ("text_language", "emo_target", "event_target", "with_or_wo_itn")
NO_TAGS: Tags = (None, None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One line of a manifest that can be learnt from."""

    key: str
    source: str
    """Path or URL of the sound."""
    text: str
    frames: int
    """Length of the sound in frames of 10 ms; 1 where nothing tells."""
    where: str
    """File and line."""
    tags: Tags = NO_TAGS
    """Language, emotion, event and style, such as `<|en|>`; None for what the line does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a line is left out."""

    where: str
    kind: str
    """A few words, the same for all lines with this fault."""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}{f': {self.detail}' if self.detail else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Fields of `dataset_conf`. Source lengths are frames of 10 ms, target lengths words or characters."""

    min_source_length: int = 0
    max_source_length: int = 2048
    min_target_length: int = 0
    max_target_length: int = 2048
    max_token_length: int = 2200
    """Of both together."""

    def broken_by(self, frames: int, text: str) -> str | None:
        """The limit that an utterance breaks, in words; None for one within all of them."""
        size = text_length(text)
        checks = (
            ("sound", frames, self.min_source_length, self.max_source_length, "source", "frames of 10 ms"),
            ("text", size, self.min_target_length, self.max_target_length, "target", "words or characters"),
        )
        for what, length, least, most, name, unit in checks:
            if length < least:
                return f"{what} shorter than min_{name}_length={least} {unit}"
            if length > most:
                return f"{what} longer than max_{name}_length={most} {unit}"
        if frames + size > self.max_token_length:
            return f"sound and text longer than max_token_length={self.max_token_length}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found. Every line is in one of the two lists."""

    good: tuple[Utterance, ...]
    faults: tuple[Fault, ...]

    def summary(self) -> list[str]:
        """A line of totals, and one for each kind of fault with an example."""
        total = len(self.good) + len(self.faults)
        hours = sum(utterance.frames for utterance in self.good) / 360_000
        lines = [f"{len(self.good)} of {total} utterances can be learnt from, {hours:.2f} hours of sound"]
        examples: dict[str, Fault] = {}
        for fault in self.faults:
            examples.setdefault(fault.kind, fault)
        for kind, count in Counter(fault.kind for fault in self.faults).most_common():
            lines.append(f"{count} left out, {kind}; for example {examples[kind]}")
        return lines


def check_manifest(
    paths: Sequence[Path],
    limits: Limits | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    open_sounds: bool = False,
    workers: int | None = None,
) -> Report:
    """Read .jsonl files and judge each line by itself, and keys against one another.

    `open_sounds` opens every local file, for its length and to see that it is sound; otherwise `source_len`
    is believed. With a `tokenizer`, texts that its vocabulary cannot write at all are faults. Raises
    InputError for a file that is no .jsonl.
    """
    limits = limits or Limits()
    drafts = [draft for path in paths for draft in _drafts(path)]
    if open_sounds:
        with ThreadPoolExecutor(workers or min(32, (os.cpu_count() or 1) + 4)) as pool:
            drafts = list(pool.map(_opened, drafts))
    good: list[Utterance] = []
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    for draft in drafts:
        judged = draft if isinstance(draft, Fault) else _judged(draft, limits, tokenizer, seen)
        if isinstance(judged, Fault):
            faults.append(judged)
        else:
            good.append(judged)
    return Report(good=tuple(good), faults=tuple(faults))


def manifest_paths(given: str | Path) -> list[Path]:
    """`train_data_set_list` -> its files.

    A .jsonl (or .json) is itself the data; any other file lists such files, one a line. Raises InputError for
    files that are not there.
    """
    path = Path(given)
    if not path.is_file():
        raise InputError(
            f"no data list {str(given)!r}: give a .jsonl, or a file with the paths of such files"
        )
    if path.suffix in (".jsonl", ".json"):
        return [path]
    files = [Path(line.strip()) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    missing = [str(file) for file in files if not file.is_file()]
    if missing or not files:
        raise InputError(f"{path} lists {', '.join(missing[:5]) if missing else 'no files'}; no such file")
    return files


def _drafts(path: Path) -> Iterator[Utterance | Fault]:
    for number, record in read_records(path):
        yield _draft(record, f"{path}, line {number}")


def _draft(record: Mapping[str, Any], where: str) -> Utterance | Fault:
    source, text = record.get("source"), record.get("target")
    if not isinstance(source, str) or not source:
        return Fault(where=where, kind="no 'source'", detail=f"the line has {', '.join(record) or 'nothing'}")
    if not isinstance(text, str):
        return Fault(where=where, kind="no 'target'", detail=f"the line has {', '.join(record)}")
    frames = record.get("source_len", 1)
    # NaN and Infinity, which Python reads as JSON, are none either.
    if isinstance(frames, bool) or not isinstance(frames, (int, float)) or not 0 <= frames < math.inf:
        return Fault(where=where, kind="'source_len' is no length", detail=repr(frames))
    key = str(record.get("key") or where)
    language, emotion, event, style = (_tag(record.get(field)) for field in TAG_FIELDS)
    return Utterance(
        key=key,
        source=source,
        text=text.strip(),
        frames=int(frames),
        where=where,
        tags=(language, emotion, event, style),
    )


def _tag(value: Any) -> str | None:
    """`en` and `<|en|>` are the same."""
    return f"<|{value.strip('<|> ')}|>" if isinstance(value, str) and value.strip("<|> ") else None


def _opened(draft: Utterance | Fault) -> Utterance | Fault:
    if isinstance(draft, Fault) or is_url(draft.source):
        return draft
    try:
        return replace(draft, frames=sound_length(draft.source))
    except FunASRError as error:
        return Fault(where=draft.where, kind="no sound", detail=str(error))


def _judged(
    draft: Utterance, limits: Limits, tokenizer: Tokenizer | None, seen: dict[str, str]
) -> Utterance | Fault:
    def fault(kind: str, detail: str = "") -> Fault:
        return Fault(where=draft.where, kind=kind, detail=detail)

    if draft.key in seen:
        return fault("key occurs twice", f"{draft.key} is in {seen[draft.key]} too")
    seen[draft.key] = draft.where
    if not draft.text:
        return fault("empty text", draft.key)
    broken = limits.broken_by(draft.frames, draft.text)
    if broken is not None:
        return fault(broken, f"{draft.frames} frames, {text_length(draft.text)} in the text")
    if tokenizer is not None:
        ids = tokenizer.encode(draft.text)
        if all(id_ == tokenizer.unk_id for id_ in ids):
            return fault("text that the vocabulary cannot write", repr(draft.text[:60]))
        if draft.frames > 1 and len(ids) * FRAMES_PER_TOKEN > draft.frames:
            return fault(
                "text too long for its sound",
                f"{len(ids)} tokens in {draft.frames / 100:.2f} s: {draft.text!r:.60}",
            )
    return draft
