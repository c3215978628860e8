"""`funasr` with a SenseVoice model: text for people, tags for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from funasr import AutoModel
from funasr.bin.inference import main
from funasr.utils.postprocess_utils import rich_transcription_postprocess
from tests.small_dirs import make_sense_voice, sound


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make_sense_voice(folder / "sense")
    soundfile.write(folder / "a.wav", sound(3.0, 1), 16000, subtype="FLOAT")
    return folder


def run(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    common = ["-m", str(folder / "sense"), "--vad-model", "none", "--device", "cpu"]
    assert main([*common, *arguments, str(folder / "a.wav")]) == 0
    return capsys.readouterr().out


def test_text_has_emoji_and_json_has_tags(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = AutoModel(model=str(folder / "sense"), device="cpu")
    [record] = model.generate(input=str(folder / "a.wav"), use_itn=True, language="yue")
    assert "<|" in record["text"]

    text = run(folder, capsys, "-l", "yue")
    assert text.strip() == rich_transcription_postprocess(record["text"])
    assert "<|" not in text
    assert json.loads(run(folder, capsys, "-l", "yue", "-f", "json"))["text"] == record["text"]


def test_subtitles_have_the_times_of_words_and_no_tags(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subtitles = run(folder, capsys, "-f", "srt")

    assert "-->" in subtitles
    assert "00:00:00,000 --> 00:00:03,000" not in subtitles  # which is all that is known without times
    assert "<|" not in subtitles


def test_a_language_that_it_does_not_know_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        ["-m", str(folder / "sense"), "--vad-model", "none", "-l", "klingon", str(folder / "a.wav")]
    )

    assert status == 2
    assert "SenseVoice knows auto, zh" in capsys.readouterr().err
