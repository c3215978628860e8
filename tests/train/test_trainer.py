"""The loop: it learns, it repeats, and a run that was stopped ends where an unbroken one does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from funasr.train.checkpoint import load_checkpoint
from funasr.train.data import Batch
from tests.train.tiny_run import Tones, trainer


def test_the_loss_follows_the_recorded_curve_down(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epoch=1)
    losses: list[float] = []
    step = run.step

    def noted(batch: Batch) -> Mapping[str, Tensor]:
        stats = step(batch)
        losses.append(float(stats["loss"]))
        return stats

    run.step = noted  # type: ignore[method-assign]
    run.run(Tones(120), Tones(8))

    assert len(losses) >= 20
    early, late = np.mean(losses[:3]), np.mean(losses[17:20])
    # Recorded: 2.579, 2.425, 2.201 at first, 1.377, 0.853, 1.071 at last. The limits leave room for another
    # CPU's rounding, not for a broken update. Which values dropout takes follows the order in memory.
    assert early == pytest.approx(2.402, rel=0.03)
    assert late == pytest.approx(1.100, rel=0.15)


@pytest.mark.parametrize("stop_after", [3, 5])
def test_a_stopped_run_ends_where_an_unbroken_one_does(tmp_path: Path, stop_after: int) -> None:
    changes = {"save_checkpoint_interval": 1}
    straight = trainer(tmp_path / "straight", **changes)
    straight.run(Tones(40), Tones(8))

    class StoppedError(Exception):
        pass

    broken = trainer(tmp_path / "broken", **changes)
    step = broken.step

    def until(batch: Batch) -> Mapping[str, Tensor]:
        if broken.progress.batch_total == stop_after:
            raise StoppedError
        return step(batch)

    broken.step = until  # type: ignore[method-assign]
    with pytest.raises(StoppedError):
        broken.run(Tones(40), Tones(8))
    resumed = trainer(tmp_path / "broken", **changes)
    resumed.run(Tones(40), Tones(8))

    assert resumed.progress == straight.progress
    for name, tensor in straight.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert (tmp_path / "broken" / "model.pt.avg2").is_file()


def test_gathering_two_batches_before_an_update_is_one_update(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epoch=1, accum_grad=2)

    run.run(Tones(40), Tones(8))

    assert run.progress.updates == -(-run.progress.batch_total // 2)


def test_worker_processes_change_nothing(tmp_path: Path) -> None:
    alone, helped = trainer(tmp_path / "a", max_epoch=1), trainer(tmp_path / "b", max_epoch=1, num_workers=2)
    alone.run(Tones(40), Tones(8))
    helped.run(Tones(40), Tones(8))

    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(tensor, helped.model.state_dict()[name]), name


def test_a_gradient_that_is_not_finite_is_thrown_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = trainer(tmp_path)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    next(run.model.parameters()).grad = torch.full_like(next(run.model.parameters()), float("nan"))

    with caplog.at_level(logging.WARNING):
        run._update()

    assert run.progress.updates == 0
    assert "not finite" in caplog.text
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())
    assert next(run.model.parameters()).grad is None


def test_the_best_checkpoints_are_kept_and_the_newest_is_always_there(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epoch=4)

    run.run(Tones(40), Tones(8))

    kept = sorted(path.name for path in tmp_path.glob("model.pt.ep*"))
    best = sorted(run.progress.val_acc, key=lambda name: run.progress.val_acc[name], reverse=True)
    assert kept == sorted(best[:2])
    newest = load_checkpoint(tmp_path / "model.pt")
    assert newest["epoch"] == 4
    weights = newest["state_dict"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in run.model.state_dict().items())


def test_a_run_stops_when_its_time_is_up_and_leaves_a_model(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_epoch=100, max_seconds=0.0)

    run.run(Tones(40), Tones(8))

    assert run.progress.batch_total == 1
    assert (tmp_path / "model.pt").is_file()
