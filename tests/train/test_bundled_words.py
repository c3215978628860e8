"""The bundled recognizer of twenty words: on clips made for it, and on people who were in no training."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from funasr import AutoModel
from funasr.audio.load import load_audio
from funasr.result import Transcript

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model() -> AutoModel:
    return AutoModel(
        model=str(ROOT / "funasr" / "bundled" / "paraformer-words-en"), device="cpu", disable_pbar=True
    )


@pytest.fixture(scope="module")
def samples() -> dict[Path, str]:
    folder = ROOT / "funasr" / "bundled" / "samples"
    pairs = (
        line.split(maxsplit=1) for line in (folder / "text.txt").read_text(encoding="utf-8").splitlines()
    )
    return {folder / name: words for name, words in pairs}


def confidence(transcript: Transcript) -> float:
    """Mean over the words; 0 for none."""
    return float(np.mean([token.confidence for token in transcript.tokens] or [0.0]))


def test_every_demo_clip_is_transcribed_right_with_times_in_order(
    model: AutoModel, samples: dict[Path, str]
) -> None:
    assert len(samples) >= 8
    for heard, (path, words) in zip(
        model.transcribe([str(path) for path in samples]), samples.items(), strict=True
    ):
        assert heard.text == words, path.name
        starts = [token.start_ms for token in heard.tokens]
        assert starts == sorted(starts)
        for token in heard.tokens:
            assert token.start_ms is not None
            assert token.end_ms is not None
            assert 0 <= token.start_ms < token.end_ms <= heard.duration_ms


def test_words_with_long_pauses_have_their_times_far_apart(
    model: AutoModel, samples: dict[Path, str]
) -> None:
    path = next(path for path in samples if path.stem == "pauses")

    (heard,) = model.transcribe(str(path))

    starts = [token.start_ms or 0 for token in heard.tokens]
    assert len(starts) == 4
    # 1,200 ms of silence and a word lie between two onsets.
    assert all(1200 < later - earlier < 2200 for earlier, later in pairwise(starts))


def test_silence_and_noise_are_an_empty_text(model: AutoModel) -> None:
    rng = np.random.default_rng(0)
    sounds = [
        np.zeros(16000, dtype=np.float32),
        rng.normal(0, 0.01, 24000).astype(np.float32),
        np.zeros(100, dtype=np.float32),
    ]

    assert [heard.text for heard in model.transcribe(sounds, fs=16000)] == ["", "", ""]


def test_the_model_is_small_and_its_card_is_there() -> None:
    folder = ROOT / "funasr" / "bundled" / "paraformer-words-en"

    assert sum(path.stat().st_size for path in folder.iterdir()) < 20e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in card
    assert "CC BY-SA 4.0" in card


def test_people_who_were_in_no_training_are_understood(
    model: AutoModel, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "train_bundled"))
    import words_data

    texts = words_data.read_table(shared / "data/asr/speech_commands/text.txt")
    speakers = words_data.read_table(shared / "data/asr/speech_commands/utt2spk")
    paths = words_data.read_table(shared / "data/asr/speech_commands/wav.scp")
    keys = [key for key in paths if words_data.part_of(speakers[key]) == "test"][:60]
    folder = shared / "data/asr/speech_commands"

    heard = model.transcribe([str(folder / paths[key]) for key in keys])
    wrong = sum(got.text != texts[key] for got, key in zip(heard, keys, strict=True))

    assert len(keys) == 60
    assert wrong <= 6
    sys.modules.pop("words_data", None)


def test_prose_does_not_come_out_as_confident_words(model: AutoModel, shared: Path) -> None:
    for name in ("test_en/wavs/jfk.flac", "test_zh/wavs/funasr_asr_example.wav"):
        (heard,) = model.transcribe([load_audio(shared / "data/asr" / name)], fs=16000)

        assert confidence(heard) < 0.5, heard.text
