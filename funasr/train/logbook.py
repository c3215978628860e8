"""What a run tells: the documented log line, TensorBoard scalars, and where the time goes."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from funasr.errors import MissingDependencyError, install_extra
from funasr.train.distributed import Ranks

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

Stats = Mapping[str, Tensor]

LOG_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"
LOG_FILE = "log.txt"
PHASES = ("data_load", "forward_time", "backward_time", "optim_time", "total_time")


class RunningMeans:
    """Weighted means of what has been added. Values that are not finite do not count."""

    def __init__(
        self, sums: Mapping[str, float] | None = None, weights: Mapping[str, float] | None = None
    ) -> None:
        self._sums: dict[str, float] = dict(sums or {})
        self._weights: dict[str, float] = dict(weights or {})
        self._waiting: list[tuple[Stats, float]] = []

    def add(self, stats: Stats, weight: float = 1.0) -> None:
        """Kept as tensors until they are asked for: reading one makes a GPU wait."""
        self._waiting.append((stats, weight))

    def means(self) -> dict[str, float]:
        """Of all that was added and is finite."""
        self._count()
        return {name: self._sums[name] / weight for name, weight in self._weights.items() if weight > 0}

    def state(self) -> dict[str, dict[str, float]]:
        """What a checkpoint keeps; the arguments of a new one."""
        self._count()
        return {"sums": dict(self._sums), "weights": dict(self._weights)}

    def _count(self) -> None:
        for stats, weight in self._waiting:
            for name, tensor in stats.items():
                value, counts = float(tensor), weight
                if not math.isfinite(value):
                    value, counts = 0.0, 0.0
                self._sums[name] = self._sums.get(name, 0.0) + counts * value
                self._weights[name] = self._weights.get(name, 0.0) + counts
        self._waiting = []


class Stopwatch:
    """Where the seconds of a run go: those of the last batch, and sums for shares."""

    def __init__(self) -> None:
        self.last = dict.fromkeys(PHASES, 0.0)
        self._sums = dict.fromkeys(PHASES, 0.0)
        self._then = self._began = time.perf_counter()

    def start(self) -> None:
        """A batch begins, with waiting for its data."""
        self.last = dict.fromkeys(PHASES, 0.0)
        self._then = self._began = time.perf_counter()

    def lap(self, phase: str) -> None:
        """What has been going on since the last call was this."""
        now = time.perf_counter()
        self.last[phase] += now - self._then
        self._then = now

    def stop(self) -> None:
        """The batch is done."""
        self.last["total_time"] = time.perf_counter() - self._began
        for phase, seconds in self.last.items():
            self._sums[phase] += seconds

    @property
    def totals(self) -> Mapping[str, float]:
        """Seconds of all batches so far, by phase."""
        return self._sums

    @property
    def seconds(self) -> float:
        """Of all batches so far."""
        return self._sums["total_time"]

    def share(self, phase: str) -> float:
        """Of the time of all batches so far."""
        return self._sums[phase] / max(self.seconds, 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the run a line belongs. Epochs, slices and steps as the documentation counts them."""

    rank: int
    epoch: int
    max_epoch: int
    data_slice: int
    slices: int
    step_in_slice: int
    steps: int
    step_in_epoch: int
    total_step: int


def line(
    tag: str,
    place: Place,
    means: Mapping[str, float],
    rate: float,
    stats: Mapping[str, float],
    times: Mapping[str, float],
    memory: str,
) -> str:
    """The documented log line. `means` are those of the slice; `stats` and `times` those of the batch."""
    loss = means.get("loss", math.nan)
    try:
        perplexity = math.exp(loss)
    except OverflowError:
        perplexity = math.inf
    shown = [(name, round(value, 3)) for name, value in stats.items()]
    spent = {phase: f"{seconds:.3f}" for phase, seconds in times.items()}
    return (
        f"{tag}, rank: {place.rank}, epoch: {place.epoch}/{place.max_epoch}, "
        f"data_slice: {place.data_slice}/{place.slices}, step_in_slice: {place.step_in_slice}/{place.steps}, "
        f"step_in_epoch: {place.step_in_epoch}, total step: {place.total_step}, "
        f"(loss_avg_rank: {stats.get('loss', math.nan):.3f}), (loss_avg_slice: {loss:.3f}), "
        f"(ppl_avg_slice: {perplexity:.3e}), (acc_avg_slice: {means.get('acc', 0.0):.3f}), (lr: {rate:.3e}), "
        f"{shown}, {spent}{memory}"
    )


def gpu_memory(device: torch.device) -> str:
    """The end of a log line: what the run holds of a GPU. Empty elsewhere."""
    if device.type != "cuda":
        return ""
    unit = 1024**3
    usage, peak = torch.cuda.memory_allocated(device) / unit, torch.cuda.max_memory_allocated(device) / unit
    cache, most = torch.cuda.memory_reserved(device) / unit, torch.cuda.max_memory_reserved(device) / unit
    return (
        f", GPU, memory: usage: {usage:.3f} GB, peak: {peak:.3f} GB, "
        f"cache: {cache:.3f} GB, cache_peak: {most:.3f} GB"
    )


