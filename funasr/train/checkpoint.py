"""Checkpoints: written whole or not at all, the best kept, the best averaged.

Files as upstream names them: `model.pt.ep3` at the end of epoch 3, `model.pt.ep2.500` after 500 batches of
the epoch before it (0-based), `model.pt` the newest, `model.pt.best`, `model.pt.avg5`. A file with several of
these names is there once.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import pickle
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from funasr.errors import ModelFilesError

logger = logging.getLogger(__name__)

LATEST = "model.pt"
BEST = "model.pt.best"
DRAFT = ".tmp"
_NAME = re.compile(r"model\.pt\.ep(\d+)(?:\.(\d+))?")


@dataclass(kw_only=True)
class Progress:
    """Where a run stands. Saved with every checkpoint; all that is needed to go on as if never stopped."""

    epoch: int = 0
    """Epochs finished."""
    data_split_i: int = 0
    """Slices of the current epoch's data that are finished."""
    step: int = 0
    """Batches of the current slice that were used."""
    step_in_epoch: int = 0
    """Batches of the current epoch that were used."""
    batch_total: int = 0
    updates: int = 0
    val_acc: dict[str, float] = field(default_factory=dict)
    """Accuracy on the validation set by checkpoint name."""
    val_loss: dict[str, float] = field(default_factory=dict)

    def name(self) -> str:
        """File name of a checkpoint written now."""
        return f"model.pt.ep{self.epoch}" + (f".{self.step_in_epoch}" if self.step_in_epoch else "")

    def state(self, kind: str) -> dict[str, Any]:
        """The entries of a checkpoint, by their official names. `kind` ranks: `acc` or `loss`."""
        order = ranked(self, kind)
        values = self.val_acc if kind == "acc" else self.val_loss
        return {
            "epoch": self.epoch,
            "data_split_i": self.data_split_i,
            "step": self.step,
            "step_in_epoch": self.step_in_epoch,
            "batch_total": self.batch_total,
            "updates": self.updates,
            "val_acc_step_or_epoch": dict(self.val_acc),
            "val_loss_step_or_epoch": dict(self.val_loss),
            "saved_ckpts": {name: values[name] for name in order},
            "best_step_or_epoch": order[0] if order else "",
            "avg_keep_nbest_models_type": kind,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Progress:
        """Read back what `state` wrote."""
        if "progress" in state:  # as earlier versions wrote it
            return cls(step=int(state["progress"]["step_in_epoch"]), **state["progress"])
        counters = ("epoch", "data_split_i", "step", "step_in_epoch", "batch_total", "updates")
        return cls(
            **{name: int(state[name]) for name in counters},
            val_acc=dict(state["val_acc_step_or_epoch"]),
            val_loss=dict(state["val_loss_step_or_epoch"]),
        )

    def epochs_without_gain(self) -> int:
        """Finished epochs since the one with the smallest validation loss."""
        names = (f"model.pt.ep{epoch}" for epoch in range(1, self.epoch + 1))
        losses = [self.val_loss.get(name, math.inf) for name in names]
        return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def save_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write beside the target, down to the disk, then move: a run that is killed leaves the old file whole.

    Raises ModelFilesError where the disk is full or cannot be written.
    """
    _replace(path, lambda file: torch.save(dict(state), file))


def link(source: Path, path: Path) -> None:
    """`path` becomes another name of `source`, or a copy where the file system has no hard links."""
    beside = path.with_name(path.name + DRAFT)
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:
        with open(source, "rb") as original:
            _replace(path, lambda file: shutil.copyfileobj(original, file, 1 << 20))
        return
    os.replace(beside, path)
    if beside.exists():  # POSIX: moving one name of a file onto another of its names does nothing
        beside.unlink()
    _to_disk(path.parent)


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    beside = path.with_name(path.name + DRAFT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ModelFilesError(_unwritten(path, error)) from error
    except BaseException as error:
        beside.unlink(missing_ok=True)
        # torch wraps what the file said when its archive cannot be finished.
        inner = error.__context__
        if isinstance(error, RuntimeError) and isinstance(inner, OSError):
            raise ModelFilesError(_unwritten(path, inner)) from error
        raise
    _to_disk(path.parent)


def _unwritten(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        free = shutil.disk_usage(path.parent).free / 1e6
        return (
            f"no room for {path}: {error.strerror} ({free:.0f} MB free). The checkpoints so far are whole. "
            "Make room, or keep fewer (train_conf.keep_nbest_models), and run the same command again"
        )
    return f"cannot write {path}: {error.strerror or error}"


def _to_disk(folder: Path) -> None:
    """Make a rename last through a power cut, where directories can be opened (not on Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_drafts(folder: Path) -> None:
    """Delete what a run that was killed had begun to write."""
    for path in folder.glob(f"model.pt*{DRAFT}"):
        logger.info("removing %s, which was not finished", path)
        path.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Tensors are read from the file when they are used. Raises ModelFilesError for a file that is no
    checkpoint of a training run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelFilesError(f"cannot read the checkpoint {path}: {reason}") from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise ModelFilesError(f"{path} has no state_dict: not a checkpoint of a training run")
    return state


def newest_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """`model.pt`, or the newest of the others that can be read, with a warning; None where there is no file.

    Raises ModelFilesError where there are files and none can be read.
    """
    numbered = [(path, _NAME.fullmatch(path.name)) for path in folder.glob("model.pt.ep*")]
    order = sorted(
        ((int(match[1]), int(match[2] or 0), path) for path, match in numbered if match), reverse=True
    )
    latest = folder / LATEST
    candidates = [*([latest] if latest.is_file() else []), *(path for *_, path in order)]
    if not latest.is_file() and not order:
        return None
    failures: list[str] = []
    for path in candidates:
        try:
            state = load_checkpoint(path)
        except ModelFilesError as error:
            failures.append(str(error))
            logger.warning("%s", error)
            continue
        if failures:
            logger.warning("going on from %s instead", path)
        return path, state
    raise ModelFilesError(
        f"{folder} has no checkpoint that can be read: {'; '.join(failures)}. Give another output_dir, or "
        "begin anew with ++train_conf.resume=false"
    )


def ranked(progress: Progress, kind: str) -> list[str]:
    """Checkpoint names, best first. `kind` is `acc` or `loss`."""
    values = progress.val_acc if kind == "acc" else progress.val_loss
    return sorted(values, key=lambda name: values[name], reverse=kind == "acc")


def drop_worst(folder: Path, progress: Progress, kind: str, keep: int) -> None:
    """Delete all but the `keep` best checkpoints; the newest stays under the name `model.pt` in any case."""
    for name in ranked(progress, kind)[keep:]:
        (folder / name).unlink(missing_ok=True)


def average(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Mean of the weights, reading one file at a time. Whole-number tensors are those of the first file.

    Raises ModelFilesError where there is no file, or they hold different models.
    """
    if not paths:
        raise ModelFilesError("there is no checkpoint to average")
    total: dict[str, Tensor] = {}
    for path in paths:
        state = load_checkpoint(path)["state_dict"]
        if total and state.keys() != total.keys():
            odd = sorted(state.keys() ^ total.keys())[0]
            raise ModelFilesError(
                f"{path} and {paths[0]} are of different models: only one of them has {odd!r}"
            )
        for name, tensor in state.items():
            if name not in total:
                total[name] = tensor.double() if tensor.is_floating_point() else tensor.clone()
            elif tensor.is_floating_point():
                total[name] += tensor
    return {name: (t / len(paths)).float() if t.is_floating_point() else t for name, t in total.items()}
