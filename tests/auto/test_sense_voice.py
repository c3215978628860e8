"""AutoModel with a small SenseVoice: the reference's texts, every option, the pipeline around it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from funasr import AutoFrontend, AutoModel
from funasr.errors import CheckpointMismatchError, OptionError
from funasr.utils.postprocess_utils import rich_transcription_postprocess
from tests.small_dirs import golden, make_sense_voice, sound
from tests.tiny_models import make_paraformer, make_vad, talk

TWO_PHRASES = talk(("quiet", 1.0), ("loud", 2.0), ("quiet", 1.5), ("loud", 1.0), ("quiet", 1.0))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_sense_voice(folder / "sense")
    make_vad(folder / "vad")
    make_paraformer(folder / "plain", "Paraformer")
    return folder


@pytest.fixture(scope="module")
def model(models: Path) -> AutoModel:
    return AutoModel(model=str(models / "sense"), device="cpu")


@pytest.fixture(scope="module")
def pipeline(models: Path) -> AutoModel:
    return AutoModel(model=str(models / "sense"), vad_model=str(models / "vad"), device="cpu")


@pytest.mark.parametrize("entry", golden("sense_voice/heard.json"), ids=str)
def test_texts_are_the_reference_ones(model: AutoModel, entry: dict[str, Any]) -> None:
    [record] = model.generate(input=sound(entry["seconds"], entry["seed"]), **entry["options"])

    assert record["text"] == entry["text"]


def test_files_share_batches_and_give_what_they_give_alone(model: AutoModel) -> None:
    sounds = [sound(seconds, seed) for seed, seconds in enumerate([1.0, 3.0, 1.05, 0.2, 2.9, 0.01])]

    together = model.generate(input=sounds, output_timestamp=True)

    for one, record in zip(sounds, together, strict=True):
        [alone] = model.generate(input=one, output_timestamp=True, key=record["key"])
        assert {**alone, "confidence": 0} == {**record, "confidence": 0}
        assert alone.get("confidence") == pytest.approx(record.get("confidence"), abs=1e-4)


def test_threads_share_a_model(model: AutoModel) -> None:
    calls = [(sound(1.0 + seed % 3, seed), ("zh", "en", "ja")[seed % 3]) for seed in range(12)]

    def run(call: tuple[Any, str]) -> list[dict[str, Any]]:
        return model.generate(input=call[0], language=call[1], output_timestamp=True)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(run, calls)) == [run(call) for call in calls]


def test_words_have_times_when_asked_for(model: AutoModel) -> None:
    [record] = model.generate(input=sound(7.0, 3), output_timestamp=True)

    assert len(record["words"]) == len(record["timestamp"]) == len(record["confidence"]) > 0
    assert all(word in record["text"] and not word.startswith("<|") for word in record["words"])
    assert all(0 <= start <= end <= 7000 for start, end in record["timestamp"])
    [plain] = model.generate(input=sound(7.0, 3))
    assert set(plain) == {"key", "text", "confidence"}


@pytest.mark.parametrize(
    "silence", [np.zeros(0, np.float32), np.zeros(100, np.float32), np.zeros(32000, np.float32), b""]
)
def test_silence_gives_a_record_with_the_usual_keys(pipeline: AutoModel, silence: Any) -> None:
    assert pipeline.generate(input=silence, output_timestamp=True) == [
        {"key": "utt_1", "text": "", "timestamp": [], "words": []}
    ]


def test_segments_are_recognized_apart_and_joined_by_a_blank(model: AutoModel, pipeline: AutoModel) -> None:
    [record] = pipeline.generate(input=TWO_PHRASES, output_timestamp=True, sentence_timestamp=True)

    [transcript] = pipeline.transcribe(TWO_PHRASES)
    parts = []
    for segment in transcript.segments:
        cut = TWO_PHRASES[segment.start_ms * 16 : segment.end_ms * 16]
        [part] = model.generate(input=cut, output_timestamp=True)
        parts.append((segment, part))
    assert len(parts) == 2
    assert record["text"] == " ".join(part["text"] for _, part in parts)
    assert record["words"] == [word for _, part in parts for word in part["words"]]
    assert record["timestamp"] == [
        [start + segment.start_ms, end + segment.start_ms]
        for segment, part in parts
        for start, end in part["timestamp"]
    ]
    assert [sentence["start"] for sentence in record["sentence_info"]] == [
        segment.start_ms for segment, part in parts if part["words"]
    ]
    assert "<|" in record["text"]
    assert not any("<|" in sentence["text"] for sentence in record["sentence_info"])
    assert "<|" not in rich_transcription_postprocess(record["text"])


def test_features_computed_before_give_the_same(models: Path, model: AutoModel) -> None:
    [features] = AutoFrontend(model=str(models / "sense"))(input=sound(3.0, 1))

    [record] = model.generate(**features)

    assert record["text"] == model.generate(input=sound(3.0, 1))[0]["text"]
    assert record["key"] == features["key"][0]


def test_a_default_given_at_construction_is_the_default_of_calls(models: Path, model: AutoModel) -> None:
    own = AutoModel(model=str(models / "sense"), device="cpu", language="nospeech", use_itn=True)
    samples = sound(3.0, 1)

    assert (
        own.generate(input=samples)[0]["text"]
        == (model.generate(input=samples, language="nospeech", text_norm="withitn")[0]["text"])
    )
    assert (
        own.generate(input=samples, language="auto", use_itn=False)[0]["text"]
        == (model.generate(input=samples)[0]["text"])
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"language": "klingon"}, "language is 'klingon'.*SenseVoice knows auto, zh"),
        ({"text_norm": "itn"}, "text_norm is 'itn'"),
        ({"ban_emo_unknown": True}, "Did you mean 'ban_emo_unk'"),
    ],
)
def test_bad_options_are_named(model: AutoModel, given: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        model.generate(input=sound(0.5, 0), **given)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = make_sense_voice(tmp_path / "model")
    state = torch.load(folder / "model.pt", weights_only=True)
    del state["encoder.tp_norm.weight"]
    torch.save(state, folder / "model.pt")

    with pytest.raises(CheckpointMismatchError, match=r"encoder\.tp_norm\.weight"):
        AutoModel(model=str(folder), device="cpu")