def memory_in_use(device: torch.device) -> float:
    """Peak in bytes: of the GPU where there is one, else of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(peak if sys.platform == "darwin" else peak * 1024)
    return 0.0


class Board:
    """Scalars for TensorBoard under `output/tensorboard`, by their documented names."""

    def __init__(self, output: Path, rank: int) -> None:
        self._writer = _writer(output / "tensorboard")
        self._rank = rank

    def add(self, tag: str, step: int, loss: float, rate: float, values: Mapping[str, float]) -> None:
        """`values` are the statistics and times of a batch, or of a validation."""
        self._writer.add_scalar(f"rank{self._rank}_loss/{tag}", loss, step)
        self._writer.add_scalar(f"rank{self._rank}_lr/{tag}", rate, step)
        for name, value in values.items():
            self._writer.add_scalar(f"stats_rank{self._rank}_{name}/{tag}", value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def _writer(folder: Path) -> SummaryWriter:
    with contextlib.suppress(ImportError):
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder))
    raise MissingDependencyError("tensorboard", "train_conf.use_tensorboard", install_extra("train"))


@contextmanager
def written_to(output: Path, rank: int) -> Iterator[None]:
    """What the package logs also goes to `log.txt`, of other ranks to `log.rank1.txt`, until the block ends.

    A shell that sends the output of the command to that very file already has it there. Whatever level the
    host set for its own handlers: they see what they saw before.
    """
    path = output / (f"log.rank{rank}.txt" if rank else LOG_FILE)
    output.mkdir(parents=True, exist_ok=True)
    if _is_a_stream(path):
        yield
        return
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter(LOG_FORMAT))
    package = logging.getLogger("funasr")
    package.addHandler(handler)
    level, wanted = package.level, package.getEffectiveLevel()
    host = _Host(package.parent, wanted)
    if wanted > logging.INFO and package.propagate:
        package.setLevel(logging.INFO)
        package.propagate = False
        package.addHandler(host)
    try:
        yield
    finally:
        if host in package.handlers:
            package.removeHandler(host)
            package.propagate = True
            package.setLevel(level)
        package.removeHandler(handler)
        handler.close()


class _Host(logging.Handler):
    """Hands on to the loggers above what they want of it."""

    def __init__(self, above: logging.Logger | None, level: int) -> None:
        super().__init__(level)
        self._above = above

    def emit(self, record: logging.LogRecord) -> None:
        if self._above is not None:
            self._above.callHandlers(record)


def _is_a_stream(path: Path) -> bool:
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            if path.exists() and os.path.samestat(os.fstat(stream), path.stat()):
                return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a batch was, for the throughput."""

    examples: int
    rows: int
    """Feature rows without padding."""
    targets: int
    norm: float | None
    """Of the gradient, where the batch ended an update."""


class Logbook:
    """Collects what the batches of a process say, and tells it every so often."""

    def __init__(
        self, board: Board | None, ranks: Ranks, device: torch.device, row_seconds: float = 0.0
    ) -> None:
        """`row_seconds` of sound are in a feature row; 0 where rows are not sound."""
        self.watch = Stopwatch()
        self.means = RunningMeans()
        """Of the current slice."""
        self._board, self._ranks, self._device, self._row_seconds = board, ranks, device, row_seconds

    def batch(self, place: Place, rate: float, stats: Stats, work: Work) -> None:
        """A line about a batch that is done."""
        watch = self.watch
        seconds = max(watch.last["total_time"], 1e-9)
        more = {
            "tokens_per_second": work.targets / seconds,
            "memory_gb": memory_in_use(self._device) / 1024**3,
            "data_load_share": watch.share("data_load"),
        }
        if self._row_seconds:
            more["audio_seconds_per_second"] = work.rows * self._row_seconds / seconds
        if work.norm is not None:
            more["grad_norm"] = work.norm
        values = {name: float(value) for name, value in stats.items()} | {"batch_size": work.examples}
        self._tell("train", place, self.means.means(), rate, values, watch.last, more)

    def validation(
        self, place: Place, rate: float, values: Mapping[str, float], times: Mapping[str, float]
    ) -> None:
        """A line about a validation; `values` are its means."""
        self._tell("val", place, values, rate, values, times, {})

    def end(self) -> None:
        """Where the time went. Nothing may be told afterwards."""
        if self._ranks.first and self.watch.seconds:
            share = 100 * self.watch.share("data_load")
            logger.info("%.0f s of training, %.1f %% of them waiting for data", self.watch.seconds, share)
        if self._board is not None:
            self._board.close()

    def _tell(
        self,
        tag: str,
        place: Place,
        means: Mapping[str, float],
        rate: float,
        values: Mapping[str, float],
        times: Mapping[str, float],
        more: Mapping[str, float],
    ) -> None:
        logger.info("%s", line(tag, place, means, rate, values, times, gpu_memory(self._device)))
        if self._board is not None:
            self._board.add(
                tag, place.total_step, values.get("loss", math.nan), rate, {**values, **times, **more}
            )
