"""Manifests for sets that are too large for one list: `.tar` shards that hold the sound too, and Parquet.

A `.tar` has the layout of webdataset: files that share a name up to its first dot are one example, such as
`utt1.wav`, `utt1.txt` (the target) and `utt1.json` (all other fields). Only its table is read here; sound is
read from its place in the shard when its turn comes. A `.parquet` has the fields of a .jsonl as columns.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from funasr.errors import FunASRError, InputError, MissingDependencyError
from funasr.train.kinds import PART
from funasr.train.manifest import Record, read_records, sound_length

SOUNDS = frozenset({"wav", "flac", "mp3", "ogg", "opus", "m4a", "aac", "wma", "amr"})
TEXTS = {"txt": "target", "text": "target", "cls": "speaker", "spk": "speaker"}
"""Suffix of a member -> the field it is the value of."""
ROWS = 4096
"""Rows of a .parquet in memory at once."""

Line = tuple[str, Record]


def read_lines(path: Path, *, lengths: bool = True) -> Iterator[Line]:
    """(file and line in words, object) of a manifest. `lengths`: of sounds in shards, from their headers.

    Raises InputError for a file that is none, MissingDependencyError for Parquet without pyarrow.
    """
    reader = READERS.get(path.suffix, _read_jsonl)
    return reader(path, lengths)


def expand_braces(name: str) -> list[str]:
    """`a-{000..002}.tar` -> a-000.tar, a-001.tar, a-002.tar."""
    found = re.search(r"\{(\d+)\.\.(\d+)\}", name)
    if not found:
        return [name]
    first, last = found[1], found[2]
    names = [
        name[: found.start()] + str(number).zfill(len(first)) + name[found.end() :]
        for number in range(int(first), int(last) + 1)
    ]
    return [one for each in names for one in expand_braces(each)] or [name]


def is_shard(path: Path) -> bool:
    return path.suffix in (".tar", ".parquet")


def _read_jsonl(path: Path, lengths: bool) -> Iterator[Line]:
    for number, record in read_records(path):
        yield f"{path}, line {number}", record


def _read_tar(path: Path, lengths: bool) -> Iterator[Line]:
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            key: str | None = None
            record: Record = {}
            for member in tar:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                own = f"{folder}/{stem}" if folder else stem
                if own != key:
                    if key is not None:
                        yield f"{path}, {key}", _whole(path, record, lengths)
                    key, record = own, {"key": own}
                content = tar.extractfile(member)
                assert content is not None  # of a file
                _add(record, suffix.lower(), member, content, f"{path}, {member.name}")
                tar.members = []  # type: ignore[attr-defined]  # else it remembers all that it passed
            if key is not None:
                yield f"{path}, {key}", _whole(path, record, lengths)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{path} is no whole .tar ({error}); shards are not compressed, so that sound can be read from "
            "anywhere in them"
        ) from error
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _add(record: Record, suffix: str, member: tarfile.TarInfo, content: Any, where: str) -> None:
    """One file of an example -> its fields."""
    if suffix in SOUNDS:
        record[PART] = (member.offset_data, member.size)
    elif suffix == "json":
        try:
            fields = json.loads(content.read())
        except ValueError as error:
            raise InputError(f"{where}: not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise InputError(f"{where}: expected an object")
        # Fields named by a file of their own stay.
        record |= {name: value for name, value in fields.items() if name != PART and name not in record}
        record["key"] = fields.get("key") or record["key"]
    elif suffix in TEXTS:
        try:
            record[TEXTS[suffix]] = content.read().decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise InputError(f"{where} is not UTF-8 text (byte {error.start})") from error


def _whole(path: Path, record: Record, lengths: bool) -> Record:
    """The record with the place of its sound, and its length."""
    if PART in record:
        record["source"] = str(path)
        if "source_len" not in record and lengths:
            record["source_len"] = _frames(path, record)
    else:
        record.pop("source", None)  # the name it had before it was in a shard
    return record


def _frames(path: Path, record: Record) -> int:
    """Frames of 10 ms by `duration` or the header; 1 for what cannot be told."""
    seconds = record.get("duration")
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 <= seconds < 1e9:
        return int(seconds * 100 + 1e-6)
    offset, size = record[PART]
    try:
        with open(path, "rb") as file:
            return sound_length(Window(file, offset, size))  # type: ignore[arg-type]
    except FunASRError:
        return 1  # told when it is read


class Window:
    """A part of an open file as a binary file: headers are read without the rest."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0
        self.name = getattr(file, "name", "shard")

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._size - self._at)
        self._file.seek(self._offset + self._at)
        content = self._file.read(left if count is None or count < 0 else min(count, left))
        self._at += len(content)
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False


def _read_parquet(path: Path, lengths: bool) -> Iterator[Line]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError("pyarrow", f"the manifest {path}", "pip install pyarrow") from error
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", {k: v for k, v in row.items() if v is not None}
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path} is no whole .parquet: {error}") from error


READERS: dict[str, Callable[[Path, bool], Iterator[Line]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_jsonl,
    ".tar": _read_tar,
    ".parquet": _read_parquet,
}
