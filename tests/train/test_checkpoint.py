"""Files of a training run."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
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
    newest_checkpoint,
    ranked,
    remove_drafts,
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


def test_a_file_with_several_names_is_there_once_and_where_that_cannot_be_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_atomically({"state_dict": {}}, tmp_path / "model.pt.ep1")
    link(tmp_path / "model.pt.ep1", tmp_path / "model.pt")
    assert (tmp_path / "model.pt").samefile(tmp_path / "model.pt.ep1")

    def refused(source: Path, path: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    link(tmp_path / "model.pt.ep1", tmp_path / "model.pt")

    assert not (tmp_path / "model.pt").samefile(tmp_path / "model.pt.ep1")
    assert load_checkpoint(tmp_path / "model.pt") == {"state_dict": {}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt", "model.pt.ep1"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a disk that has so many bytes left: what is written behind them fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_an_error_that_says_so_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_atomically({"state_dict": {"w": torch.ones(1)}}, path)

    with files_of_at_most(100_000), pytest.raises(ModelFilesError, match=r"no room for .*so far are whole"):
        save_atomically({"state_dict": {"w": torch.ones(100_000)}}, path)

    assert load_checkpoint(path)["state_dict"]["w"].tolist() == [1.0]
    assert [one.name for one in tmp_path.iterdir()] == ["model.pt"]


def test_what_a_killed_run_had_begun_to_write_is_removed(tmp_path: Path) -> None:
    for name in ("model.pt.tmp", "model.pt.ep3.tmp", "model.pt.ep2", "notes.tmp"):
        (tmp_path / name).touch()

    remove_drafts(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pt.ep2", "notes.tmp"]


def test_where_the_newest_cannot_be_read_the_one_before_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert newest_checkpoint(tmp_path) is None
    for name in ("model.pt.ep1", "model.pt.ep1.20", "model.pt.ep1.3", "model.pt.ep2"):
        save_atomically({"state_dict": {}, "name": name}, tmp_path / name)
    (tmp_path / "model.pt").write_bytes((tmp_path / "model.pt.ep2").read_bytes()[:200])
    (tmp_path / "model.pt.ep2").unlink()

    found = newest_checkpoint(tmp_path)

    assert found is not None
    assert found[0].name == found[1]["name"] == "model.pt.ep1.20"
    assert "going on from" in caplog.text
    for name in ("model.pt.ep1", "model.pt.ep1.20", "model.pt.ep1.3"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelFilesError, match="resume=false"):
        newest_checkpoint(tmp_path)


def test_checkpoints_of_different_models_have_no_mean(tmp_path: Path) -> None:
    save_atomically({"state_dict": {"a": torch.ones(1)}}, tmp_path / "one")
    save_atomically({"state_dict": {"b": torch.ones(1)}}, tmp_path / "other")

    with pytest.raises(ModelFilesError, match="different models: only one of them has 'a'"):
        average([tmp_path / "one", tmp_path / "other"])


def test_epochs_without_gain_are_counted_from_the_smallest_loss() -> None:
    losses = {"model.pt.ep1": 3.0, "model.pt.ep2": 1.0, "model.pt.ep2.500": 0.5, "model.pt.ep3": 2.0}

    assert Progress(epoch=3, val_loss=losses).epochs_without_gain() == 1
    assert Progress(epoch=2, val_loss=losses).epochs_without_gain() == 0
    assert Progress().epochs_without_gain() == 0


def test_progress_is_read_back_also_from_checkpoints_of_earlier_versions() -> None:
    now = Progress(epoch=2, data_split_i=1, step=3, step_in_epoch=7, batch_total=40, val_acc={"a": 0.5})
    before = {"epoch": 2, "step_in_epoch": 7, "batch_total": 40, "updates": 40, "val_acc": {}, "val_loss": {}}

    assert Progress.of(now.state("acc")) == now
    assert Progress.of({"progress": before}).step == 7
