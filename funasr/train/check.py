"""Which utterances of a manifest can be learnt from, and what is wrong with each of the others.

Runs before any network is built. Torch-free.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from funasr.download import is_url
from funasr.errors import FunASRError, InputError
from funasr.text.tokenizer import Tokenizer
from funasr.train.kinds import SPEECH, Kind
from funasr.train.shards import READERS, expand_braces, read_lines
from funasr.train.sounds import length_of
from funasr.train.utterance import TAG_FIELDS as TAG_FIELDS
from funasr.train.utterance import Fault as Fault
from funasr.train.utterance import Limits as Limits
from funasr.train.utterance import Utterance as Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found. Every line is in one of the two lists."""

    good: tuple[Utterance, ...]
    faults: tuple[Fault, ...]
    kind: Kind = SPEECH

    def summary(self) -> list[str]:
        """A line of totals, and one for each kind of fault with an example."""
        total = len(self.good) + len(self.faults)
        amount = sum(utterance.frames for utterance in self.good)
        what = f"{amount / 360_000:.2f} hours of sound" if self.kind.sound else f"{amount} words"
        noun = "utterances" if self.kind.sound else "texts"
        lines = [f"{len(self.good)} of {total} {noun} can be learnt from, {what}"]
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
    kind: Kind = SPEECH,
    tokenizer: Tokenizer | None = None,
    open_sounds: bool = False,
    workers: int | None = None,
) -> Report:
    """Read .jsonl, .parquet and .tar files; judge each line by itself, and keys against one another.

    `open_sounds` opens every local file, for its length and to see that it is sound; otherwise `source_len`
    is believed. With a `tokenizer`, texts that its vocabulary cannot write at all are faults. Raises
    InputError for a file that is none of these.
    """
    limits = limits or Limits()
    drafts: Iterable[Utterance | Fault] = _drafts(paths, kind)
    if open_sounds and kind.sound:
        with ThreadPoolExecutor(workers or min(32, (os.cpu_count() or 1) + 4)) as pool:
            drafts = list(pool.map(_opened, drafts))
    good: list[Utterance] = []
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    for draft in drafts:
        fault = draft if isinstance(draft, Fault) else _again(draft, seen)
        if fault is None:
            assert isinstance(draft, Utterance)
            fault = kind.judge(draft, limits, tokenizer)
            if fault is None:
                good.append(draft)
                continue
        faults.append(fault)
    return Report(good=tuple(good), faults=tuple(faults), kind=kind)


def manifest_paths(given: str | Path) -> list[Path]:
    """`train_data_set_list` -> its files.

    A .jsonl (or .json), .parquet or .tar is itself the data; any other file lists such files, one a line.
    `shard-{000..031}.tar` are 32 files. Raises InputError for files that are not there.
    """
    named = [Path(name) for name in expand_braces(str(given))]
    path = named[0]
    missing = [str(file) for file in named if not file.is_file()]
    if missing:
        raise InputError(
            f"no data list {', '.join(map(repr, missing[:5]))}: give a .jsonl, .parquet or .tar, or a file "
            "with the paths of such files"
        )
    if all(file.suffix in READERS for file in named):
        return named
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no data list: it is no text ({error}). Give a .jsonl, which scp2jsonl makes, or a "
            "file with the paths of such files"
        ) from error
    files = [Path(name) for line in lines if line.strip() for name in expand_braces(line.strip())]
    missing = [str(file) for file in files if not file.is_file()]
    if missing or not files:
        hint = ". A wav.scp becomes a .jsonl by scp2jsonl" if path.suffix == ".scp" else ""
        listed = ", ".join(missing[:5]) if missing else "no files"
        raise InputError(f"{path} lists {listed}; no such file{hint}")
    return files


def _drafts(paths: Sequence[Path], kind: Kind) -> Iterator[Utterance | Fault]:
    for path in paths:
        for where, record in read_lines(path, lengths=kind.sound):
            yield kind.draft(record, where)


def _opened(draft: Utterance | Fault) -> Utterance | Fault:
    if isinstance(draft, Fault) or is_url(draft.source):
        return draft
    try:
        return replace(draft, frames=length_of(draft))
    except FunASRError as error:
        return Fault(where=draft.where, kind="no sound", detail=str(error))


def _again(draft: Utterance, seen: dict[str, str]) -> Fault | None:
    if draft.key in seen:
        detail = f"{draft.key} is in {seen[draft.key]} too"
        return Fault(where=draft.where, kind="key occurs twice", detail=detail)
    seen[draft.key] = draft.where
    return None
