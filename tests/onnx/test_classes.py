"""Upstream's classes: what they take, and the shapes of what they give."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import funasr_onnx
from funasr import AutoModel
from funasr.decode.timestamps import RUNTIME_RULE, token_times
from funasr.errors import InputError, ModelFilesError, OptionError
from funasr.text.words import split_words
from funasr_onnx import opening
from funasr_onnx.utils.postprocess_utils import (
    rich_transcription_postprocess,
    sentence_postprocess,
    sentence_postprocess_sentencepiece,
)
from tests import small_dirs
from tests.auto.test_engine import export
from tests.tiny_models import make_ct_punc, make_paraformer, make_vad, talk

SPEECH = talk(("loud", 2.0))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("Paraformer", "BiCifParaformer", "SeacoParaformer", "ContextualParaformer"):
        export(make_paraformer(folder / name, name))
    export(make_ct_punc(folder / "punc"))
    export(make_ct_punc(folder / "live", "CTTransformerStreaming"))
    export(make_vad(folder / "vad"))
    export(small_dirs.make_sense_voice(folder / "sense"))
    return folder


def opened(name: str, folder: Path, **more: Any) -> Any:
    return getattr(funasr_onnx, name)(folder, intra_op_num_threads=1, **more)


def test_a_paraformer_gives_text_and_words(models: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", SPEECH, 16000, subtype="FLOAT")
    model = opened("Paraformer", models / "Paraformer")

    [found] = model(SPEECH)

    text, words = found["preds"]
    assert text
    assert "".join(words).lower() == text.replace(" ", "").lower()
    assert model(str(tmp_path / "a.wav")) == [found]
    assert model([str(tmp_path / "a.wav"), tmp_path / "a.wav"]) == [found, found]
    assert model(np.zeros(0, np.float32)) == [{"preds": ("", [])}]


def test_a_paraformer_with_times_gives_one_for_each_word(models: Path) -> None:
    [found] = opened("Paraformer", models / "BiCifParaformer")(SPEECH)

    assert sorted(found) == ["preds", "raw_tokens", "timestamp"]
    assert found["preds"]
    assert all(0 <= start <= end for start, end in found["timestamp"])
    assert len(found["raw_tokens"]) >= len(found["timestamp"])
    assert opened("Paraformer", models / "BiCifParaformer")(np.zeros(0, np.float32)) == [
        {"preds": "", "timestamp": [], "raw_tokens": []}
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_batches_give_what_single_utterances_give_in_order(models: Path, batch_size: int) -> None:
    sounds = [talk(("loud", seconds), seed=seed) for seed, seconds in enumerate((2.0, 0.5, 1.2, 3.0, 0.1))]
    alone = opened("Paraformer", models / "BiCifParaformer")

    together = opened("Paraformer", models / "BiCifParaformer", batch_size=batch_size)(sounds)

    assert together == [alone(sound)[0] for sound in sounds]


@pytest.mark.parametrize("name", ["SeacoParaformer", "ContextualParaformer"])
def test_hotwords_are_phrases_parted_by_blanks(models: Path, name: str) -> None:
    model = opened(name, models / name)

    [plain] = model(SPEECH)
    [told] = model(SPEECH, "今天 不错 " + "天" * 14)  # upstream fails at phrases of more than 10 characters
    several = model([SPEECH, SPEECH[:9000], SPEECH], "今天")  # and at a second batch

    assert model(SPEECH, hotwords="") == [plain]
    assert told.keys() == plain.keys()
    assert several[0] == several[2]


def test_a_class_for_other_models_says_so(models: Path) -> None:
    with pytest.raises(ModelFilesError, match="holds a CTTransformer; this class runs a SeacoParaformer"):
        funasr_onnx.SeacoParaformer(models / "punc")
    with pytest.raises(OptionError, match="model_dir is None"):
        funasr_onnx.Paraformer()


def test_an_option_that_upstream_passes_on_is_answered(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened("Paraformer", models / "Paraformer", disable_update=True)

    assert "'disable_update' has no effect" in caplog.text


def test_whole_texts_get_marks_and_labels(models: Path) -> None:
    model = opened("CT_Transformer", models / "punc")
    text = "今天天气很不错" * 9 + "hello world"

    found, labels = model(text)

    assert found.rstrip("。？.?").replace("，", "") != text
    assert found[-1] in "。？.?"
    assert len(labels) == 7 * 9 + 2
    assert found == AutoModel(models / "punc", device="cpu").generate(text)[0]["text"]
    assert model(text, split_size=3)[0] != found
    assert model("") == ("", [])


def test_a_live_text_goes_on_where_the_dictionary_says(models: Path) -> None:
    model = opened("CT_Transformer_VadRealtime", models / "live")
    calls = ["今天天气很不错", "我们去", "hello world 好天气", "不错我们来"]
    memory: dict[str, Any] = {"cache": []}
    cache: dict[str, Any] = {}
    reader = AutoModel(models / "live", device="cpu")

    for text in calls:
        carried = len(memory["cache"])
        said, marks, words = model(text, param_dict=memory)

        assert said == reader.generate(text, cache=cache)[0]["text"]
        assert words == memory["cache"]
        new = len(split_words(text))
        assert len(marks) == new + min(carried, 1)  # that of the word before was open
        assert marks[-1] == "_"
    assert model("好", param_dict={"cache": []}) == model("好")


def test_sense_voice_gives_texts_with_tags(models: Path, tmp_path: Path) -> None:
    model = opened("SenseVoiceSmall", models / "sense", batch_size=2)
    sounds = [talk(("loud", seconds)) for seconds in (1.0, 0.6, 1.4)]
    by_torch = AutoModel(models / "sense", device="cpu", engine="torch")
    (tmp_path / "languages").write_text("zh\nauto\nen\n")

    found = model(sounds, language="zh", textnorm="withitn")

    expected = [by_torch.generate(one, language="zh", use_itn=True)[0]["text"] for one in sounds]
    assert found == expected
    assert model(sounds, language="zh", use_itn=True) == found
    each = model(sounds, language=["zh", "auto", "en"])
    assert each == [model(s, language=one)[0] for s, one in zip(sounds, ("zh", "auto", "en"), strict=True)]
    assert model(sounds, language=tmp_path / "languages") == each
    with pytest.raises(OptionError, match=r"textnorm is 'withit'\. Did you mean 'withitn'"):
        model(sounds, textnorm="withit")
    with pytest.raises(OptionError, match="2 values for 3 utterances"):
        model(sounds, language=["zh", "en"])


def test_one_recognizer_serves_many_threads(models: Path) -> None:
    model = opened("Paraformer", models / "BiCifParaformer")
    sounds = [talk(("loud", 0.5 + at / 4), seed=at) for at in range(6)]
    serial = [model(sound) for sound in sounds]
    got: list[Any] = [None] * len(sounds)

    def work(at: int) -> None:
        got[at] = model(sounds[at])

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(sounds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == serial


# Graphs that are not there


def test_a_missing_graph_is_made_by_an_export(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(models / "vad", tmp_path / "vad")
    (folder / "model.onnx").unlink()
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command[1:])
        shutil.copyfile(models / "vad" / "model.onnx", folder / "model.onnx")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(opening.subprocess, "run", run)

    assert opened("Fsmn_vad", folder)(SPEECH) == opened("Fsmn_vad", models / "vad")(SPEECH)
    assert asked == [["-m", "funasr.bin.export", f"++model={folder}", "++quantize=false"]]


def test_a_graph_that_cannot_be_made_says_what_to_do(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(models / "vad", tmp_path / "vad")
    monkeypatch.setattr(opening.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(ModelFilesError, match=r"no model_quant\.onnx\. To make it: funasr-export"):
        opened("Fsmn_vad", folder, quantize=True)

    monkeypatch.undo()
    failed = subprocess.CompletedProcess([], 2, "", "working\nfunasr-export: the disk is full")
    monkeypatch.setattr(opening.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ModelFilesError, match=r"making it failed: funasr-export: the disk is full"):
        opened("Fsmn_vad", folder, quantize=True)


# Texts


def test_pieces_become_words_as_upstream_writes_them() -> None:
    golden = json.loads((Path(__file__).parents[1] / "golden" / "onnx" / "pieces.json").read_text("utf-8"))

    for case in golden["pieces"]:
        words = case["words"]
        times = [[at * 100, at * 100 + 80] for at in range(len(words))]
        assert list(sentence_postprocess(words)) == case["plain"], words
        assert list(sentence_postprocess(words, times)) == case["timed"], words
    for words, expected in golden["sentencepieces"]:
        assert list(sentence_postprocess_sentencepiece(words)) == expected, words


def test_times_are_those_of_upstreams_runtime() -> None:
    golden = json.loads((Path(__file__).parents[1] / "golden" / "onnx" / "times.json").read_text("utf-8"))

    default = []
    for case in golden:
        alphas = np.asarray(case["alphas"], dtype=np.float32)
        found = token_times(alphas, None, case["count"], rule=RUNTIME_RULE)
        assert [list(pair) for pair in found] == case["times"]
        default.append(token_times(alphas, None, case["count"]) == found)
    assert not all(default)  # those of AutoModel are shorter


def test_the_emojis_are_those_of_funasr() -> None:
    assert rich_transcription_postprocess("<|zh|><|HAPPY|><|BGM|><|woitn|>好") == "🎼好😊"


CLASSES = {
    "Paraformer": "BiCifParaformer",
    "ContextualParaformer": "ContextualParaformer",
    "SeacoParaformer": "SeacoParaformer",
    "SenseVoiceSmall": "sense",
    "Fsmn_vad": "vad",
    "Fsmn_vad_online": "vad",
    "CT_Transformer": "punc",
    "CT_Transformer_VadRealtime": "live",
}
"""Class -> the directory of one it runs."""


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model_dir": 5}, "model_dir is 5; give a directory"),
        ({"batch_size": 0}, "batch_size is 0; it must be 1 or more"),
        ({"batch_size": "4"}, "batch_size is '4'; it must be a whole number"),
        ({"device_id": "cuda:0"}, "device_id is 'cuda:0'; it must be -1 for the cpu, or the number of a GPU"),
        ({"intra_op_num_threads": "2"}, "intra_op_num_threads is '2'; it must be a whole number"),
        ({"intra_op_num_threads": -3}, "intra_op_num_threads is -3; it must be 1 or more"),
        ({"quantize": "yes"}, "quantize is 'yes'; it must be True or False"),
    ],
)
def test_values_that_cannot_be_are_one_clear_error(
    models: Path, name: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        getattr(funasr_onnx, name)(**{"model_dir": models / CLASSES[name], **given})


@pytest.mark.parametrize("name", ["CT_Transformer", "CT_Transformer_VadRealtime"])
def test_what_is_no_text_is_one_clear_error(models: Path, name: str) -> None:
    model = opened(name, models / CLASSES[name])

    for text in (5, None, b"x", ["a", "b"]):
        with pytest.raises(InputError, match=r"the text is .*; give a string, and several texts one by one"):
            model(text)
    for size in (0, "20", 1.5):
        with pytest.raises(OptionError, match=r"split_size is .*; it must be a number of words, 1 or more"):
            model("a b", split_size=size)


@pytest.mark.parametrize("memory", [5, [], {"cache": 5}, {"cache": [5]}, {"cache": "abc"}])
def test_a_memory_that_is_none_is_told_with_an_example(models: Path, memory: Any) -> None:
    with pytest.raises(OptionError, match=r"param_dict.* is .*param_dict = \{\"cache\": \[\]\}"):
        opened("CT_Transformer_VadRealtime", models / "live")("a b", param_dict=memory)
    if not isinstance(memory, dict):
        with pytest.raises(OptionError, match="keep a dict for each stream"):
            opened("Fsmn_vad_online", models / "vad")(SPEECH, memory)


def test_the_options_of_a_call_that_have_no_effect_are_told_with_the_nearest(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened("SeacoParaformer", models / "SeacoParaformer")(SPEECH, hotword="好")
    opened("SenseVoiceSmall", models / "sense", batch_sise=2)(SPEECH, lang="zh")

    assert "'hotword' has no effect here. Did you mean 'hotwords'?" in caplog.text
    assert "'batch_sise' has no effect here. Did you mean 'batch_size'?" in caplog.text
    assert "'lang' has no effect here. Did you mean 'language'?" in caplog.text


@pytest.mark.parametrize("given", [{"language": 5}, {"textnorm": [5]}, {"use_itn": "yes"}])
def test_options_of_sense_voice_that_cannot_be_are_named(models: Path, given: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(given))} is "):
        opened("SenseVoiceSmall", models / "sense")(SPEECH, **given)
