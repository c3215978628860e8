"""AutoModel with a small fa-zh: the reference's times, lists of pairs, and pairs that do not match."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr import AutoModel
from funasr.auto import align
from funasr.bin.inference import main
from funasr.errors import FunASRError, InputError, OptionError
from tests.small_dirs import golden, make_aligner, sound
from tests.tiny_models import make_vad, talk

PAIR = ("sound", "text")
ALIGNED = golden("aligner/aligned.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_aligner(tmp_path_factory.mktemp("models") / "fa")


@pytest.fixture(scope="module")
def model(folder: Path) -> AutoModel:
    return AutoModel(model=str(folder), device="cpu")


@pytest.mark.parametrize("entry", ALIGNED, ids=lambda entry: entry["input"])
def test_words_and_times_are_the_reference_ones(model: AutoModel, entry: dict[str, Any]) -> None:
    samples = sound(entry["seconds"], entry["seed"])

    [record] = model.generate(input=(samples, entry["input"]), data_type=PAIR)

    assert record == {"key": "utt_1", "text": entry["text"], "timestamp": entry["timestamp"]}


def test_lists_of_pairs_give_a_record_each_in_order(model: AutoModel) -> None:
    entries = [ALIGNED[i] for i in (4, 0, 6, 2, 5, 1, 3)]
    sounds = [sound(entry["seconds"], entry["seed"]) for entry in entries]
    done: list[tuple[int, int]] = []

    for options in ({}, {"batch_size": 1}, {"batch_size": 3}):
        records = model.generate(
            input=(sounds, [entry["input"] for entry in entries]),
            data_type=PAIR,
            progress_callback=lambda *now: done.append(now),
            **options,
        )
        assert [record["timestamp"] for record in records] == [entry["timestamp"] for entry in entries]
        assert [record["text"] for record in records] == [entry["text"] for entry in entries]
    assert done == [(number, 7) for number in range(1, 8)] * 3


def test_list_files_pair_by_key_and_results_are_written(model: AutoModel, tmp_path: Path) -> None:
    lines = []
    for name, entry in zip("ab", ALIGNED, strict=False):
        soundfile.write(
            tmp_path / f"{name}.wav", sound(entry["seconds"], entry["seed"]), 16000, subtype="FLOAT"
        )
        lines.append(f"{name} {tmp_path / name}.wav\n")
    (tmp_path / "wav.scp").write_text("".join(lines))
    (tmp_path / "text.txt").write_text(f"b {ALIGNED[1]['input']}\na {ALIGNED[0]['input']}\n")

    records = model.generate(
        input=(str(tmp_path / "wav.scp"), str(tmp_path / "text.txt")),
        data_type=PAIR,
        output_dir=str(tmp_path / "out"),
    )

    assert records == [
        {"key": name, "text": entry["text"], "timestamp": entry["timestamp"]}
        for name, entry in zip("ab", ALIGNED, strict=False)
    ]
    written = tmp_path / "out" / "tp_res"
    assert (written / "timestamp_list").read_text().splitlines()[0] == f"a {ALIGNED[0]['timestamp']}"
    spans = (written / "timestamp_str").read_text().splitlines()[0].split(";")
    assert spans[:2] == ["a <sil> 0.000 0.210", "今 0.210 0.450"]


@pytest.mark.parametrize(
    ("samples", "text", "said"),
    [
        (sound(1.0, 0), "", "has no words"),
        (sound(1.0, 0), "，。", "has no words"),
        (sound(1.0, 0), "今" * 60, "60 tokens, and 1.00 s of sound have room for 50"),
        (np.zeros(0, np.float32), "今", "1 tokens, and 0.00 s of sound"),
        ("missing.wav", "今", "missing.wav"),
    ],
)
def test_a_pair_that_cannot_match_is_an_error_of_its_own(
    model: AutoModel, samples: Any, text: str, said: str
) -> None:
    good = ALIGNED[0]
    sounds = [samples, sound(good["seconds"], good["seed"])]

    first, second = model.generate(input=(sounds, [text, good["input"]]), data_type=PAIR)

    assert said in first["error"]
    assert first["text"] == ""
    assert first["timestamp"] == []
    assert second["timestamp"] == good["timestamp"]
    with pytest.raises(FunASRError, match=said):
        model.generate(input=(sounds, [text, good["input"]]), data_type=PAIR, on_error="raise")


def test_sound_without_text_is_an_error(model: AutoModel) -> None:
    with pytest.raises(InputError, match=r"data_type=\('sound', 'text'\)"):
        model.generate(input=sound(1.0, 0))


def test_typed_results_come_one_by_one(model: AutoModel) -> None:
    entry = ALIGNED[2]
    samples = sound(entry["seconds"], entry["seed"])

    [transcript] = model.transcribe((samples, entry["input"]), data_type=PAIR)

    assert [token.text for token in transcript.tokens] == ["hello", "world"]
    assert transcript.duration_ms == len(samples) // 16


def test_companions_of_a_recognizer_have_no_part_in_it(folder: Path) -> None:
    with pytest.raises(OptionError, match="only finds times for a text; leave punc_model out"):
        AutoModel(model=str(folder), punc_model="ct-punc", device="cpu")


def test_a_long_sound_is_aligned_by_its_speech(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    vad = make_vad(tmp_path / "vad")
    samples = talk(("quiet", 1.0), ("loud", 2.0), ("quiet", 3.0), ("loud", 4.0), ("quiet", 1.0))
    pair = (samples, "今天好去 来我 今天好去来我")
    own = AutoModel(model=str(folder), vad_model=str(vad), device="cpu")
    [whole] = own.generate(input=pair, data_type=PAIR)

    monkeypatch.setattr(align, "LONG_S", 10.0)
    monkeypatch.setattr(align, "PART_MS", 3_000)
    [record] = own.generate(input=pair, data_type=PAIR)
    [without] = AutoModel(model=str(folder), device="cpu").generate(input=pair, data_type=PAIR)

    assert record["text"] == whole["text"] == without["text"]
    assert without["timestamp"] == whole["timestamp"] != record["timestamp"]
    assert "vad_model='fsmn-vad' would cut it" in caplog.text
    starts = [start for start, _ in record["timestamp"]]
    assert starts == sorted(starts)
    assert all(500 <= start <= 3900 or 5500 <= start <= 11_000 for start in starts)
    assert sum(start < 4000 for start in starts) in range(2, 7)  # of 12 words in 2 s and 4 s of speech
    too_much = (samples, "今" * 1000)
    [failed] = own.generate(input=too_much, data_type=PAIR)
    assert "1000 tokens" in failed["error"]


def test_the_documented_command_takes_pairs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = ALIGNED[0]
    soundfile.write(tmp_path / "a.wav", sound(entry["seconds"], entry["seed"]), 16000, subtype="FLOAT")
    (tmp_path / "wav.scp").write_text(f"a {tmp_path}/a.wav\n")
    (tmp_path / "text.txt").write_text(f"a {entry['input']}\n")

    status = main(
        [
            f"++model={folder}",
            "++device=cpu",
            f'++input=["{tmp_path}/wav.scp","{tmp_path}/text.txt"]',
            '++data_type=["sound","text"]',
        ]
    )

    assert status == 0
    assert json.loads(capsys.readouterr().out) == {
        "key": "a",
        "text": entry["text"],
        "timestamp": entry["timestamp"],
    }
