"""Where results go: stdout, or one file an input in a directory."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from funasr.bin.formats import SUFFIXES, CueStyle, render
from funasr.errors import OptionError
from funasr.result import Transcript

LONGEST_NAME = 120


class Output:
    """Writes each result as soon as it comes. Files are made under names that can leave no directory."""

    def __init__(
        self,
        form: str,
        *,
        timestamps: bool,
        directory: Path | None,
        many: bool,
        style: CueStyle | None = None,
    ) -> None:
        """Raises OptionError when the directory cannot be made."""
        self._form = form
        self._timestamps = timestamps
        self._directory = directory
        self._many = many
        self._style = style
        self._names: set[str] = set()
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OptionError(
                    f"cannot make the directory {str(directory)!r}: {error.strerror}"
                ) from error

    def write(self, transcript: Transcript, name: str, about: dict[str, object]) -> None:
        """`name` is what the user called the input; `about` are further keys for JSON.

        Raises OptionError when a file cannot be written.
        """
        text = render(transcript, self._form, self._timestamps, about, self._style)
        if self._directory is not None:
            path = (
                self._directory / f"{self._file_name(transcript.key)}.{SUFFIXES.get(self._form, self._form)}"
            )
            try:
                path.write_text(text + "\n", encoding="utf-8")
            except OSError as error:
                raise OptionError(f"cannot write {str(path)!r}: {error.strerror}") from error
        elif self._many and self._form == "text":
            lines = text.splitlines()
            print("\n".join([f"{name}:", *lines]) if len(lines) > 1 else f"{name}: {text}", flush=True)
        else:
            print(text, flush=True)

    def _file_name(self, key: str) -> str:
        """The key without what a path is made of; numbered where two inputs would share a file."""
        clean = re.sub(r'[\\/:*?"<>|\x00-\x1f]+', "_", key).strip(" .")[:LONGEST_NAME] or "utt"
        name, number = clean, 1
        while name.casefold() in self._names:
            number += 1
            name = f"{clean}_{number}"
        self._names.add(name.casefold())
        return name


def use_any_letter() -> None:
    """Let stdout and stderr write what their encoding lacks as an escape instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
