"""Which back end runs a network, and that the whole pipeline says the same on both."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import funasr_onnx.load
from funasr import AutoModel, registry
from funasr.auto import engine, torch_network
from funasr.auto.build import build_tokenizer
from funasr.auto.options import LoadOptions
from funasr.errors import MissingDependencyError, ModelFilesError, OptionError
from funasr.export.onnx import export_network
from funasr.modeldir import ModelDir
from funasr.nn.weights import load_weights
from funasr_onnx.acoustic import OnnxParaformer
from funasr_onnx.networks import FsmnVadScorer
from tests.tiny_models import make_campplus, make_ct_punc, make_paraformer, make_vad, talk

SPEECH = talk(("loud", 1.5), ("quiet", 1.5), ("loud", 2.0), ("quiet", 1.2), ("loud", 0.8))


def export(folder: Path) -> Path:
    """Write the graphs of a directory beside its weights."""
    directory = ModelDir.open(folder)
    spells = directory.tokens or directory.bpe_model
    vocabulary = build_tokenizer(directory).vocab_size if spells else 0
    width = {"FsmnVADStreaming": 400}.get(directory.model, 560)
    network = registry.lookup(registry.MODELS, directory.model).from_official(
        directory.config, vocabulary, width
    )
    load_weights(network, directory.require_weights())
    export_network(network, folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories with weights and graphs; `bare` has no graph."""
    folder = tmp_path_factory.mktemp("models")
    make_paraformer(folder / "bare")
    export(make_paraformer(folder / "bicif"))
    export(make_paraformer(folder / "seaco", "SeacoParaformer"))
    export(make_vad(folder / "vad"))
    export(make_ct_punc(folder / "punc"))
    make_campplus(folder / "spk")
    return folder


def network(model: AutoModel) -> Any:
    return model.model.network


def runs(model: AutoModel) -> str:
    return "torch" if isinstance(network(model), torch.nn.Module) else "onnx"


# Which


def test_a_graph_is_chosen_on_a_cpu_and_that_is_said_at_debug_level(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="funasr.auto.engine")

    assert runs(AutoModel(models / "bicif", device="cpu")) == "onnx"
    assert "onnxruntime runs" in caplog.text
    assert runs(AutoModel(models / "bare", device="cpu")) == "torch"
    assert "there is no model.onnx" in caplog.text
    assert all(record.levelno == logging.DEBUG for record in caplog.records)


@pytest.mark.parametrize(
    "given",
    [
        {"engine": "torch"},
        {"bf16": True},
        {"excludes": ["nothing"]},
        {"scope_map": ["a", "b"]},
        {"ignore_init_mismatch": True},
        {"model_conf": {"sampling_ratio": 0.5}},
        {"encoder_conf": {"dropout_rate": 0.0}},
    ],
)
def test_what_a_graph_cannot_do_is_done_by_torch(models: Path, given: dict[str, Any]) -> None:
    assert runs(AutoModel(models / "bicif", device="cpu", **given)) == "torch"


def test_another_weight_file_is_read_by_torch(models: Path) -> None:
    weights = models / "bare" / "model.pt"

    assert runs(AutoModel(models / "bicif", device="cpu", init_param=weights)) == "torch"


def test_settings_of_the_front_end_leave_the_choice_alone(models: Path) -> None:
    assert runs(AutoModel(models / "bicif", device="cpu", frontend_conf={"dither": 0.0})) == "onnx"


def test_each_sub_model_chooses_for_itself_and_an_engine_given_is_for_all(models: Path) -> None:
    mixed = AutoModel(models / "bare", vad_model=models / "vad", device="cpu")
    assert runs(mixed) == "torch"
    assert isinstance(mixed.vad_model._scorer, FsmnVadScorer)

    given = AutoModel(models / "bicif", vad_model=models / "vad", device="cpu", engine="torch")
    assert runs(given) == "torch"
    assert isinstance(given.vad_model._scorer, torch.nn.Module)


