"""A graph knows the weights that it was made of, and is not run beside others."""

from __future__ import annotations

import time
from pathlib import Path

import onnx
import pytest
import torch

from funasr import AutoModel
from funasr.errors import ModelFilesError
from funasr.fingerprint import KEY, fingerprint
from tests.tiny_models import make_paraformer, talk

SOUND = talk(("loud", 1.2))


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(300, 400, generator=generator) for name in ("a", "b")}


def saved(path: Path, tensors: dict[str, torch.Tensor], *, zipped: bool = True) -> Path:
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_the_same_weights_have_one_fingerprint_under_any_name(tmp_path: Path, zipped: bool) -> None:
    one = saved(tmp_path / "model.pt", state(), zipped=zipped)
    other = tmp_path / "model.pt.avg5"
    other.write_bytes(one.read_bytes())

    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one) != fingerprint(saved(tmp_path / "trained.pt", state(1), zipped=zipped))


def test_weights_saved_again_have_the_fingerprint_that_they_had(tmp_path: Path) -> None:
    assert fingerprint(saved(tmp_path / "model.pt", state())) == fingerprint(
        saved(tmp_path / "x.pt", state())
    )


def test_one_number_makes_another_fingerprint(tmp_path: Path) -> None:
    before = fingerprint(saved(tmp_path / "model.pt", state()))
    changed = state()
    changed["b"][299, 123] += 1e-6

    assert fingerprint(saved(tmp_path / "model.pt", changed)) != before


def test_safetensors_have_one_too(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(state(), tmp_path / "a.safetensors")
    save_file(state(1), tmp_path / "b.safetensors")
    save_file(state(), tmp_path / "c.safetensors")
    a, b, c = (fingerprint(tmp_path / f"{name}.safetensors") for name in "abc")

    assert a == c != b


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(20_000_000_000)  # of which the disk holds nothing
    start = time.perf_counter()

    fingerprint(path)

    assert time.perf_counter() - start < 1


def test_a_graph_beside_weights_that_were_trained_since_gives_way_to_torch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_paraformer(tmp_path / "model", "Paraformer")
    AutoModel(model=folder).export(quantize=True)
    for name in ("model.onnx", "model_quant.onnx"):
        texts = {one.key: one.value for one in onnx.load(folder / name).metadata_props}
        assert texts[KEY] == fingerprint(folder / "model.pt")
    assert not isinstance(AutoModel(model=folder).model.network, torch.nn.Module)
    trained = make_paraformer(tmp_path / "trained", "Paraformer", seed=1)
    (trained / "model.pt").replace(folder / "model.pt")

    model = AutoModel(model=folder)

    assert isinstance(model.model.network, torch.nn.Module)
    assert "was made of other weights than those of model.pt now" in caplog.text
    assert f"funasr-export ++model={folder}" in caplog.text
    for quantize in (False, True):
        with pytest.raises(ModelFilesError, match="was made of other weights"):
            AutoModel(model=folder, engine="onnx", quantize=quantize)
    heard = model.generate(SOUND)
    caplog.clear()

    model.export()

    again = AutoModel(model=folder, engine="onnx")
    assert caplog.text == ""
    assert again.generate(SOUND)[0]["text"] == heard[0]["text"]
