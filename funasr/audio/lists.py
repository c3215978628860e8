"""wav.scp, .txt, .text, .jsonl, .json -> the entries in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funasr.download import download, is_url, shown_url, url_path
from funasr.errors import InputError

LIST_SUFFIXES = (".scp", ".txt", ".json", ".jsonl", ".text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a list file."""

    key: str | None
    """None when the line does not name one."""
    source: Any
    """A path, URL or text; whatever `source` is in a line of JSON."""
    text: str | None = None
    """`target` of a line of JSON: what is said in the sound."""


def list_suffix(value: Any) -> str | None:
    """The suffix of a name (path or URL) that list files have, None for all others."""
    if not isinstance(value, (str, Path)):
        return None
    name = url_path(value) if isinstance(value, str) and is_url(value) else str(value)
    suffix = name[name.rfind(".") :].lower()
    return suffix if suffix in LIST_SUFFIXES else None


def read_list(path: str | Path) -> list[Entry]:
    """The entries of a list file or the URL of one.

    Lines of .scp, .txt and .text are `key value` (the value may hold spaces) or `value`; lines of .jsonl are
    objects with `source` and perhaps `key` and `target`. A .json file is an array of such objects (or of
    paths), one object, or, as upstream reads it, lines of the first kind. Empty lines are skipped.

    Raises InputError, with the number of the line, when the file cannot be read.
    """
    suffix = list_suffix(path)
    name, content = _content(path)
    if suffix == ".json" and content.lstrip()[:1] in ("[", "{"):
        return _json_entries(name, content)
    entries: list[Entry] = []
    # Not splitlines(): a text may hold U+2028 and its like.
    for number, line in enumerate(content.split("\n"), 1):
        line = line.strip()
        if not line:
            continue
        if suffix == ".jsonl":
            entries.append(_json_entry(_parsed(line, f"{name}, line {number}"), f"{name}, line {number}"))
        else:
            first, *rest = line.split(maxsplit=1)
            entries.append(Entry(key=first, source=rest[0]) if rest else Entry(key=None, source=first))
    return entries


def _content(path: str | Path) -> tuple[str, str]:
    """What messages call the file, and its text."""
    if isinstance(path, str) and is_url(path):
        name = shown_url(path)
        with download(path) as file:
            data = file.read()
    else:
        name = str(path)
        try:
            data = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or error
            raise InputError(f"cannot read the list {name!r}: {cause}") from error
    try:
        return name, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the list {name!r} is not UTF-8 text (byte {error.start}). "
            "For a Chinese list in an older encoding: iconv -f gb18030 -t utf-8 LIST > LIST.utf8"
        ) from error


def _json_entries(name: str, content: str) -> list[Entry]:
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):  # not one document: a .jsonl by another name
        lines = [(number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
        return [_json_entry(_parsed(line, f"{name}, line {n}"), f"{name}, line {n}") for n, line in lines]
    if not isinstance(parsed, list):
        return [_json_entry(parsed, name)]
    return [
        Entry(key=None, source=value)
        if isinstance(value, str)
        else _json_entry(value, f"{name}, entry {number}")
        for number, value in enumerate(parsed, 1)
    ]


def _parsed(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from error


def _json_entry(value: Any, where: str) -> Entry:
    if not isinstance(value, dict):
        raise InputError(
            f'{where}: expected an object like {{"key": "a", "source": "a.wav"}}, got {value!r:.80}'
        )
    source = value.get("source")
    if not isinstance(source, str) or not source:
        got = (
            f"it is {source!r:.80}"
            if "source" in value
            else f"there are only {', '.join(value) or 'no names'}"
        )
        raise InputError(f"{where}: 'source' must be a path, a URL or a text; {got}")
    key, target = value.get("key"), value.get("target")
    return Entry(
        key=None if key is None else str(key),
        source=source,
        text=target if isinstance(target, str) else None,
    )
