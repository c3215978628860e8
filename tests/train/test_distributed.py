"""Two processes learn what one does from both their batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from funasr.train import trainer as trainer_module
from funasr.train.checkpoint import load_checkpoint
from funasr.train.sampler import SamplerConfig, plan_epoch
from tests.train.tiny_run import Tones, quiet_trainer

ROOT = Path(__file__).resolve().parents[2]


def torchrun(script: str, *arguments: str, restarts: int = 0) -> str:
    """Two processes on this machine, and what they said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    command += ["--max-restarts", str(restarts), str(ROOT / script), *arguments]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=settings)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def several(output: Path, kind: str, epochs: int = 2, *, dying: bool = False) -> list[dict[str, Any]]:
    output.mkdir(exist_ok=True)
    more = ["die"] if dying else []
    torchrun("tests/train/several.py", str(output), kind, str(epochs), *more, restarts=len(more))
    return [json.loads((output / f"seen{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def combined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process, each of whose batches is those that two would have taken side by side."""

    def plan(lengths: NDArray[np.int64], config: SamplerConfig, **place: Any) -> list[list[int]]:
        if not config.shuffle:  # the validation's
            return plan_epoch(lengths, config, **place)
        first, second = (
            plan_epoch(lengths, config, **{**place, "rank": rank, "world": 2}) for rank in (0, 1)
        )
        return [one + other for one, other in zip(first, second, strict=True)]

    output = tmp_path_factory.mktemp("combined")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "plan_epoch", plan)
        run = quiet_trainer(output)
        run.run(Tones(24), Tones(7))
    return output


def assert_same(one: Path, other: Path, tolerance: float = 1e-4) -> None:
    states = [load_checkpoint(folder / "model.pt") for folder in (one, other)]
    for name, loss in states[0]["val_loss_step_or_epoch"].items():
        assert states[1]["val_loss_step_or_epoch"][name] == pytest.approx(loss, abs=tolerance), name
    assert states[0]["state_dict"].keys() == states[1]["state_dict"].keys()
    for name, tensor in states[0]["state_dict"].items():
        torch.testing.assert_close(states[1]["state_dict"][name], tensor, atol=tolerance, rtol=0, msg=name)
    moments = [state["optimizer"]["state"] for state in states]
    assert moments[0].keys() == moments[1].keys()
    for number, entries in moments[0].items():
        torch.testing.assert_close(moments[1][number]["exp_avg"], entries["exp_avg"], atol=tolerance, rtol=0)


def test_batches_gathered_in_one_process_weigh_as_much_as_they_have_tokens(
    combined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(lengths: NDArray[np.int64], config: SamplerConfig, **place: Any) -> list[list[int]]:
        batches = plan_epoch(lengths, config, **place)
        return batches + batches[:1] * (len(batches) % 2 and config.shuffle)  # as two processes even them out

    monkeypatch.setattr(trainer_module, "plan_epoch", plan)

    quiet_trainer(tmp_path, accum_grad=2).run(Tones(24), Tones(7))

    assert_same(combined, tmp_path)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_both_their_batches(combined: Path, tmp_path: Path) -> None:
    first, second = several(tmp_path, "ddp")

    assert first == second
    assert_same(combined, tmp_path)


@pytest.mark.slow
def test_with_shares_of_the_weights_too_and_a_process_that_dies_costs_nothing(
    combined: Path, tmp_path: Path
) -> None:
    several(tmp_path, "fsdp", dying=True)

    assert (tmp_path / "died").exists()
    assert_same(combined, tmp_path)
