"""funasr-data, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from funasr.bin.data import main


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000), 16_000)
    path = tmp_path / "train.jsonl"
    rows = [("a", "a.wav", "one two"), ("b", "b.wav", "one"), ("c", "a.wav", "九")]
    path.write_text(
        "".join(
            json.dumps({"key": key, "source": str(tmp_path / name), "source_len": 100, "target": text}) + "\n"
            for key, name, text in rows
        )
    )
    return path


def test_faults_are_on_stderr_and_totals_on_stdout(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(manifest), "-m", "bundled-asr"]) == 1

    said = capsys.readouterr()
    assert said.out.startswith("1 of 3 utterances can be learnt from")
    assert [line.partition(",")[2] for line in said.err.splitlines()] == [
        f" line 2: no sound: no file '{manifest.parent}/b.wav'",
        " line 3: text that the vocabulary cannot write: '九'",
    ]


def test_lengths_are_believed_when_nothing_is_opened(manifest: Path) -> None:
    assert main(["validate", str(manifest), "--no-open"]) == 0
    assert main(["validate", str(manifest), "--no-open", "++max_source_length=99"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/no/list.jsonl"], "no data list"),
        (["LIST", "++max_source_lenght=9"], "max_source_length"),
        (["LIST", "-m", "bundled-asf"], "bundled-asr"),
    ],
)
def test_a_wrong_command_is_one_line(
    arguments: list[str], said: str, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *[str(manifest) if a == "LIST" else a for a in arguments]]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
