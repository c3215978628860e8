"""`scp2jsonl` and `jsonl2scp`: two-column lists to the list that training reads, and back.

Exit status: 0 all is well; 1 some lines were left out, the others are written; 2 the command is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from funasr.bin.arguments import SettingsParser
from funasr.bin.output import use_any_letter
from funasr.config import options, parse_overrides
from funasr.errors import FunASRError, OptionError
from funasr.train.manifest import Joined, join_lists, measured, split_records, write_records

SHOWN = 20
"""Faults that are told one by one."""

FILES = """\
  ++scp_file_list='["wav.scp","text.txt"]'     two-column lists, "key value" in each line
  ++data_type_list='["source","target"]'       what each of them holds: source is the sound, target its text;
                                               text_language, emo_target, ... for models that read these
"""
TO_JSONL = f"""\
settings:
  ++jsonl_file_out=FILE                        where to
{FILES}  ++workers=N                                  how many sounds are measured at once
  ++measure_urls=false                         true: fetch sounds behind http(s) as well, to measure them
What stands above for the lists is the default.

example: scp2jsonl ++scp_file_list='["wav.scp","text.txt"]' ++jsonl_file_out=train.jsonl
"""
TO_SCP = f"""\
settings:
  ++jsonl_file_in=FILE                         what to read
{FILES}What stands above for the lists is the default; files that are there are written anew.

example: jsonl2scp ++jsonl_file_in=train.jsonl ++scp_file_list='["wav.scp","text.txt"]'
"""


@dataclass(frozen=True, kw_only=True)
class ScpToJsonl:
    """Arguments of scp2jsonl, as documented; `measure_urls` and `workers` are ours."""

    jsonl_file_out: str
    scp_file_list: Any = ("wav.scp", "text.txt")
    data_type_list: Any = ("source", "target")
    measure_urls: bool = False
    workers: int | None = None


@dataclass(frozen=True, kw_only=True)
class JsonlToScp:
    """Arguments of jsonl2scp, as documented."""

    jsonl_file_in: str
    scp_file_list: Any = ("wav.scp", "text.txt")
    data_type_list: Any = ("source", "target")


def scp2jsonl(argv: Sequence[str] | None = None) -> int:
    """Two-column lists -> the .jsonl that training reads."""
    about = "Join two-column lists by their keys to the .jsonl that training reads."
    return _run("scp2jsonl", about, TO_JSONL, _to_jsonl, argv)


def jsonl2scp(argv: Sequence[str] | None = None) -> int:
    """The .jsonl that training reads -> two-column lists."""
    about = "Part the .jsonl that training reads into two-column lists."
    return _run("jsonl2scp", about, TO_SCP, _to_scp, argv)


def _to_jsonl(given: Mapping[str, Any]) -> tuple[str, Joined]:
    wanted = options(ScpToJsonl, given, "scp2jsonl")
    joined = join_lists(_by_field(wanted.scp_file_list, wanted.data_type_list))
    joined = measured(joined, workers=wanted.workers, urls=wanted.measure_urls)
    write_records(Path(wanted.jsonl_file_out), joined.records)
    return wanted.jsonl_file_out, joined


def _to_scp(given: Mapping[str, Any]) -> tuple[str, Joined]:
    wanted = options(JsonlToScp, given, "jsonl2scp")
    files = _by_field(wanted.scp_file_list, wanted.data_type_list)
    return ", ".join(map(str, files.values())), split_records(Path(wanted.jsonl_file_in), files)


def _by_field(files: Any, fields: Any) -> dict[str, Path]:
    """`["wav.scp", "text.txt"]`, `["source", "target"]` -> {"source": wav.scp, "target": text.txt}."""
    files, fields = _listed(files, "scp_file_list"), _listed(fields, "data_type_list")
    if len(files) != len(fields):
        raise OptionError(
            f"scp_file_list has {len(files)} entries ({', '.join(files)}) and data_type_list {len(fields)} "
            f"({', '.join(fields)}): each file needs the name of what it holds"
        )
    if len(set(fields)) < len(fields):
        raise OptionError(f"data_type_list names a field twice: {', '.join(fields)}")
    return {field: Path(file) for field, file in zip(fields, files, strict=True)}


def _listed(value: Any, name: str) -> list[str]:
    """A list, or as upstream's examples write it, a text that looks like one."""
    if isinstance(value, str):
        value = [part.strip().strip("'\"") for part in value.strip().strip("[]()").split(",")]
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(v, str) and v for v in value):
        raise OptionError(f'{name} is {value!r}: expected a list of names such as \'["a","b"]\'')
    return list(value)


def _run(
    name: str,
    about: str,
    settings: str,
    work: Callable[[Mapping[str, Any]], tuple[str, Joined]],
    argv: Sequence[str] | None,
) -> int:
    use_any_letter()
    try:
        _, given = SettingsParser(name, about, settings).read(argv)
        if not given:
            raise OptionError(f"nothing to do. {settings[settings.index('example:') :].strip()}")
        written, joined = work(parse_overrides(given))
    except FunASRError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    for sentence in joined.left_out[:SHOWN]:
        print(f"{name}: {sentence}", file=sys.stderr)
    if len(joined.left_out) > SHOWN:
        print(f"{name}: ... and {len(joined.left_out) - SHOWN} more", file=sys.stderr)
    print(f"{written}: {len(joined.records)} utterances, {len(joined.left_out)} faults")
    return 1 if joined.left_out else 0
