"""Events of a live stream -> lines on stdout: captions that grow and settle, plain lines, or JSON."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Protocol

from funasr.bin.formats import label_of
from funasr.pipeline.events import Final, LiveEvent, Partial
from funasr.text.rich import rich_transcription_postprocess

DRAFT = "dim"
DRAFT_LINES = 3
"""A draft that has grown longer shows its end."""


class Display(Protocol):
    def show(self, event: LiveEvent) -> None: ...

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_display(form: str) -> Display:
    """`json`: every event. `text`: captions in a terminal, elsewhere a line an utterance."""
    if form == "json":
        return JsonLines()
    return Captions() if sys.stdout.isatty() else Lines()


class Lines:
    """A line for each utterance that has words."""

    def show(self, event: LiveEvent) -> None:
        if isinstance(event, Final) and event.words:
            print(written(event), flush=True)

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class JsonLines(Lines):
    """A JSON object for each event."""

    def show(self, event: LiveEvent) -> None:
        print(json.dumps(event.to_dict(), ensure_ascii=False), flush=True)


class Captions(Lines):
    """What is being said in grey below what has been said."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def show(self, event: LiveEvent) -> None:
        from rich.text import Text

        if isinstance(event, Partial):
            self._live.update(Text(self._end_of(event.text), style=DRAFT), refresh=True)
        elif isinstance(event, Final):
            self._live.update(Text(""), refresh=True)
            if event.words:
                self._console.print(Text(written(event)))

    def _end_of(self, text: str) -> str:
        """As much of the end of a draft as there is room for."""
        from rich.cells import cell_len

        room = (self._console.width - 1) * DRAFT_LINES - 1
        if cell_len(text) <= room:
            return text
        end = text[-room:]
        while cell_len(end) > room:
            end = end[1:]
        return "…" + end

    def __enter__(self) -> Captions:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)


def written(event: Final) -> str:
    """The text of an utterance, with who says it; tags of the model are for programs, which have the JSON."""
    text = rich_transcription_postprocess(event.text) if "<|" in event.text else event.text
    return label_of(event.speaker, None) + text
