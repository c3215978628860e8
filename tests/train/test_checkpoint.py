"""Files of a training run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from funasr.errors import ModelFilesError
from funasr.train.checkpoint import (
    Progress,
    average,
    drop_worst,
    link,
    load_checkpoint,
    ranked,
    save_atomically,
)


def test_the_average_is_the_mean_of_floats_and_the_first_of_whole_numbers(tmp_path: Path) -> None:
    paths = []
    for number, value in enumerate((1.0, 2.0, 6.0)):
        paths.append(tmp_path / f"{number}")
        save_atomically(
            {"state_dict": {"w": torch.tensor([value, -value]), "n": torch.tensor(number)}}, paths[-1]
        )

    mean = average(paths)

    assert mean["w"].tolist() == [3.0, -3.0]
    assert mean["w"].dtype == torch.float32
    assert mean["n"].item() == 0


def test_names_are_upstreams() -> None:
    assert Progress(epoch=3).name() == "model.pt.ep3"
    assert Progress(epoch=2, step_in_epoch=500).name() == "model.pt.ep2.500"


def test_the_best_comes_first_by_accuracy_or_by_loss(tmp_path: Path) -> None:
    progress = Progress(val_acc={"a": 0.5, "b": 0.9, "c": 0.7}, val_loss={"a": 0.1, "b": 3.0, "c": 0.2})

    assert ranked(progress, "acc") == ["b", "c", "a"]
    assert ranked(progress, "loss") == ["a", "c", "b"]

    for name in "abc":
        (tmp_path / name).touch()
    drop_worst(tmp_path, progress, "acc", keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_atomically({"state_dict": {"w": torch.ones(1)}}, path)

    with pytest.raises(AttributeError):  # a local function cannot be pickled
        save_atomically({"state_dict": {"w": lambda: None}}, path)

    assert load_checkpoint(path)["state_dict"]["w"].tolist() == [1.0]


def test_deleting_one_name_of_a_checkpoint_keeps_the_other(tmp_path: Path) -> None:
    save_atomically({"state_dict": {}}, tmp_path / "model.pt.ep1")
    link(tmp_path / "model.pt.ep1", tmp_path / "model.pt")
    link(tmp_path / "model.pt.ep1", tmp_path / "model.pt")

    (tmp_path / "model.pt.ep1").unlink()

    assert load_checkpoint(tmp_path / "model.pt") == {"state_dict": {}}


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"not a checkpoint")
    torch.save({"weights": 1}, tmp_path / "other")

    for name in ("broken", "other", "absent"):
        with pytest.raises(ModelFilesError, match=name):
            load_checkpoint(tmp_path / name)
