"""Checkpoints: what fits is loaded, what does not is named."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from funasr.errors import CheckpointMismatchError, ModelFilesError
from funasr.nn.weights import initialize_weights, load_weights, read_checkpoint, rename, unallocated


def net() -> nn.Module:
    return nn.ModuleDict({"encoder": nn.Linear(3, 4), "decoder": nn.Linear(4, 2)})


def saved(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "model.pt"
    torch.save(content, path)
    return path


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_without_memory_takes_the_tensors_of_the_file(
    tmp_path: Path, wrapper: str | None, prefix: str
) -> None:
    source = net()
    state: Any = {prefix + name: value for name, value in source.state_dict().items()}
    path = saved(tmp_path, state if wrapper is None else {wrapper: state, "epoch": 3})
    with unallocated():
        model = net()
    assert all(p.is_meta for p in model.parameters())

    load_weights(model, path)

    x = torch.randn(2, 3)
    torch.testing.assert_close(model["encoder"](x), source["encoder"](x))


def test_nothing_is_drawn_while_a_network_is_unallocated() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()

    with unallocated():
        nn.ModuleList(
            [nn.Linear(3, 3), nn.Embedding(3, 3), nn.LSTM(3, 3), nn.Conv1d(3, 3, 1), nn.LayerNorm(3)]
        )

    assert torch.equal(before, torch.get_rng_state())
    assert not nn.Linear(3, 3).weight.is_meta


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    source = net()
    safetensors.save_file(source.state_dict(), tmp_path / "model.safetensors")
    model = net()

    load_weights(model, tmp_path / "model.safetensors")

    torch.testing.assert_close(model.state_dict(), source.state_dict())


def test_a_misfit_names_the_first_of_each_kind_and_how_many(tmp_path: Path) -> None:
    state: dict[str, Tensor] = dict(net().state_dict())
    del state["encoder.bias"]
    state["decoder.weight"] = torch.zeros(7, 4)
    state["ctc.weight"] = torch.zeros(1)
    state["ctc.bias"] = torch.zeros(1)

    with pytest.raises(CheckpointMismatchError) as caught:
        load_weights(net(), saved(tmp_path, state))

    message = str(caught.value)
    assert "1 missing, the first 'encoder.bias'" in message
    assert "2 unexpected, the first 'ctc.weight'" in message
    assert "'decoder.weight': (7, 4) in the file, (2, 4) in the network" in message


def test_known_leftovers_are_passed_over(tmp_path: Path) -> None:
    state = {**net().state_dict(), "criterion.weight": torch.zeros(1)}

    load_weights(net(), saved(tmp_path, state), leftovers=frozenset({"criterion."}))


def test_a_truncated_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = saved(tmp_path, net().state_dict())
    path.write_bytes(path.read_bytes()[:-200])

    with pytest.raises(ModelFilesError, match="damaged"):
        load_weights(net(), path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)

    with pytest.raises(ModelFilesError, match=r"model\.pt"):
        read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match=r"no checkpoint at .*nowhere\.pt"):
        read_checkpoint(tmp_path / "nowhere.pt")


def test_a_list_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="list"):
        read_checkpoint(saved(tmp_path, [1, 2]))


class _Code:
    def __reduce__(self) -> Any:
        return (print, ("code in a checkpoint ran",))


def test_code_in_a_checkpoint_never_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(_Code()))
    other = tmp_path / "zip.pt"
    torch.save({"w": _Code()}, other)

    for file in (path, other):
        with pytest.raises(ModelFilesError):
            read_checkpoint(file)
    assert "ran" not in capsys.readouterr().out


def test_initialising_takes_what_fits_and_says_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, model = net(), net()
    state: dict[str, Tensor] = {f"bert.{k}": v for k, v in source.state_dict().items()}
    state["bert.decoder.bias"] = torch.zeros(9)
    kept = model.state_dict()["decoder.bias"].clone()
    path = saved(tmp_path, state)

    with caplog.at_level(logging.INFO, logger="funasr"):
        misfit = initialize_weights(model, path, scope_map=("bert.", "none"), excludes=("decoder.weight",))

    torch.testing.assert_close(model["encoder"].weight, source["encoder"].weight)
    torch.testing.assert_close(model.state_dict()["decoder.bias"], kept)
    assert not torch.equal(model["decoder"].weight, source["decoder"].weight)
    assert misfit.misshapen == ("decoder.bias",)
    assert misfit.missing == ("decoder.weight",)
    assert "2 of 4 tensors taken" in caplog.text


def test_prefixes_are_renamed_in_the_order_given() -> None:
    state = {"a.x": torch.zeros(1), "b.x": torch.ones(1)}

    assert list(rename(state, ("a.", "c.", "none", "d."))) == ["c.x", "d.b.x"]


def test_an_odd_scope_map_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="pairs"):
        initialize_weights(net(), saved(tmp_path, net().state_dict()), scope_map=("a.",))
