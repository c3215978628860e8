"""From options to a loaded model: what is refused, what is warned of, and what the back end is told."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from funasr import AutoFrontend, AutoModel
from funasr.errors import ModelFilesError, ModelNotFoundError, OptionError
from tests.tiny_models import make_paraformer, make_vad, talk

LOUD = talk(("loud", 1.0))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_paraformer(folder / "bicif", "BiCifParaformer")
    make_vad(folder / "vad")
    return folder


def warnings_of(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)


def test_the_model_may_come_first_and_be_a_path(models: Path) -> None:
    model = AutoModel(models / "bicif", device="cpu")

    assert model.model_path == str(models / "bicif")
    assert model.generate(LOUD) == AutoModel(model=str(models / "bicif"), device="cpu").generate(LOUD)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"encoder_conf": {"output_size": "abc"}}, ModelFilesError, "output_size is 'abc'"),
        ({"encoder_conf": {"output_size": 64}}, ModelFilesError, "they must be equal"),
        ({"decoder_conf": {"linear_units": -3}}, ModelFilesError, "the settings make no BiCifParaformer"),
        ({"frontend_conf": {"fs": "x"}}, ModelFilesError, "fs is 'x'"),
        ({"frontend": "Foo"}, ModelNotFoundError, "no front end 'Foo'"),
        ({"frontend": "WavFrontent"}, ModelNotFoundError, "Did you mean 'WavFrontend'"),
        ({"device": "gpu"}, OptionError, "device is 'gpu'"),
    ],
)
def test_settings_that_make_no_model_are_named(
    models: Path, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        AutoModel(models / "bicif", **{"device": "cpu", **given})


def test_a_front_end_that_nobody_knows_is_named_by_auto_frontend_too(models: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="frontend_classes"):
        AutoFrontend(models / "bicif", frontend="Foo")


def test_fp16_on_a_cpu_is_float32_and_said(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    half = AutoModel(models / "bicif", vad_model=models / "vad", device="cpu", fp16=True)
    single = AutoModel(models / "bicif", vad_model=models / "vad", device="cpu")

    assert "fp16 is far slower" in warnings_of(caplog)
    assert half.generate(LOUD) == single.generate(LOUD)


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_a_detector_stays_in_float32(models: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from funasr.nn import packed

    seen: list[torch.dtype] = []
    ours = packed.prepare_for_inference

    def prepare(model: Any, device: Any, dtype: torch.dtype) -> Any:
        seen.append(dtype)
        return ours(model, device, dtype)

    monkeypatch.setattr(packed, "prepare_for_inference", prepare)
    AutoModel(models / "vad", device="cpu", **{kind: True})

    assert seen == [torch.float32]


def test_a_rate_that_is_not_the_models_own_is_warned_of(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    AutoModel(models / "bicif", device="cpu", frontend_conf={"fs": 16000, "dither": 0.0})
    assert "frontend_conf sets fs" not in warnings_of(caplog)

    AutoModel(models / "bicif", device="cpu", frontend_conf={"fs": 8000})
    assert "frontend_conf sets fs=8000" in warnings_of(caplog)


def test_parts_that_stay_random_are_counted_and_named(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = AutoModel(models / "bicif", device="cpu", excludes="decoder.,predictor.cif_output.")

    assert "RANDOM values: decoder (" in warnings_of(caplog)
    assert "predictor (2)" in warnings_of(caplog)
    assert np.isfinite(model.generate(LOUD)[0].get("confidence", [0.0])).all()

    caplog.clear()
    AutoModel(models / "bicif", device="cpu", excludes=["nothing.of.the.kind"])
    assert warnings_of(caplog) == ""
