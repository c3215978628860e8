"""The training loop: batches -> loss -> updates, with validation, checkpoints and exact resume.

`Trainer.run` reads from top to bottom: epochs, their batches, the step, and what happens every so often.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from funasr.errors import MissingDependencyError, OptionError
from funasr.train.checkpoint import (
    BEST,
    LATEST,
    Progress,
    average,
    drop_worst,
    link,
    load_checkpoint,
    ranked,
    save_atomically,
)
from funasr.train.data import Batch, EpochBatches, ExampleSource
from funasr.train.sampler import SamplerConfig, plan_epoch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)

Stats = Mapping[str, Tensor]


class Criterion(Protocol):
    """What is minimised. It may be an nn.Module with parameters of its own (heads only training needs)."""

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Stats]:
        """The loss, and detached scalars for the log; `acc` and `loss` among them rank checkpoints."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """`train_conf`, official names and defaults."""

    max_epoch: int = 100
    log_interval: int = 50
    """Batches between two lines in the log."""
    validate_interval: int = 5000
    """Batches of an epoch between two validations; there is always one at its end."""
    save_checkpoint_interval: int = 5000
    keep_nbest_models: int = 10
    avg_keep_nbest_models_type: str = "acc"
    avg_nbest_model: int = 10
    accum_grad: int = 1
    grad_clip: float = 10.0
    resume: bool = True
    use_bf16: bool = False
    use_tensorboard: bool = False
    seed: int = 0
    num_workers: int = 0
    """Processes that prepare batches; 0 prepares them in this one. The data is the same."""
    max_seconds: float | None = None
    """Stop after the update that passes this, as if max_epoch were reached. Such a run is not repeatable."""

    def __post_init__(self) -> None:
        if self.avg_keep_nbest_models_type not in ("acc", "loss"):
            raise OptionError(
                f"train_conf.avg_keep_nbest_models_type={self.avg_keep_nbest_models_type!r}: "
                "expected 'acc' or 'loss'"
            )
        for name in ("max_epoch", "log_interval", "accum_grad", "keep_nbest_models", "avg_nbest_model"):
            if getattr(self, name) < 1:
                raise OptionError(f"train_conf.{name}={getattr(self, name)!r}: expected 1 or more")


class Trainer:
    """One run. Everything it changes: the model, the criterion, the optimiser and files under `output`."""

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        optimizer: Optimizer,
        scheduler: LambdaLR,
        config: TrainConfig,
        sampler: SamplerConfig,
        output: Path,
        *,
        device: torch.device | str = "cpu",
        on_validated: Callable[[Progress], None] | None = None,
    ) -> None:
        self.model, self.criterion = model, criterion
        self.optimizer, self.scheduler = optimizer, scheduler
        self.config, self.sampler, self.output = config, sampler, output
        self.device = torch.device(device)
        self.progress = Progress()
        self._on_validated = on_validated
        self._running = RunningMeans()
        self._board = _board(output) if config.use_tensorboard else None

    def run(self, train: ExampleSource, valid: ExampleSource) -> Progress:
        """Train until max_epoch; afterwards `model.pt.avgN` holds the mean of the best checkpoints."""
        seed_everything(self.config.seed)
        if self.config.resume and (self.output / LATEST).is_file():
            self.load(self.output / LATEST)
        started = time.monotonic()
        while self.progress.epoch < self.config.max_epoch:
            for batch in self._batches(train):
                self.step(batch)
                if self.progress.batch_total % self.config.log_interval == 0:
                    self._log("train", self._running.take(), time.monotonic() - started)
                self._every_so_often(valid)
                if self._out_of_time(started):
                    break
            if self.progress.step_in_epoch % self.config.accum_grad:
                self._update()  # what the last, short group of batches has gathered
            self.progress.epoch += 1
            self.progress.step_in_epoch = 0
            self.validate(valid)
            self.save()
            if self._out_of_time(started):
                break
        self.average()
        return self.progress

    def step(self, batch: Batch) -> Stats:
        """Forward, backward and, on every `accum_grad`-th batch, an update."""
        self.model.train()
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.use_bf16):
            loss, stats = self.criterion(self.model, batch)
        (loss / self.config.accum_grad).backward()  # type: ignore[no-untyped-call]
        self.progress.batch_total += 1
        self.progress.step_in_epoch += 1
        if self.progress.step_in_epoch % self.config.accum_grad == 0:
            self._update()
        self._running.add(stats)
        return stats

    def _update(self) -> None:
        """Clip, step, zero. Gradients that are not finite are thrown away with a warning."""
        norm = nn.utils.clip_grad_norm_(self._parameters(), self.config.grad_clip)
        if math.isfinite(float(norm)):
            self.optimizer.step()
            self.scheduler.step()
            self.progress.updates += 1
        else:
            logger.warning("batch %d: the gradient is not finite; no update", self.progress.batch_total)
        self.optimizer.zero_grad(set_to_none=True)

    def _parameters(self) -> Iterator[nn.Parameter]:
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def _batches(self, source: ExampleSource) -> Iterator[Batch]:
        """What is left of the current epoch."""
        epoch = self.progress.epoch
        plan = plan_epoch(source.lengths(epoch), self.sampler, epoch=epoch, seed=self.config.seed)
        rest = EpochBatches(source, epoch, plan[self.progress.step_in_epoch :])
        workers = self.config.num_workers
        # batch_size=None: an item of the dataset is a batch already. The generator is the loader's own, so
        # that the main one is drawn from by training alone and a resumed run repeats it.
        yield from DataLoader(
            rest,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=8 if workers else None,
            generator=torch.Generator().manual_seed(self.config.seed),
        )

    def _every_so_often(self, valid: ExampleSource) -> None:
        step = self.progress.step_in_epoch
        if step % self.config.accum_grad:
            return  # a checkpoint holds no half-gathered gradient
        if step % self.config.validate_interval == 0:
            self.validate(valid)
        if step % self.config.save_checkpoint_interval == 0:
            self.save()

    @torch.no_grad()
    def validate(self, source: ExampleSource) -> dict[str, float]:
        """Means over the whole validation set; `acc` and `loss` are noted under the checkpoint's name."""
        self.model.eval()
        fixed = dataclasses.replace(self.sampler, shuffle=False)
        plan = plan_epoch(source.lengths(0), fixed, epoch=0)
        means = RunningMeans()
        for batch in DataLoader(
            EpochBatches(source, 0, plan), batch_size=None, generator=torch.Generator().manual_seed(0)
        ):
            _, stats = self.criterion(self.model, batch.to(self.device))
            means.add(stats, weight=len(batch.keys))
        values = means.take()
        name = self.progress.name()
        for kind, table in (("acc", self.progress.val_acc), ("loss", self.progress.val_loss)):
            if kind in values:
                table[name] = values[kind]
        self._log("val", values)
        if self._on_validated is not None:
            self._on_validated(self.progress)
        return values

    def save(self) -> None:
        """This point under its own name and as `model.pt`; as `model.pt.best` if it is; the worst deleted."""
        name, kind = self.progress.name(), self.config.avg_keep_nbest_models_type
        state = {
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "progress": dataclasses.asdict(self.progress),
            "running": self._running.state(),
            "random": torch.get_rng_state(),
        }
        if isinstance(self.criterion, nn.Module):
            state["criterion"] = self.criterion.state_dict()
        save_atomically(state, self.output / name)
        link(self.output / name, self.output / LATEST)
        order = ranked(self.progress, kind)
        if order and order[0] == name:
            link(self.output / name, self.output / BEST)
        drop_worst(self.output, self.progress, kind, self.config.keep_nbest_models)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint as if the run had never stopped."""
        state = load_checkpoint(path)
        self.model.load_state_dict(state["state_dict"])
        if isinstance(self.criterion, nn.Module):
            self.criterion.load_state_dict(state["criterion"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.progress = Progress(**state["progress"])
        self._running = RunningMeans(**state["running"])
        torch.set_rng_state(state["random"])
        logger.info("resuming from %s after %d batches", path, self.progress.batch_total)

    def average(self) -> Path | None:
        """`model.pt.avgN`: the mean of the N best checkpoints that are still there."""
        order = ranked(self.progress, self.config.avg_keep_nbest_models_type)
        best = [self.output / name for name in order if (self.output / name).is_file()]
        best = best[: self.config.avg_nbest_model]
        if not best:
            return None
        path = self.output / f"{LATEST}.avg{self.config.avg_nbest_model}"
        save_atomically({"state_dict": average(best)}, path)
        logger.info("%s is the mean of %s", path, ", ".join(one.name for one in best))
        return path

    def _out_of_time(self, started: float) -> bool:
        limit = self.config.max_seconds
        return limit is not None and time.monotonic() - started > limit

    def _log(self, tag: str, values: Mapping[str, float], seconds: float = 0.0) -> None:
        progress, rate = self.progress, self.scheduler.get_last_lr()[0]
        shown = ", ".join(f"({name}: {value:.3f})" for name, value in values.items())
        where = f"epoch: {progress.epoch}/{self.config.max_epoch}, step_in_epoch: {progress.step_in_epoch}"
        logger.info(
            "%s, %s, total step: %d, %s, (lr: %.3e), %.0f s",
            tag,
            where,
            progress.batch_total,
            shown,
            rate,
            seconds,
        )
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"stats_rank0_{name}/{tag}", value, progress.batch_total)
            self._board.add_scalar(f"rank0_lr/{tag}", rate, progress.batch_total)


class RunningMeans:
    """Weighted means of what has been added since the last `take`."""

    def __init__(self, sums: Mapping[str, float] | None = None, weight: float = 0.0) -> None:
        self._sums: dict[str, float] = dict(sums or {})
        self._weight = weight
        self._waiting: list[tuple[Stats, float]] = []

    def add(self, stats: Stats, weight: float = 1.0) -> None:
        """Kept as tensors until they are asked for: reading one makes a GPU wait."""
        self._waiting.append((stats, weight))

    def take(self) -> dict[str, float]:
        """The means, and start anew."""
        state = self.state()
        self._sums, self._weight = {}, 0.0
        return {name: value / state["weight"] for name, value in state["sums"].items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        for stats, weight in self._waiting:
            for name, value in stats.items():
                self._sums[name] = self._sums.get(name, 0.0) + weight * float(value)
            self._weight += weight
        self._waiting = []
        return {"sums": dict(self._sums), "weight": self._weight}


def seed_everything(seed: int) -> None:
    """Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _board(output: Path) -> SummaryWriter:
    with contextlib.suppress(ImportError):
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(output / "tensorboard"))
    raise MissingDependencyError("tensorboard", "train_conf.use_tensorboard", "pip install 'funasr[train]'")
