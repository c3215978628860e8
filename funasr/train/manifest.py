"""The lists that training reads: one JSON object an utterance, and the two-column files they are made from.

A list of sounds (`wav.scp`: key, path) and one of texts (`text.txt`: key, text) become a `.jsonl` whose lines
have `key`, `source`, `source_len`, `target` and `target_len`. Nothing is left out silently.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from funasr.audio.lists import read_list
from funasr.audio.load import open_audio
from funasr.download import is_url
from funasr.errors import FunASRError, InputError, OptionError

SOUND = "source"
FRAMES_PER_SECOND = 100
"""`source_len` counts frames of 10 ms, whatever the rate of the file."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What became of the lines of some lists."""

    records: tuple[Record, ...]
    """In the order of the first list."""
    left_out: tuple[str, ...] = ()
    """A sentence each: which line of which file is in no record, and why."""


def join_lists(lists: Mapping[str, Path]) -> Joined:
    """`{"source": wav.scp, "target": text.txt}` -> a record for each key of the first list.

    A key that a later list lacks has a record without that field; both that and a key of a later list alone
    are told. Raises InputError for a list that cannot be read.
    """
    fields = list(lists)
    columns: dict[str, dict[str, str]] = {}
    left_out: list[str] = []
    for field, path in lists.items():
        columns[field], problems = _column(path)
        left_out += problems
    first = columns[fields[0]]
    for field in fields[1:]:
        left_out += [
            f"{lists[field]}: {key} is not in {lists[fields[0]]}"
            for key in columns[field]
            if key not in first
        ]
        left_out += [
            f"{lists[fields[0]]}: {key} has no {field}" for key in first if key not in columns[field]
        ]
    records = tuple(
        {"key": key} | {field: columns[field][key] for field in fields if key in columns[field]}
        for key in first
    )
    return Joined(records=records, left_out=tuple(left_out))


def _column(path: Path) -> tuple[dict[str, str], list[str]]:
    values: dict[str, str] = {}
    problems: list[str] = []
    for entry in read_list(path):
        if entry.key is None:
            problems.append(f"{path}: {entry.source!r:.60} stands alone: a line is 'key value'")
        elif entry.key in values:
            problems.append(f"{path}: {entry.key} occurs again; the first line counts")
        else:
            values[entry.key] = str(entry.source)
    return values, problems


def measured(joined: Joined, *, workers: int | None = None, urls: bool = False) -> Joined:
    """The same records with `source_len` (10 ms frames, from the header of the file) and `target_len`.

    Sounds that cannot be opened are left out, with the reason. URLs are kept as they are, and are fetched and
    measured only if `urls`. The order stays, however many `workers` there are.
    """
    with ThreadPoolExecutor(workers or min(32, (os.cpu_count() or 1) + 4)) as pool:
        results = list(pool.map(lambda record: _measure(record, urls), joined.records))
    return Joined(
        records=tuple(result for result in results if isinstance(result, dict)),
        left_out=joined.left_out + tuple(result for result in results if isinstance(result, str)),
    )


def _measure(record: Record, urls: bool) -> Record | str:
    """The record with lengths behind the fields they measure, or why there is none."""
    whole: Record = {}
    for field, value in record.items():
        whole[field] = value
        if field == SOUND:
            if is_url(value) and not urls:
                continue
            try:
                whole["source_len"] = sound_length(value)
            except FunASRError as error:
                return f"{record['key']}: {error}"
        elif field != "key":
            whole[f"{field}_len"] = text_length(value)
    return whole


def sound_length(source: str | Path | BinaryIO) -> int:
    """Frames of 10 ms in a sound, from its header, or by reading it where the header does not tell.

    Raises AudioDecodeError for what is no sound.
    """
    with open_audio(source) as sound:
        seconds = sound.duration
        if seconds is None:
            seconds = sum(block.shape[1] for block in sound) / sound.rate
    return int(seconds * FRAMES_PER_SECOND + 1e-6)


def text_length(text: str) -> int:
    """Words where blanks part them, else characters; as upstream counts `target_len`."""
    return len(text.split()) if " " in text else len(text)


def read_records(path: str | Path) -> Iterator[tuple[int, Record]]:
    """(line number, object) of a .jsonl file. Raises InputError for a line that is none."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise InputError(f"{path}, line {number}: not JSON: {error}") from error
                if not isinstance(record, dict):
                    raise InputError(f"{path}, line {number}: expected an object, got {line.strip()!r:.60}")
                yield number, record
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text (byte {error.start})") from error


def write_records(path: Path, records: Sequence[Record]) -> None:
    """One JSON object a line. Raises OptionError where nothing can be written."""
    with _replacing(path) as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def split_records(source: Path, files: Mapping[str, Path]) -> Joined:
    """The other way: a column of a .jsonl -> a file of lines `key<TAB>value`, for each of `files`.

    What cannot be one line is left out of all of them.
    """
    records: list[Record] = []
    left_out: list[str] = []
    for number, record in read_records(source):
        lacking = [field for field in ("key", *files) if field not in record]
        if lacking:
            left_out.append(f"{source}, line {number}: no {' and no '.join(lacking)}")
        broken = [field for field in ("key", *files) if set("\r\n") & set(str(record.get(field, "")))]
        if broken:
            left_out.append(f"{source}, line {number}: {' and '.join(broken)} with a line break within")
        else:
            records.append(record)
    for field, path in files.items():
        with _replacing(path) as file:
            for record in records:
                if "key" in record and field in record:
                    file.write(f"{record['key']}\t{record[field]}\n")
    return Joined(records=tuple(records), left_out=tuple(left_out))


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A file that takes its name when it is whole."""
    draft = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(draft, "w", encoding="utf-8", newline="\n") as file:
            yield file
        os.replace(draft, path)
    except OSError as error:
        raise OptionError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
