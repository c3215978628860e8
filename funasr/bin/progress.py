"""How far a training is: a line that is drawn anew on a terminal, and nowhere else."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from funasr.train.checkpoint import Progress

Show = Callable[["Progress", int], None]


@contextmanager
def progress_of_training(*, enabled: bool = True) -> Iterator[Show | None]:
    """A callback for `Trainer(on_step=...)`; None where nobody would see it. The log scrolls above."""
    if not (enabled and sys.stdout.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("batches  {task.fields[speed]}{task.fields[best]}"),
        TextColumn("left in the epoch"),
        TimeRemainingColumn(),
    )
    console = Console()
    with Bar(*columns, console=console, transient=True) as bar, _log_above(console):
        task = bar.add_task("", total=None, epoch="1", speed="", best="")
        began, first = time.perf_counter(), None

        def show(progress: Progress, steps: int) -> None:
            nonlocal first
            first = progress.batch_total - 1 if first is None else first
            speed = (progress.batch_total - first) / max(time.perf_counter() - began, 1e-3)
            best = max(progress.val_acc.values(), default=None)
            bar.update(
                task,
                completed=progress.step,
                total=steps,
                epoch=str(progress.epoch + 1),
                speed=f"{speed:.1f} a second",
                best="" if best is None else f"  best accuracy {best:.3f}",
            )

        yield show


class _Above:
    """A stream that writes above what a console draws. Lines stay whole, however wide: only the terminal
    breaks them, so that what is copied or recorded from it has one record a line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(text), end="", soft_wrap=True)

    def flush(self) -> None:
        """Nothing is held back."""


@contextmanager
def _log_above(console: Console) -> Iterator[None]:
    """Handlers that hold the terminal write above what is drawn on it."""
    above: Any = _Above(console)
    moved = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.__stdout__, sys.__stderr__)
    ]
    before = [handler.setStream(above) for handler in moved]
    try:
        yield
    finally:
        for handler, stream in zip(moved, before, strict=True):
            if stream is not None:
                handler.setStream(stream)
