"""What `input=` may be -> a list of (key, source)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from funasr.audio.lists import Entry, list_suffix, read_list
from funasr.audio.samples import describe, is_array, is_number_list, to_numpy
from funasr.download import is_url, url_path
from funasr.errors import InputError, did_you_mean

DATA_TYPES = ("sound", "text", "fbank")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to work on."""

    key: str
    """Names the result. Unique within a call, and the same for the same input every time."""
    source: Any
    """What `open_audio` takes; with `data_type` "text" a string, with "fbank" an array (T, D)."""
    text: str | None = None
    """The text that comes with the sound, for models that want both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """An item on the way: `name` is a key it was given, `stem` one its source suggests."""

    source: Any
    text: str | None = None
    name: str | None = None
    stem: str | None = None


def expand_input(
    data: Any,
    *,
    data_type: str | Sequence[str] | None = None,
    key: str | Sequence[str] | None = None,
    input_len: Any = None,
) -> list[Item]:
    """The items that `data` stands for.

    - a path or URL of sound; bytes, an array, a tensor, a list of numbers, a file object: one item
    - a path or URL of a list (.scp, .txt, .text, .jsonl, .json): one item a line, see `read_list`
    - a list, tuple or iterator of those (lists within it are not opened): one item an element
    - `data_type=("sound", "text")`: `data` is a pair of the forms above, read side by side; the
      lines of a list of texts begin with a key: that of a list of sounds, or the stem of a file
    - `data_type="text"`: strings that are not existing lists are texts
    - `data_type="fbank"`: an array (B, T, D), with `input_len` the number of frames in each row, or (T, D)

    Keys are, in this order: `key`; the key in a list; the stem of the file; `utt_1`, `utt_2` by position.
    A key that came before gets a number: `a`, `a_2`.

    A sound that does not exist is an item all the same, and fails when it is opened. Raises InputError for a
    list that cannot be read, and for a form that is none of these.
    """
    if isinstance(data_type, (list, tuple)):
        drafts = _pairs(data, tuple(data_type))
    elif data_type == "fbank":
        drafts = _feature_rows(data, input_len)
    elif data_type is None or data_type in DATA_TYPES:
        drafts = _drafts(data, is_text=data_type == "text")
    else:
        raise InputError(
            f"data_type is {data_type!r}; expected one of {', '.join(DATA_TYPES)}, or ('sound', 'text') for "
            f"pairs{did_you_mean(str(data_type), DATA_TYPES)}"
        )
    drafts = _named(drafts, key)
    keys = _unique([d.name or d.stem or f"utt_{number}" for number, d in enumerate(drafts, 1)])
    return [Item(key=k, source=d.source, text=d.text) for k, d in zip(keys, drafts, strict=True)]


def expand_each(inputs: Iterable[Any]) -> list[Item]:
    """What several inputs stand for, one after the other: unlike in a list of them, lists are opened."""
    items = [item for data in inputs for item in expand_input(data)]
    keys = _unique([item.key for item in items])
    return [replace(item, key=key) for item, key in zip(items, keys, strict=True)]


def _drafts(data: Any, *, is_text: bool) -> list[_Draft]:
    if data is None or isinstance(data, dict):
        raise InputError(
            f"input is {describe(data)}: expected a path, a URL, bytes, an array, a file object, "
            "or a list of them"
        )
    if isinstance(data, (str, os.PathLike)):
        path = data if isinstance(data, str) else Path(data)
        if list_suffix(path) and not (is_text and not _is_existing_list(path)):
            return [_from_entry(entry, path, is_text=is_text) for entry in read_list(path)]
        return [_single(data, is_text=is_text)]
    if is_number_list(data):
        return [_single(data, is_text=is_text)]
    if isinstance(data, (list, tuple)) or (isinstance(data, Iterator) and not hasattr(data, "read")):
        return [_single(element, is_text=is_text) for element in data]
    return [_single(data, is_text=is_text)]


def _is_existing_list(path: str | Path) -> bool:
    """For texts: 'see notes.txt' is one, unless there is such a file."""
    return is_url(path) or _exists(path)


def _exists(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long, or a NUL: a text, then
        return False


def _single(source: Any, *, is_text: bool) -> _Draft:
    if is_text and not isinstance(source, str):
        raise InputError(f"data_type is 'text', and the input has {describe(source)}: expected strings")
    name: Any = source
    if is_text:
        name = None
    elif isinstance(source, str) and is_url(source):
        name = url_path(source)
    elif not isinstance(source, (str, os.PathLike)):
        name = getattr(source, "name", None) if hasattr(source, "read") else None
    stem = Path(name).stem if isinstance(name, (str, os.PathLike)) else None
    return _Draft(source=source, stem=stem or None)


def _from_entry(entry: Entry, list_path: str | Path, *, is_text: bool) -> _Draft:
    """A relative path starts at the working directory or, where there is no such file, beside the list."""
    source = entry.source
    if not is_text and not is_url(source) and not is_url(list_path) and not _exists(source):
        beside = Path(list_path).parent / source
        if _exists(beside):
            source = str(beside)
    draft = _single(source, is_text=is_text)
    return replace(draft, name=entry.key, text=entry.text)


def _pairs(data: Any, kinds: tuple[str, ...]) -> list[_Draft]:
    if sorted(kinds) != ["sound", "text"]:
        raise InputError(f"data_type is {kinds!r}: expected 'sound', 'text', 'fbank' or ('sound', 'text')")
    if not isinstance(data, (list, tuple)) or len(data) != 2:
        got = f"{len(data)} of them" if isinstance(data, (list, tuple)) else describe(data)
        raise InputError(f"data_type {kinds!r} needs two inputs, one of each, got {got}")
    sounds = _drafts(data[kinds.index("sound")], is_text=False)
    texts = _drafts(data[kinds.index("text")], is_text=True)
    texts = _in_order_of(sounds, texts)
    if len(sounds) != len(texts):
        raise InputError(f"data_type {kinds!r}: {len(sounds)} sounds and {len(texts)} texts do not pair up")
    return [
        replace(sound, text=str(text.source), name=sound.name or text.name)
        for sound, text in zip(sounds, texts, strict=True)
    ]


def _in_order_of(sounds: list[_Draft], texts: list[_Draft]) -> list[_Draft]:
    """Texts as they belong to the sounds: by key where both have one throughout, else by position.

    A list of texts may hold more keys than the list of sounds, as those of whole corpora do.
    """
    if any(sound.name is None for sound in sounds):
        return _in_order_of_files(sounds, texts)
    if any(text.name is None for text in texts):
        return texts
    by_key = {text.name: text for text in texts}
    if len(by_key) < len(texts):
        return texts
    for sound in sounds:
        if sound.name not in by_key:
            raise InputError(
                f"the list of sounds has the key {sound.name!r}, which the list of texts has not"
            )
    return [by_key[sound.name] for sound in sounds]


def _in_order_of_files(sounds: list[_Draft], texts: list[_Draft]) -> list[_Draft]:
    """Sounds that no list gives a key to: the keys of a list of texts are their files', or stand by position.

    Raises InputError for a line whose first word may as well be the first of its text.
    """
    by_key = {text.name: text for text in texts}
    stems = [sound.stem for sound in sounds]
    if len(by_key) == len(texts) and None not in stems and set(stems) <= by_key.keys():
        return [by_key[stem] for stem in stems]
    for text, stem in zip(texts, stems, strict=False):
        if text.name is not None and text.name != stem and not _KEY.fullmatch(text.name):
            example = stem or "utt_1"
            raise InputError(
                f"a line of the list of texts begins with {text.name!r}, which is its key or its first word: "
                f"begin it with a key, such as {example!r}, or give the text itself instead of a list"
            )
    return texts


_KEY = re.compile(r"(?=.*[A-Za-z])(?=.*[\d_])[!-~]+")
"""Letters with digits or underscores: no word of a text."""


def _feature_rows(data: Any, input_len: Any) -> list[_Draft]:
    if not is_array(data) and not isinstance(data, (list, tuple)):
        raise InputError(f"data_type is 'fbank', and input is {describe(data)}: expected an array (B, T, D)")
    if not is_array(data):
        if input_len is not None:
            raise InputError("input_len goes with an array (B, T, D), not with a list of arrays (T, D)")
        return [row for element in data for row in _feature_rows(element, None)]
    features = to_numpy(data)
    if features.ndim == 2:
        features = features[np.newaxis]
    if features.ndim != 3 or features.dtype.kind != "f" or features.shape[2] == 0:
        raise InputError(f"data_type 'fbank' needs floats (B, T, D) or (T, D), got {describe(features)}")
    rows, frames, _ = features.shape
    lengths = np.full(rows, frames) if input_len is None else np.atleast_1d(to_numpy(input_len))
    if (
        lengths.shape != (rows,)
        or lengths.dtype.kind not in "iu"
        or not ((lengths >= 0) & (lengths <= frames)).all()
    ):
        raise InputError(
            f"input_len is {np.array2string(lengths, threshold=8)}: expected {rows} frame counts of at most "
            f"{frames}"
        )
    with np.errstate(over="ignore"):  # too large for float32: found below
        kept = [row[:length].astype(np.float32) for row, length in zip(features, lengths, strict=True)]
    for number, row in enumerate(kept, 1):
        if not np.isfinite(row).all():
            raise InputError(
                f"data_type is 'fbank', and the features of input {number} of {rows} are not all finite; "
                "they hold NaN or infinity"
            )
    return [_Draft(source=row) for row in kept]


def _named(drafts: list[_Draft], key: str | Sequence[str] | None) -> list[_Draft]:
    if key is None:
        return drafts
    keys = [key] if isinstance(key, str) else list(key)
    if len(keys) != len(drafts):
        raise InputError(f"key has {len(keys)} names for {len(drafts)} inputs; give one for each, or none")
    return [replace(draft, name=str(name)) for draft, name in zip(drafts, keys, strict=True)]


def _unique(names: list[str]) -> list[str]:
    """The second `a` becomes `a_2`, unless something is called that already."""
    taken = set(names)
    counts: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        if name not in counts:
            counts[name] = 1
            unique.append(name)
            continue
        while (numbered := f"{name}_{counts[name] + 1}") in taken:
            counts[name] += 1
        counts[name] += 1
        taken.add(numbered)
        unique.append(numbered)
    return unique
