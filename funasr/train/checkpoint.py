"""Checkpoints: written whole or not at all, the best kept, the best averaged.

Files as upstream names them: `model.pt.ep3` at the end of epoch 3, `model.pt.ep2.500` after 500 batches of
the epoch before it (0-based), `model.pt` the newest, `model.pt.best`, `model.pt.avg5`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from funasr.errors import ModelFilesError

LATEST = "model.pt"
BEST = "model.pt.best"


@dataclass(kw_only=True)
class Progress:
    """Where a run stands. Saved with every checkpoint; all that is needed to go on as if never stopped."""

    epoch: int = 0
    """Epochs finished."""
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


def save_atomically(state: Mapping[str, Any], path: Path) -> None:
    """Write beside the target, then move: a run that is killed leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".tmp")
    torch.save(dict(state), beside)
    os.replace(beside, path)


def link(source: Path, path: Path) -> None:
    """`path` becomes another name of `source`, or a copy where the file system has no hard links."""
    beside = path.with_name(path.name + ".tmp")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside)
    except OSError:
        beside.write_bytes(source.read_bytes())
    os.replace(beside, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Raises ModelFilesError for a file that is no checkpoint of a training run."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelFilesError(f"cannot read the checkpoint {path}: {error}") from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise ModelFilesError(f"{path} has no state_dict: not a checkpoint of a training run")
    return state


def ranked(progress: Progress, kind: str) -> list[str]:
    """Checkpoint names, best first. `kind` is `acc` or `loss`."""
    values = progress.val_acc if kind == "acc" else progress.val_loss
    return sorted(values, key=lambda name: values[name], reverse=kind == "acc")


def drop_worst(folder: Path, progress: Progress, kind: str, keep: int) -> None:
    """Delete all but the `keep` best checkpoints; the newest stays under the name `model.pt` in any case."""
    for name in ranked(progress, kind)[keep:]:
        (folder / name).unlink(missing_ok=True)


def average(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Mean of the weights, reading one file at a time. Whole-number tensors are those of the first file."""
    if not paths:
        raise ModelFilesError("there is no checkpoint to average")
    total: dict[str, Tensor] = {}
    for path in paths:
        for name, tensor in load_checkpoint(path)["state_dict"].items():
            if name not in total:
                total[name] = tensor.double() if tensor.is_floating_point() else tensor
            elif tensor.is_floating_point():
                total[name] += tensor
    return {name: (t / len(paths)).float() if t.is_floating_point() else t for name, t in total.items()}