def test_a_gpu_is_torchs_unless_onnx_is_asked_for(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(engine, "choose_device", lambda wanted: torch.device("cuda"))
    monkeypatch.setattr(engine, "torch_network", lambda *_: built.append("torch"))
    monkeypatch.setattr(
        funasr_onnx.load, "load_network", lambda model, graphs: built.append(f"onnx {graphs.device_id}")
    )

    AutoModel(models / "bicif", device="cuda")
    AutoModel(models / "bicif", device="cuda:1", engine="onnx")
    AutoModel(models / "bicif", device="cuda", ngpu=0)

    assert built == ["torch", "onnx 1", "onnx -1"]


def test_a_class_without_a_form_for_onnxruntime_is_run_by_torch(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(funasr_onnx.load.NETWORKS, "BiCifParaformer")

    assert runs(AutoModel(models / "bicif", device="cpu")) == "torch"


def test_a_class_of_ones_own_is_run_by_torch(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = registry.lookup(registry.MODELS, "BiCifParaformer")
    monkeypatch.setitem(registry.MODELS, "BiCifParaformer", own)

    assert runs(AutoModel(models / "bicif", device="cpu")) == "torch"


def test_a_graph_that_looks_back_at_nothing_gives_way_to_torch(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxParaformer, "supports_look_back", False, raising=False)

    assert runs(AutoModel(models / "bicif", device="cpu")) == "torch"
    assert runs(AutoModel(models / "bicif", device="cpu", engine="onnx")) == "onnx"


def test_a_broken_graph_gives_way_to_torch_with_a_warning(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(models / "bicif", tmp_path / "bicif")
    (folder / "model.onnx").write_bytes(b"broken off")

    assert runs(AutoModel(folder, device="cpu")) == "torch"
    assert "onnxruntime cannot" in caplog.text
    with pytest.raises(ModelFilesError, match="cannot load"):
        AutoModel(folder, device="cpu", engine="onnx")


# Threads, integers


def test_ncpu_is_the_number_of_threads(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []
    monkeypatch.setattr(
        funasr_onnx.load, "load_network", lambda model, graphs: heard.append(graphs.intra_op_num_threads)
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "5")

    AutoModel(models / "vad", engine="onnx", ncpu=3)
    AutoModel(models / "vad", engine="onnx")

    assert heard == [3, 5]


def test_integer_weights_are_used_only_when_asked_for(
    models: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(models / "bicif", tmp_path / "bicif")
    assert network(AutoModel(folder, device="cpu", quantize=True))._session.path.name == "model.onnx"
    assert caplog.text.count("++quantize=true") == 1

    shutil.copyfile(folder / "model.onnx", folder / "model_quant.onnx")
    assert network(AutoModel(folder, device="cpu"))._session.path.name == "model.onnx"
    assert network(AutoModel(folder, device="cpu", quantize=True))._session.path.name == "model_quant.onnx"

    (folder / "model.onnx").unlink()
    assert runs(AutoModel(folder, device="cpu")) == "torch"


def test_a_speaker_model_has_no_integer_weights_and_that_is_no_warning(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    AutoModel(
        models / "bare", spk_model=models / "spk", vad_model=models / "vad", quantize=True, device="cpu"
    )

    said = {
        record.levelname: record.getMessage() for record in caplog.records if "weights" in record.getMessage()
    }
    assert "a CAMPPlus gains nothing from integer weights" in said["INFO"]
    assert str(models / "bare") in said["WARNING"]


# Without torch


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (engine, torch_network):
        monkeypatch.setattr(module, "has_torch", lambda: False)


@pytest.mark.usefixtures("no_torch")
def test_without_torch_a_directory_without_a_graph_says_how_to_make_one(models: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"no model\.onnx.*funasr-export \+\+model="):
        AutoModel(models / "bare")

    folder = shutil.copytree(models / "bare", tmp_path / "bare")
    shutil.copyfile(models / "bicif" / "model.onnx", folder / "model_quant.onnx")
    with pytest.raises(ModelFilesError, match="quantize=True"):
        AutoModel(folder)
    assert network(AutoModel(folder, quantize=True))._session.path.name == "model_quant.onnx"


@pytest.mark.usefixtures("no_torch")
def test_without_torch_a_device_is_the_cpu_and_that_is_said(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert runs(AutoModel(models / "bicif", device="cuda:0")) == "onnx"
    assert "device 'cuda:0' needs torch" in caplog.text
    with pytest.raises(OptionError, match="device is 'gpu'"):
        AutoModel(models / "bicif", device="gpu")
    with pytest.raises(MissingDependencyError, match="torch"):
        AutoModel(models / "bicif", bf16=True)


def test_the_devices_that_onnxruntime_knows_are_numbered() -> None:
    devices = ("cpu", "auto", "cuda", "cuda:2")

    assert [engine._device_id(LoadOptions(device=device)) for device in devices] == ["-1", "-1", "0", "2"]


# Parity


@pytest.mark.parametrize("name", ["bicif", "seaco"])
def test_the_whole_pipeline_says_the_same_on_both_engines(models: Path, name: str) -> None:
    def heard(chosen: str) -> list[dict[str, Any]]:
        model = AutoModel(
            models / name,
            vad_model=models / "vad",
            punc_model=models / "punc",
            spk_model=models / "spk",
            device="cpu",
            engine=chosen,
            spk_kwargs={"engine": "torch"},
            ncpu=1,
        )
        return model.generate(
            [SPEECH, SPEECH[16000:]],
            hotword="今天 不错" if name == "seaco" else None,
            sentence_timestamp=True,
        )

    by_torch, by_onnx = heard("torch"), heard("onnx")

    assert by_torch[0]["text"]
    assert len({sentence["spk"] for sentence in by_torch[0]["sentence_info"]}) >= 1
    for one, other in zip(by_torch, by_onnx, strict=True):
        np.testing.assert_allclose(one.pop("confidence"), other.pop("confidence"), atol=1e-4)
        assert one == other


def test_the_device_of_a_pipeline_is_told_once(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    parts = {"vad_model": models / "vad", "punc_model": models / "punc", "spk_model": models / "spk"}

    AutoModel(models / "bare", **parts)
    AutoModel(models / "bare", **parts, device="cuda:7", fp16=True)

    said = [record.getMessage() for record in caplog.records]
    assert said.count("device 'auto' is cpu") == 1
    assert sum("'cuda:7' is not available here" in line for line in said) == 1
    assert sum("fp16 is far slower" in line for line in said) == 1
