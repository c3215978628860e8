"""The import lines that are promised. Nothing else is: the rest may move between releases."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import funasr
import funasr_onnx

PROMISED = [
    ("funasr", "AutoModel"),
    ("funasr", "AutoFrontend"),
    ("funasr", "__version__"),
    ("funasr.auto.auto_model", "AutoModel"),
    ("funasr.register", "tables"),
    ("funasr.models.fsmn_vad_streaming.dynamic_vad", "DynamicStreamingVAD"),
    ("funasr.utils.postprocess_utils", "rich_transcription_postprocess"),
    ("funasr_onnx", "Paraformer"),
    ("funasr_onnx", "ContextualParaformer"),
    ("funasr_onnx", "SeacoParaformer"),
    ("funasr_onnx", "SenseVoiceSmall"),
    ("funasr_onnx", "Fsmn_vad"),
    ("funasr_onnx", "Fsmn_vad_online"),
    ("funasr_onnx", "CT_Transformer"),
    ("funasr_onnx", "CT_Transformer_VadRealtime"),
    ("funasr_onnx.paraformer_online_bin", "Paraformer"),
    ("funasr_onnx.utils.postprocess_utils", "rich_transcription_postprocess"),
    ("funasr_onnx.utils.postprocess_utils", "sentence_postprocess"),
]


@pytest.mark.parametrize(("module", "name"), PROMISED)
def test_a_promised_import_line_works(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


def test_dir_and_all_name_what_there_is() -> None:
    assert funasr.__all__ == ["AutoFrontend", "AutoModel", "__version__"]
    for name in funasr.__all__:
        assert getattr(funasr, name) is not None
        assert name in dir(funasr)
    for name in funasr_onnx.__all__:
        assert getattr(funasr_onnx, name) is not None


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'AutoModels'"):
        funasr.AutoModels  # noqa: B018


def test_both_classes_named_automodel_are_one() -> None:
    from funasr.auto.auto_model import AutoModel

    assert funasr.AutoModel is AutoModel


def test_python_m_funasr_commands_show_their_help() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "funasr.bin.inference", "--help"], capture_output=True, text=True, timeout=120
    )

    assert run.returncode == 0
    assert "usage: funasr" in run.stdout
