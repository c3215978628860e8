"""The training loop: batches -> loss -> updates, with validation, checkpoints and exact resume.

`Trainer.run` reads from top to bottom: epochs, their slices and batches, the step, and what happens every so
often. One process or many: each has batches of its own, and they agree on everything else.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from funasr.errors import CheckpointMismatchError, ModelFilesError
from funasr.train.checkpoint import (
    BEST,
    LATEST,
    Progress,
    average,
    drop_worst,
    link,
    load_checkpoint,
    newest_checkpoint,
    ranked,
    remove_drafts,
    save_atomically,
)
from funasr.train.config import TrainConfig as TrainConfig
from funasr.train.data import Batch, EpochBatches, ExampleSource, Slices
from funasr.train.distributed import Ranks, Team, optimizer_shares_of, shares_of, whole
from funasr.train.logbook import Board, Logbook, Place, RunningMeans, Stopwatch, Work, written_to
from funasr.train.logbook import Stats as Stats
from funasr.train.randomness import random_state, restore_random_state
from funasr.train.randomness import seed_everything as seed_everything
from funasr.train.sampler import SamplerConfig, plan_epoch
from funasr.train.update import Updater

logger = logging.getLogger(__name__)


class Criterion(Protocol):
    """What is minimised. It may be an nn.Module with parameters of its own (heads only training needs)."""

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Stats]:
        """The loss, and detached scalars for the log.

        `acc` and `loss` among them rank checkpoints; `tokens`, the number of targets the loss is a mean over,
        is what it weighs beside those of other batches (without it, the number of examples).
        """
        ...


class Learner(nn.Module):
    """A model and what it minimises as one module, whose call is one batch: the unit that is spread out."""

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__()
        self.model = model
        self.criterion = criterion

    def forward(self, batch: Batch) -> tuple[Tensor, Stats]:
        return self.criterion(self.model, batch)


class Trainer:
    """One run. Everything it changes: the model, the criterion, the optimiser and files under `output`."""

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        config: TrainConfig,
        sampler: SamplerConfig,
        output: Path,
        *,
        device: torch.device | str = "cpu",
        row_seconds: float = 0.0,
        on_validated: Callable[[Progress], None] | None = None,
        on_step: Callable[[Progress, int], None] | None = None,
    ) -> None:
        """`row_seconds` of sound are in a feature row, for the throughput in the log. `on_validated` may
        change the figures that rank checkpoints; `on_step` is told the batches in the slice, for displays."""
        self.model, self.criterion = model, criterion
        self.config, self.sampler, self.output = config, sampler, output
        self.device = torch.device(device)
        self.progress = Progress()
        self.ranks = Ranks.current()
        self._learner = Learner(model, criterion)
        self._team = Team(
            self._learner,
            optimizer,
            self.ranks,
            shard=config.use_fsdp,
            find_unused_parameters=config.find_unused_parameters,
        )
        self.updater = Updater(optimizer, scheduler, config, self.ranks, self.device)
        self._on_validated, self._on_step = on_validated, on_step
        self._slices, self._steps = 1, 0
        self._ahead: tuple[int, Iterator[Batch]] | None = None
        board = Board(output, self.ranks.rank) if config.use_tensorboard else None
        self.logbook = Logbook(board, self.ranks, self.device, row_seconds)

    def run(self, train: ExampleSource | Slices, valid: ExampleSource) -> Progress:
        """Train until max_epoch; afterwards `model.pt.avgN` holds the mean of the best checkpoints."""
        with written_to(self.output, self.ranks.rank):
            self._begin()
            slices = train if isinstance(train, Slices) else Slices(count=1, load=lambda epoch, number: train)
            self._slices = slices.count
            started = time.monotonic()
            while self.progress.epoch < self.config.max_epoch and not self._out_of_patience():
                self._epoch(slices, valid, started)
                self.progress.epoch += 1
                self.progress.data_split_i = self.progress.step = self.progress.step_in_epoch = 0
                self.validate(valid)
                self.save()
                if self._out_of_time(started):
                    break
            self._ahead = None
            self.logbook.end()
            self.average()
        return self.progress

    def _begin(self) -> None:
        seed_everything(self.config.seed + self.ranks.rank)
        if self.ranks.first:
            remove_drafts(self.output)
        self.ranks.barrier()
        found = newest_checkpoint(self.output) if self.config.resume else None
        here = f"{found[0].name} after {found[1].get('batch_total')} batches" if found else "no checkpoint"
        there = self.ranks.gather(here)
        if any(one != there[0] for one in there):
            raise ModelFilesError(
                f"{self.output} holds {there[0]} for process 0 and {here} for process {self.ranks.rank}: "
                "all processes must see the same output_dir to go on from a checkpoint"
            )
        if found:
            self._restore(*found)

    def _epoch(self, slices: Slices, valid: ExampleSource, started: float) -> None:
        """What is left of the current epoch."""
        for number in range(self.progress.data_split_i, slices.count):
            self.progress.data_split_i = number
            source = slices.load(self.progress.epoch, number)
            for batch in self._batches(source):
                self.step(batch)
                if self._on_step is not None:
                    self._on_step(self.progress, self._steps)
                self._every_so_often(valid)
                if self._out_of_time(started):
                    return
            self.logbook.means = RunningMeans()
            self.progress.step = 0
            if slices.count == 1:
                self._look_ahead(source)

    def step(self, batch: Batch) -> Stats:
        """Forward, backward and, with the last batch of a group, an update."""
        if not self._learner.training:
            self._learner.train()
        watch, config, progress = self.logbook.watch, self.config, self.progress
        rows, targets = int(batch.lengths.sum()), int(batch.target_lengths.sum())
        batch = batch.to(self.device)
        watch.lap("data_load")
        done = progress.step + 1
        last = done % config.accum_grad == 0 or done == self._steps
        with self._team.gathering(last=last):
            with self._autocast():
                loss, stats = self._learn(batch)
            watch.lap("forward_time")
            self.updater.backward(loss, stats.get("tokens", float(len(batch.keys))), self._group())
        watch.lap("backward_time")
        progress.batch_total += 1
        progress.step += 1
        progress.step_in_epoch += 1
        norm = self._update() if last else None
        watch.lap("optim_time")
        self.logbook.means.add(stats)
        watch.stop()
        if progress.batch_total % config.log_interval == 0:
            work = Work(examples=len(batch.keys), rows=rows, targets=targets, norm=norm)
            self.logbook.batch(self._place(progress.step, self._steps), self.updater.rate, stats, work)
        watch.start()
        return stats

    def _learn(self, batch: Batch) -> tuple[Tensor, Stats]:
        loss, stats = self._team(batch)
        return loss, stats

    def _update(self) -> float | None:
        norm = self.updater.step(self.progress.batch_total)
        self.progress.updates += norm is not None
        return norm

    def _group(self) -> int:
        """Batches in the group that the next one belongs to: the last group of a slice may be short."""
        begun = self.progress.step - self.progress.step % self.config.accum_grad
        return max(1, min(self.config.accum_grad, self._steps - begun)) if self._steps else 1

    def _autocast(self) -> torch.autocast:
        dtype = torch.float16 if self.config.use_fp16 else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.config.use_fp16 or self.config.use_bf16)

    def _batches(self, source: ExampleSource) -> Iterator[Batch]:
        """What is left of the current slice."""
        epoch, ahead = self.progress.epoch, self._ahead
        plan = self._plan(source, epoch)
        self._steps, self._ahead = len(plan), None
        self.logbook.watch.start()
        if ahead is not None and ahead[0] == epoch and self.progress.step == 0:
            yield from ahead[1]
        else:
            yield from self._loader(source, epoch, plan[self.progress.step :])

    def _look_ahead(self, source: ExampleSource) -> None:
        """Workers prepare the first batches of the next epoch while this one's end is validated and saved."""
        epoch = self.progress.epoch + 1
        if self.config.num_workers and epoch < self.config.max_epoch:
            self._ahead = (epoch, iter(self._loader(source, epoch, self._plan(source, epoch))))

    def _plan(self, source: ExampleSource, epoch: int) -> list[list[int]]:
        return plan_epoch(
            source.lengths(epoch),
            self.sampler,
            epoch=epoch,
            seed=self.config.seed,
            rank=self.ranks.rank,
            world=self.ranks.world,
        )

    def _loader(self, source: ExampleSource, epoch: int, plan: Sequence[Sequence[int]]) -> DataLoader[Batch]:
        workers = self.config.num_workers
        # batch_size=None: an item of the dataset is a batch already. The generator is the loader's own, so
        # that the main one is drawn from by training alone and a resumed run repeats it.
        return DataLoader(
            EpochBatches(source, epoch, plan),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=self.config.prefetch_factor if workers else None,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator().manual_seed(self.config.seed),
        )

    def _every_so_often(self, valid: ExampleSource) -> None:
        """A group of batches may pass the interval: a checkpoint holds no half-gathered gradient."""
        if self.progress.step % self.config.accum_grad and self.progress.step != self._steps:
            return
        step = self.progress.step_in_epoch
        before = step - ((self.progress.step - 1) % self.config.accum_grad + 1)
        if _passes(before, step, self.config.validates_every):
            self.validate(valid)
        if _passes(before, step, self.config.saves_every):
            self.save()
        self.logbook.watch.start()

    @torch.no_grad()
    def validate(self, source: ExampleSource) -> dict[str, float]:
        """Means over the whole validation set; `acc` and `loss` are noted under the checkpoint's name."""
        self._learner.eval()
        watch = Stopwatch()
        plan = plan_epoch(source.lengths(0), dataclasses.replace(self.sampler, shuffle=False), epoch=0)
        # With shares of weights everybody must take as many steps: what is dealt twice counts once.
        dealt = range(self.ranks.rank, len(plan) + -len(plan) % self.ranks.world, self.ranks.world)
        means = RunningMeans()
        batches = iter(self._loader(source, 0, [plan[number % len(plan)] for number in dealt]))
        watch.start()
        for number, batch in zip(dealt, batches, strict=True):
            watch.lap("data_load")
            with self._autocast():
                _, stats = self._team(batch.to(self.device))
            means.add(stats, weight=len(batch.keys) if number < len(plan) else 0.0)
            watch.lap("forward_time")
            watch.stop()
            watch.start()
        values = self._means_of_all(means)
        name = self.progress.name()
        for kind, table in (("acc", self.progress.val_acc), ("loss", self.progress.val_loss)):
            if kind in values:
                table[name] = values[kind]
        place = self._place(len(dealt), len(dealt))
        self.logbook.validation(place, self.updater.rate, values, watch.totals)
        self.updater.validated(values.get("loss"))
        if self._on_validated is not None:
            self._on_validated(self.progress)
        return values

    def _means_of_all(self, means: RunningMeans) -> dict[str, float]:
        """Over all processes."""
        if self.ranks.world == 1:
            return means.means()
        state = means.state()
        names = sorted(state["sums"])
        table = torch.tensor(
            [[state[part][name] for name in names] for part in ("sums", "weights")], dtype=torch.float64
        )
        sums, weights = self.ranks.sum(table.to(self.device)).tolist()
        summed = RunningMeans(dict(zip(names, sums, strict=True)), dict(zip(names, weights, strict=True)))
        found = summed.means()
        return {name: found[name] for name in state["sums"] if name in found}

    def save(self) -> None:
        """This point under its own name and as `model.pt`; as `model.pt.best` if it is; the worst deleted."""
        name, kind = self.progress.name(), self.config.avg_keep_nbest_models_type
        state = self._state()  # by all together: each has a part of it
        if not self.ranks.first:
            return
        save_atomically(state, self.output / name)
        order = ranked(self.progress, kind)
        if order and order[0] == name:
            link(self.output / name, self.output / BEST)
        # Last of all: a run that is killed before goes on from the point before, and does all this again.
        link(self.output / name, self.output / LATEST)
        drop_worst(self.output, self.progress, kind, self.config.keep_nbest_models)

    def _state(self) -> dict[str, Any]:
        """What a checkpoint holds: the official entries, and what an exact resume needs besides."""
        means = self.logbook.means.means()
        state: dict[str, Any] = self.progress.state(self.config.avg_keep_nbest_models_type)
        state |= {
            "state_dict": whole(self.model.state_dict()),
            "optimizer": whole(self.updater.optimizer.state_dict()),
            "scheduler": self.updater.scheduler.state_dict(),
            "data_split_num": self._slices,
            "train_loss_avg": means.get("loss", 0.0),
            "train_acc_avg": means.get("acc", 0.0),
            "running": self.ranks.gather(self.logbook.means.state()),
            "random": self.ranks.gather(random_state(self.device)),
            "world_size": self.ranks.world,
        }
        if self.updater.scaler.is_enabled():
            state["scaler_state"] = self.updater.scaler.state_dict()
        if isinstance(self.criterion, nn.Module):
            state["criterion"] = whole(self.criterion.state_dict())
        return state

    def load(self, path: Path) -> None:
        """Continue from a checkpoint as if the run had never stopped."""
        self._restore(path, load_checkpoint(path))

    def _restore(self, path: Path, state: Mapping[str, Any]) -> None:
        lacking = [key for key in ("optimizer", "scheduler", "random") if key not in state]
        if lacking:
            raise ModelFilesError(
                f"{path} cannot be gone on from, it has no {' and no '.join(lacking)}: give another "
                "output_dir, or begin anew with ++train_conf.resume=false"
            )
        try:
            self.model.load_state_dict(shares_of(state["state_dict"], self.model))
        except (RuntimeError, KeyError) as error:
            raise CheckpointMismatchError(
                f"{path} cannot be gone on from, it is of a network with other settings "
                f"({' '.join(str(error).split())[:200]}): give the settings of that run, another "
                "output_dir, or begin anew with ++train_conf.resume=false"
            ) from error
        if isinstance(self.criterion, nn.Module):
            self.criterion.load_state_dict(shares_of(state["criterion"], self.criterion))
        optimizer = self.updater.optimizer
        optimizer.load_state_dict(optimizer_shares_of(state["optimizer"], optimizer))
        self.updater.scheduler.load_state_dict(state["scheduler"])
        if "scaler_state" in state and self.updater.scaler.is_enabled():
            self.updater.scaler.load_state_dict(state["scaler_state"])
        self.progress = Progress.of(state)
        world = state.get("world_size")
        if world is None:  # of an earlier version, which kept less
            torch.set_rng_state(state["random"])
        elif world == self.ranks.world:
            self.logbook.means = RunningMeans(**state["running"][self.ranks.rank])
            restore_random_state(state["random"][self.ranks.rank], self.device)
        else:
            self._resize(world)
        logger.info("going on from %s after %d batches", path, self.progress.batch_total)

    def _resize(self, before: int) -> None:
        """Go on with another number of processes, from about the same batch: rather twice than not at all."""
        now = self.ranks.world
        done = self.progress.step
        self.progress.step = done * before // now // self.config.accum_grad * self.config.accum_grad
        self.progress.step_in_epoch += self.progress.step - done
        logger.warning(
            "this run had %d processes before and has %d now: it goes on with batch %d of the epoch, but not "
            "to the same numbers",
            before,
            now,
            self.progress.step_in_epoch,
        )

    def average(self) -> Path | None:
        """`model.pt.avgN`: the mean of the N best checkpoints that are still there."""
        order = ranked(self.progress, self.config.avg_keep_nbest_models_type)
        best = [self.output / name for name in order if (self.output / name).is_file()]
        best = best[: self.config.avg_nbest_model]
        path = self.output / f"{LATEST}.avg{self.config.avg_nbest_model}"
        if best and self.ranks.first:
            save_atomically({"state_dict": average(best)}, path)
            logger.info("%s is the mean of %s", path, ", ".join(one.name for one in best))
        self.ranks.barrier()
        return path if best else None

    def _out_of_patience(self) -> bool:
        patience = self.config.early_stopping_patience
        if not patience or self.progress.epochs_without_gain() < patience:
            return False
        if self.ranks.first:
            logger.info(
                "stopping: %d epochs without a smaller validation loss (early_stopping_patience)", patience
            )
        return True

    def _out_of_time(self, started: float) -> bool:
        limit = self.config.max_seconds
        if limit is None:
            return False
        over = torch.tensor(float(time.monotonic() - started > limit), device=self.device)
        return bool(self.ranks.sum(over) > 0)

    def _place(self, step: int, steps: int) -> Place:
        return Place(
            rank=self.ranks.rank,
            epoch=self.progress.epoch,
            max_epoch=self.config.max_epoch,
            data_slice=self.progress.data_split_i,
            slices=self._slices,
            step_in_slice=step,
            steps=steps,
            step_in_epoch=self.progress.step_in_epoch,
            total_step=self.progress.batch_total,
        )


def _passes(before: int, now: int, interval: int) -> bool:
    """Whether a multiple of `interval` lies behind `before` and not behind `now`; never for 0."""
    return interval > 0 and now // interval > before // interval
