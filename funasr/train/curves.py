"""The log of a run -> loss, accuracy and learning rate by step -> a picture. Torch-free.

Reads the documented log line, so logs of upstream's trainer too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from funasr.errors import MissingDependencyError, install_extra

_LINE = re.compile(r"\b(train|val), rank: 0, .*?total step: (\d+), (.*)")
_NUMBER = r"(-?[\d.]+(?:e[-+]?\d+)?|nan|inf)"
_MEANS = re.compile(rf"\((\w+): {_NUMBER}\)")
_STATS = re.compile(rf"\('(\w+)', {_NUMBER}\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one line of the log tells. None where it does not."""

    step: int
    """Batches since the beginning of the run."""
    loss: float | None = None
    acc: float | None = None
    lr: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Points in the order of their steps."""

    train: tuple[Point, ...] = ()
    """Of single batches."""
    val: tuple[Point, ...] = ()
    """Of the whole validation set."""


def read_curves(path: Path) -> Curves:
    """The curves of a log file; empty ones where there is none."""
    if not path.is_file():
        return Curves()
    with open(path, encoding="utf-8", errors="replace") as file:
        return parse_log(file)


def parse_log(lines: Iterable[str]) -> Curves:
    """Lines that are no log lines of the first process are passed over.

    A run that was killed and went on repeats some steps: what it said last counts.
    """
    found: dict[str, dict[int, Point]] = {"train": {}, "val": {}}
    for text in lines:
        match = _LINE.search(text)
        if match is None:
            continue
        tag, step, rest = match[1], int(match[2]), match[3]
        means, stats = dict(_MEANS.findall(rest)), dict(_STATS.findall(rest))
        # Of a batch its own figures; of a validation the means over all of its batches.
        wanted = [("loss_avg_slice", means), ("loss_avg_epoch", means), ("loss", means), ("loss", stats)]
        accuracy = [("acc_avg_slice", means), ("acc_avg_epoch", means), ("acc", means), ("acc", stats)]
        if tag == "train":
            wanted, accuracy = wanted[::-1], accuracy[::-1]
        found[tag][step] = Point(
            step=step, loss=_first(wanted), acc=_first(accuracy), lr=_first([("lr", means)])
        )
    return Curves(**{tag: tuple(points[step] for step in sorted(points)) for tag, points in found.items()})


def _first(places: Iterable[tuple[str, dict[str, str]]]) -> float | None:
    """The first figure that is there and finite."""
    for name, figures in places:
        if name in figures and math.isfinite(float(figures[name])):
            return float(figures[name])
    return None


def draw(curves: Curves, path: Path) -> bool:
    """Write loss, accuracy and learning rate as a PNG; False, and no file, where there is nothing to draw.

    Raises MissingDependencyError without matplotlib.
    """
    if not curves.train and not curves.val:
        return False
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "learning curves", install_extra("train")) from error
    figure = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever matplotlib is set to
    panels = figure.subplots(3, 1, sharex=True)
    for panel, name, title in zip(
        panels, ("loss", "acc", "lr"), ("loss", "accuracy", "learning rate"), strict=True
    ):
        for tag, style in (("train", {"lw": 0.8, "alpha": 0.7}), ("val", {"marker": "o", "ms": 3})):
            points = [(p.step, getattr(p, name)) for p in getattr(curves, tag)]
            points = [(step, value) for step, value in points if value is not None]
            if points and not (name == "lr" and tag == "val"):
                panel.plot(*zip(*points, strict=True), label=tag, **style)
        panel.set_ylabel(title)
        panel.grid(alpha=0.3)
        if panel.get_legend_handles_labels()[0]:
            panel.legend()
    panels[-1].set_xlabel("batches")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return True
