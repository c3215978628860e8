"""AutoModel with a small fa-zh: the reference's times, lists of pairs, and pairs that do not match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr import AutoModel
from funasr.errors import FunASRError, InputError, OptionError
from tests.small_dirs import golden, make_aligner, sound
from tests.tiny_models import make_vad

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
        (sound(1.0, 0), "今" * 60, "60 tokens, and 1.02 s of sound have room for 50"),
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


def test_companions_of_a_recognizer_have_no_part_in_it(folder: Path, tmp_path: Path) -> None:
    vad = make_vad(tmp_path / "vad")
    with pytest.raises(OptionError, match="only finds times for a text; leave vad_model out"):
        AutoModel(model=str(folder), vad_model=str(vad), device="cpu")
