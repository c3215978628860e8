"""Results -> `<output_dir>/1best_recog/{text,token,timestamp}`, lines of `key value` as Kaldi tools read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from funasr.errors import OptionError
from funasr.result import Transcript


class OutputDir:
    """Files are begun anew by the first result and flushed after each, so that a crash loses nothing done."""

    def __init__(self, path: str | Path) -> None:
        self._folder = Path(path) / "1best_recog"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot write to output_dir {str(path)!r}: {error}") from error
        self._files: dict[str, TextIO] = {}

    def write_transcript(self, transcript: Transcript) -> None:
        self._line("text", transcript.key, transcript.text)
        self._line("token", transcript.key, " ".join(token.text for token in transcript.tokens))
        if transcript.timed:
            self._line("timestamp", transcript.key, str(transcript.to_dict()["timestamp"]))

    def write_text(self, key: str, text: str) -> None:
        self._line("text", key, text)

    def write_segments(self, record: Mapping[str, Any]) -> None:
        self._line("text", str(record["key"]), str(record["value"]))

    def _line(self, name: str, key: str, value: str) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = (self._folder / name).open("w", encoding="utf-8")
        file.write(f"{key} {value}\n")
        file.flush()

    def __enter__(self) -> OutputDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
