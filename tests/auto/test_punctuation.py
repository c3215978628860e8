"""AutoModel with a punctuation model: alone, live, and behind a recognizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funasr import AutoModel
from funasr.errors import InputError, ModelFilesError, OptionError
from tests.tiny_models import make_ct_punc, make_paraformer, make_vad, talk

SOUND = talk(("quiet", 1.0), ("loud", 3.0), ("quiet", 1.5), ("loud", 6.0), ("quiet", 1.0))
TEXT = "今天天气很不错我们去来好 hello world ok 我们去" * 3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_paraformer(folder / "timed")
    make_paraformer(folder / "plain", "Paraformer")
    make_vad(folder / "vad")
    make_ct_punc(folder / "punc")
    make_ct_punc(folder / "live", "CTTransformerStreaming")
    return folder


@pytest.fixture(scope="module")
def punctuation(models: Path) -> AutoModel:
    return AutoModel(model=str(models / "punc"), device="cpu")


@pytest.fixture(scope="module")
def pipeline(models: Path) -> AutoModel:
    return AutoModel(
        model=str(models / "timed"),
        vad_model=str(models / "vad"),
        punc_model=str(models / "punc"),
        device="cpu",
        disable_pbar=True,
    )


def bare(text: str) -> str:
    return "".join(char for char in text if char not in "，。？、,.? ")


def test_a_text_comes_back_with_marks_and_labels(punctuation: AutoModel) -> None:
    [record] = punctuation.generate(input=TEXT)

    assert list(record) == ["key", "text", "punc_array"]
    assert record["punc_array"].dtype == np.int64
    assert len(record["punc_array"]) == 54
    assert record["punc_array"][-1] in (3, 4)
    assert bare(record["text"]).lower() == bare(TEXT)
    assert punctuation.generate(input="") == [{"key": "utt_1", "text": "", "punc_array": None}]


def test_texts_come_as_lists_and_files_too(punctuation: AutoModel, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text(f"one {TEXT}\ntwo 好天\n", encoding="utf-8")

    alone = [punctuation.generate(input=text)[0]["text"] for text in (TEXT, "好天")]
    listed = punctuation.generate(input=[TEXT, "好天"], output_dir=str(tmp_path))
    read = punctuation.generate(input=str(tmp_path / "texts.txt"))

    assert [record["text"] for record in listed] == [record["text"] for record in read] == alone
    assert [record["key"] for record in read] == ["one", "two"]
    written = (tmp_path / "1best_recog" / "text").read_text(encoding="utf-8")
    assert written.splitlines() == [f"utt_{i} {text}" for i, text in enumerate(alone, 1)]


def test_progress_is_told(punctuation: AutoModel) -> None:
    told: list[tuple[int, int]] = []
    punctuation.generate(input=["好"] * 3, progress_callback=lambda done, total: told.append((done, total)))

    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_live_text_keeps_its_cache_between_calls(models: Path) -> None:
    model = AutoModel(model=str(models / "live"), device="cpu")
    cache: dict[str, Any] = {}
    other: dict[str, Any] = {}

    pieces = []
    for start in range(0, len(TEXT), 4):
        pieces.append(model.generate(input=TEXT[start : start + 4], cache=cache)[0]["text"])
        model.generate(input="好天 ok", cache=other)  # a second stream does not disturb the first
    last = model.generate(input="好", cache=cache, is_final=True)[0]["text"]

    assert bare("".join(pieces)) == bare(TEXT)
    assert any(piece[0] in "，。？、" for piece in pieces[1:])
    assert last[-1] in "。？"
    assert cache == {}
    assert other != {}
    again: dict[str, Any] = {}
    assert [
        model.generate(input=TEXT[start : start + 4], cache=again)[0]["text"]
        for start in range(0, len(TEXT), 4)
    ] == pieces


def test_a_live_text_is_one_text_and_one_model_s(models: Path) -> None:
    model = AutoModel(model=str(models / "live"), device="cpu")

    with pytest.raises(InputError, match="one text"):
        model.generate(input=["好", "天"], cache={})
    with pytest.raises(InputError, match="another model"):
        model.generate(input="好", cache={"funasr.punctuation": 1})


def test_behind_a_recognizer_words_and_times_stay(models: Path, pipeline: AutoModel) -> None:
    plain = AutoModel(model=str(models / "timed"), vad_model=str(models / "vad"), device="cpu")

    [before] = plain.generate(input=SOUND)
    [after] = pipeline.generate(input=SOUND, return_raw_text=True)

    assert after["raw_text"] == before["text"]
    assert after["timestamp"] == before["timestamp"]
    assert bare(after["text"]) == bare(before["text"])
    assert after["text"][-1] in "。？.?"


def test_sentences_have_upstream_s_keys_and_partition_the_times(pipeline: AutoModel) -> None:
    [record] = pipeline.generate(input=SOUND, sentence_timestamp=True, return_raw_text=True)
    sentences = record["sentence_info"]

    assert [list(sentence) for sentence in sentences] == [
        ["text", "start", "end", "timestamp", "raw_text"]
    ] * len(sentences)
    assert [pair for sentence in sentences for pair in sentence["timestamp"]] == record["timestamp"]
    assert bare("".join(sentence["text"] for sentence in sentences)) == bare(record["text"])
    [english] = pipeline.generate(input=SOUND, sentence_timestamp=True, en_post_proc=True)
    assert all(sentence["text"][-1] in ",.?" for sentence in english["sentence_info"])


def test_files_are_punctuated_together_as_they_are_alone(pipeline: AutoModel) -> None:
    sounds = [talk(("loud", 1.0 + i), ("quiet", 1.0), seed=i) for i in range(4)]

    together = pipeline.generate(input=sounds)

    for record, sound in zip(together, sounds, strict=True):
        [alone] = pipeline.generate(input=sound)
        assert (record["text"], record["timestamp"]) == (alone["text"], alone["timestamp"])


def test_silence_and_bad_files_pass_through(pipeline: AutoModel, tmp_path: Path) -> None:
    silence, missing = pipeline.generate(input=[np.zeros(16000, np.float32), str(tmp_path / "absent.wav")])

    assert silence == {"key": "utt_1", "text": "", "timestamp": []}
    assert "error" in missing


def test_words_without_times_have_sentences_a_speech_segment(models: Path) -> None:
    model = AutoModel(
        model=str(models / "plain"),
        vad_model=str(models / "vad"),
        punc_model=str(models / "punc"),
        device="cpu",
    )

    [record] = model.generate(input=SOUND, sentence_timestamp=True)

    assert len(record["sentence_info"]) == 2
    assert bare("".join(sentence["text"] for sentence in record["sentence_info"])) == bare(record["text"])


def test_transcribe_and_features_are_punctuated_too(models: Path, pipeline: AutoModel) -> None:
    from funasr import AutoFrontend

    features = AutoFrontend(model=str(models / "timed"))(SOUND)

    [record] = pipeline.generate(**features[0])
    [transcript] = pipeline.transcribe(SOUND)

    assert record["text"][-1] in "。？.?"
    assert any(token.mark for token in transcript.tokens)
    assert transcript.tokens[-1].mark


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "timed", "punc_model": "vad"}, "is no punctuation model; 'ct-punc' is one"),
        ({"model": "timed", "vad_model": "punc"}, "is no voice activity detector"),
        ({"model": "punc", "punc_model": "punc"}, "is a punctuation model itself; leave punc_model out"),
        ({"model": "vad", "punc_model": "punc"}, "is a voice activity detector itself; leave punc_model out"),
    ],
)
def test_models_of_another_kind_are_refused(models: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        AutoModel(device="cpu", **{kind: str(models / name) for kind, name in options.items()})


def test_a_punctuation_model_does_not_transcribe(punctuation: AutoModel) -> None:
    with pytest.raises(OptionError, match="does not transcribe"):
        punctuation.transcribe("a.wav")
    with pytest.raises(InputError):
        punctuation.generate(input=np.zeros(10, np.float32))


def test_a_directory_without_words_says_so(tmp_path: Path) -> None:
    make_ct_punc(tmp_path / "punc")
    (tmp_path / "punc" / "tokens.json").unlink()

    with pytest.raises(ModelFilesError, match="tokens"):
        AutoModel(model=str(tmp_path / "punc"), device="cpu")


def test_a_dictionary_beside_the_model_is_used(tmp_path: Path) -> None:
    folder = make_ct_punc(tmp_path / "punc")
    (folder / "jieba_usr_dict").write_text("去来好 1000\n", encoding="utf-8")

    [record] = AutoModel(model=str(folder), device="cpu").generate(input="我们去来好")

    assert len(record["punc_array"]) == 5
    assert record["punc_array"][[0, 2, 3]].tolist() == [1, 1, 1]  # inside of the words 我们 and 去来好
    assert bare(record["text"]) == "我们去来好"
