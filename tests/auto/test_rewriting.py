"""Digits and hotwords through AutoModel: a recognizer that hears numbers and names at random."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from funasr.auto.auto_model import AutoModel
from funasr.errors import OptionError
from tests.tiny_models import TOKENS, make_ct_punc, make_paraformer, make_vad, talk

NUMERALS = ["一", "二", "三", "四", "五", "六", "七", "八", "九", "幺", "零", "百", "十", "万", "千", "元"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, kind in (("timed", "BiCifParaformer"), ("seaco", "SeacoParaformer")):
        make_paraformer(folder / name, kind)
        tokens = [*TOKENS[:3], *NUMERALS, "<unk>"]
        assert len(tokens) == len(TOKENS)
        (folder / name / "tokens.json").write_text(json.dumps(tokens), encoding="utf-8")
        (folder / name / "seg_dict").write_text("".join(f"{w} {w}\n" for w in NUMERALS), encoding="utf-8")
    make_vad(folder / "vad")
    make_ct_punc(folder / "punc")
    return folder


SOUND = talk(("quiet", 0.5), ("loud", 2.5), ("quiet", 1.0), ("loud", 2.0), ("quiet", 0.5))


@pytest.fixture(scope="module")
def model(models: Path) -> AutoModel:
    return AutoModel(model=str(models / "timed"), vad_model=str(models / "vad"), device="cpu")


def test_use_itn_writes_digits_and_keeps_the_words_and_the_times_of_the_whole(model: AutoModel) -> None:
    [plain] = model.generate(input=SOUND)

    [record] = model.generate(input=SOUND, use_itn=True, return_raw_text=True)

    assert any(char.isdigit() for char in record["text"])
    assert record["raw_text"] == plain["text"]
    assert " ".join(record["words"]) == record["text"]
    assert len(record["words"]) == len(record["timestamp"]) == len(record["confidence"])
    assert len(record["words"]) < len(plain["timestamp"])
    assert record["timestamp"][0][0] == plain["timestamp"][0][0]
    assert record["timestamp"][-1][1] == plain["timestamp"][-1][1]
    assert model.generate(input=SOUND, text_norm="withitn")[0]["text"] == record["text"]
    assert model.generate(input=SOUND, text_norm="woitn", use_itn=True) == [plain]


def test_digits_stand_in_punctuated_texts_and_sentences(models: Path) -> None:
    model = AutoModel(
        model=str(models / "timed"), punc_model=str(models / "punc"), device="cpu", use_itn=True
    )

    [record] = model.generate(input=SOUND, sentence_timestamp=True)

    assert any(char.isdigit() for char in record["text"])
    assert "".join(s["text"] for s in record["sentence_info"]).replace(" ", "") == record["text"].replace(
        " ", ""
    )
    assert sum(len(s["timestamp"]) for s in record["sentence_info"]) == len(record["timestamp"])


def test_a_repair_is_in_the_text_the_sentences_the_matches_and_the_report(model: AutoModel) -> None:
    [plain] = model.generate(input=SOUND)
    wrong = "".join(plain["text"].split()[0:2])

    [record] = model.generate(
        input=SOUND,
        postprocess_hotwords={wrong: "达摩"},
        return_postprocess_hotword_matches=True,
        return_hotword_report=True,
        sentence_timestamp=True,
    )

    assert record["text"].split()[0:2] == ["达", "摩"]
    assert record["timestamp"] == plain["timestamp"]
    assert "达 摩" in record["sentence_info"][0]["text"]
    match = record["postprocess_hotword_matches"][0]
    assert match["original"] == wrong
    assert plain["text"][match["start"] : match["end"]].replace(" ", "") == wrong
    [report] = record["hotwords"]
    assert (report["hotword"], report["encoded"]) == ("达摩", None)
    assert report["applied"] == len(record["postprocess_hotword_matches"]) >= 1


def test_the_report_says_what_the_vocabulary_can_spell(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = AutoModel(model=str(models / "seaco"), device="cpu")

    caplog.clear()
    [record] = model.generate(input=SOUND, hotword="一百 龘", return_hotword_report=True)
    assert sum("cannot be spelt" in line for line in caplog.messages) == 1

    assert [(r["hotword"], r["encoded"]) for r in record["hotwords"]] == [("一百", True), ("龘", False)]


def test_a_rule_file_is_read_and_a_threshold_is_checked(model: AutoModel, tmp_path: Path) -> None:
    first = model.generate(input=SOUND)[0]["text"].split()[0]
    path = tmp_path / "rules.txt"
    path.write_text(f"{first} => 甲\n", encoding="utf-8")

    [record] = model.generate(input=SOUND, postprocess_hotword_file=path)

    assert record["text"].split()[0] == "甲"
    with pytest.raises(ValueError, match=r"postprocess_hotword_threshold is 2\.0"):
        model.generate(input=SOUND, postprocess_hotword_threshold=2.0)


def test_what_writes_no_words_writes_no_digits(models: Path) -> None:
    with pytest.raises(OptionError, match=r"use_itn: .* does not turn speech into words"):
        AutoModel(model=str(models / "vad"), device="cpu", use_itn=True)
