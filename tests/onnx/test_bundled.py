"""The graphs that come with the package are those of the weights beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funasr import AutoModel
from funasr.aliases import BUNDLED
from funasr.audio.load import load_audio

TEXT = "今天天气很好我们去公园吧 how are you 明天呢"


def said(name: str, engine: str, sound: Path) -> Any:
    """What a model makes of a recording, or of a text."""
    model = AutoModel(name, engine=engine, device="cpu", ncpu=1)
    if model.model.__class__.__name__ == "Punctuator":
        return model.generate(TEXT)[0]["text"]
    if model.model.__class__.__name__ == "SpeakerEncoder":
        return model.model.embed([load_audio(sound)])[0]
    record = model.generate(str(sound), disable_pbar=True)[0]
    return record.get("value") or record["text"]


@pytest.mark.parametrize("name", [model.name for model in BUNDLED])
def test_a_bundled_graph_says_what_its_weights_say(name: str, bundled_dir: Path) -> None:
    """Where this fails a model was trained again: examples/train_bundled/make_onnx.py makes its graph."""
    sound = bundled_dir / "samples" / "digits-hts.flac"

    by_torch, by_onnx = (said(name, engine, sound) for engine in ("torch", "onnx"))

    if isinstance(by_torch, np.ndarray):
        cosine = by_torch @ by_onnx / np.linalg.norm(by_torch) / np.linalg.norm(by_onnx)
        assert cosine > 0.9999
    else:
        assert by_torch
        assert by_onnx == by_torch
