"""Results -> `<output_dir>/1best_recog/{text,token,timestamp}`, lines of `key value` as Kaldi tools read.

Alignments go to `<output_dir>/tp_res/{timestamp_list,timestamp_str}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from funasr.errors import OptionError
from funasr.result import Transcript


@contextmanager
def nothing_left(folder: str | Path | None) -> Iterator[None]:
    """Where what is done within fails, a folder that was not there before is not there afterwards, nor are
    those above it: unless something has been written into it."""
    parts = [] if folder is None else [Path(folder), *Path(folder).parents]
    new = [part for part in parts if not part.exists()]
    try:
        yield
    except BaseException:
        for part in new:
            with suppress(OSError):  # it holds something, or was never made
                part.rmdir()
        raise


class OutputDir:
    """Files are begun anew by the first result and flushed after each, so that a crash loses nothing done."""

    def __init__(self, path: str | Path, folder: str = "1best_recog") -> None:
        self._folder = Path(path) / folder
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

    def write_alignment(self, transcript: Transcript) -> None:
        self._line("timestamp_list", transcript.key, str(transcript.to_dict()["timestamp"]))
        self._line("timestamp_str", transcript.key, _with_silences(transcript))

    def write_text(self, key: str, text: str) -> None:
        self._line("text", key, text)

    def write_segments(self, record: Mapping[str, Any]) -> None:
        self._line("text", str(record["key"]), str(record["value"]))

    def _line(self, name: str, key: str, value: str) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = (self._folder / name).open("w", encoding="utf-8")
        # A key is one word and a value one line, whatever a user called his file.
        file.write(f"{'_'.join(key.split()) or 'utt'} {' '.join(value.splitlines())}\n")
        file.flush()

    def __enter__(self) -> OutputDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()


def _with_silences(transcript: Transcript) -> str:
    """`<sil> 0.000 0.810;一 0.810 1.050;...`, in seconds."""
    spans: list[tuple[str, int, int]] = []
    heard_ms = 0
    for token in transcript.tokens:
        start, end = token.start_ms or 0, token.end_ms or 0
        if start > heard_ms:
            spans.append(("<sil>", heard_ms, start))
        spans.append((token.text, start, end))
        heard_ms = end
    if transcript.duration_ms > heard_ms:
        spans.append(("<sil>", heard_ms, transcript.duration_ms))
    return "".join(f"{text} {start / 1000:.3f} {end / 1000:.3f};" for text, start, end in spans)
