"""The detector that comes with the package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from funasr import AutoModel
from funasr.result import Segment
from funasr.stages.vad import SpeechDetector
from funasr_onnx.vad import load_detector

NAME = "bundled-fsmn-vad-small"


@pytest.fixture(scope="module")
def folder(bundled_dir: Path) -> Path:
    return bundled_dir / "fsmn-vad-small"


@pytest.fixture(scope="module")
def onnx(folder: Path) -> SpeechDetector:
    return load_detector(folder, intra_op_num_threads=1)


def covered(segments: list[Segment], frames: int) -> NDArray[np.bool_]:
    mask = np.zeros(frames, dtype=np.bool_)
    for segment in segments:
        mask[segment.start_ms // 10 : segment.end_ms // 10] = True
    return mask


def test_it_loads_by_name_and_finds_nothing_in_silence_and_noise() -> None:
    model = AutoModel(model=NAME)
    rng = np.random.default_rng(0)

    for loudness in (0.0, 0.001, 0.05):
        sound = (loudness * rng.standard_normal(16000 * 5)).astype(np.float32)
        assert model.generate(input=sound, fs=16000)[0]["value"] == []


def test_both_back_ends_score_alike(folder: Path, onnx: SpeechDetector) -> None:
    torch_detector = AutoModel(model=NAME, engine="torch").model
    features = np.random.default_rng(1).standard_normal((1, 400, 400)).astype(np.float32)

    expected, _ = torch_detector._scorer.score(features, torch_detector._scorer.initial_state())
    got, _ = onnx._scorer.score(features, onnx._scorer.initial_state())

    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_it_hears_what_the_released_detector_hears(onnx: SpeechDetector, shared: Path) -> None:
    """70 s of Mandarin that it was not trained on; the published segments are the released model's."""
    import soundfile

    folder = shared / "data" / "vad" / "fsmn_example"
    samples = soundfile.read(folder / "wavs" / "vad_example.wav", dtype="float32")[0]
    published = json.loads((folder / "expected_segments_ms.json").read_text())["vad_example"]
    expected = covered([Segment(start_ms=start, end_ms=end) for start, end in published], 7050)

    got = covered(onnx.segments(samples), 7050)

    f1 = 2 * (got & expected).sum() / (got.sum() + expected.sum())
    assert f1 > 0.96


def test_its_card_names_licences_and_the_command_that_made_it(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")

    for fact in ("CC BY 4.0", "CC BY-SA", "Alibaba", "--config-name vad", "LibriSpeech", "Speech Commands"):
        assert fact in card
    assert (folder / "model.pt").stat().st_size < 1_500_000
