"""A progress bar with the time left, drawn on a terminal's stderr and nowhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from funasr.pipeline.offline import Progress


@contextmanager
def progress_bar(*, enabled: bool = True) -> Iterator[Callable[[Progress], None] | None]:
    """A callback that draws; None where nobody would see it."""
    if not (enabled and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  {task.fields[files]}  {task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0, files="", speed="")
        began = time.perf_counter()

        def show(progress: Progress) -> None:
            seconds = max(time.perf_counter() - began, 1e-3)
            bar.update(
                task,
                completed=progress.fraction,
                files=f"{progress.files_done}/{progress.files_total} files",
                speed=f"{progress.seconds_done / seconds:.0f}x real time",
            )

        yield show
