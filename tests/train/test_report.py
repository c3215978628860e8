"""The report of a run: what it says of two evaluations, and what a run leaves for it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from funasr.errors import InputError
from funasr.modeldir import ModelDir
from funasr.text.scoring import align
from funasr.train.evaluation import Evaluation, Reference, Scored
from funasr.train.report import START, Start, changes, note_start, read_start, write_report

SAID = ("one two", "three", "four | five", "six")
NOTE = Start(model="/models/m", weights="/models/m/model.pt", valid_data_set_list="/v.jsonl", folder="/")


def heard(*texts: str | None) -> Evaluation:
    """Of SAID, in its order; None could not be read."""
    utterances = [
        Scored(
            reference=Reference(key=f"utt{n}", source=f"{n}.wav", text=said),
            heard=text or "",
            steps=() if text is None else align(said.split(), text.split()),
            audio_ms=1000,
            error="broken" if text is None else None,
        )
        for n, (said, text) in enumerate(zip(SAID, texts, strict=True))
    ]
    return Evaluation(utterances=tuple(utterances), processing_s=1.0)


BEFORE = heard("one", "three", "for", "six")
AFTER = heard("one two", "free", "four | five", None)


def test_what_changed_is_what_both_could_hear() -> None:
    assert [(c.key, c.gained) for c in changes(BEFORE, AFTER)] == [("utt0", 1), ("utt1", -1), ("utt2", 3)]


def test_a_report_says_what_got_better_and_worse(tmp_path: Path) -> None:
    path = write_report(tmp_path, NOTE, {"before": BEFORE, "after": AFTER}, notes=("A note.",))

    text = path.read_text()
    better, worse = text.split("## What got better")[1].split("## What got worse")
    assert [key for key in ("utt0", "utt1", "utt2") if key in better] == ["utt0", "utt2"]
    assert better.index("utt2") < better.index("utt0")  # more errors went
    assert "four \\| five" in better
    assert "utt1" in worse.split("##")[0]
    assert "WER went from 57.14% to 16.67%, 71% fewer errors" in text
    assert "A note." in text
    assert "Could not be used: utt3: broken" in text
    assert "## Learning" not in text  # there is no log
    record = json.loads((tmp_path / "report.json").read_text())
    assert record["evaluations"]["after"]["substitutions"] == 1
    assert [one["key"] for one in record["worse"]] == ["utt1"]
    assert len((tmp_path / "utterances.before.jsonl").read_text().splitlines()) == 4


def test_a_network_from_scratch_has_no_before(tmp_path: Path) -> None:
    start = Start(model="/models/m", weights=None, valid_data_set_list="/v.jsonl", folder="/")
    text = write_report(tmp_path, start, {"after": AFTER}).read_text()

    assert "from scratch" in text
    assert "got better" not in text


def test_without_matplotlib_there_is_a_report_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.txt").write_text("train, rank: 0, total step: 1, (lr: 1e-3), [('loss', 1.0)]\n")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = write_report(tmp_path, NOTE, {"after": AFTER}).read_text()

    assert 'pip install "funasr[train]"' in text
    assert not (tmp_path / "curves.png").exists()


def test_the_note_of_the_first_run_counts(tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    model.mkdir()
    (model / "config.yaml").write_text("model: Paraformer\n")
    (model / "model.pt").touch()
    directory = ModelDir.open(model, {"valid_data_set_list": "val.jsonl"})
    note_start(out, directory)

    first = read_start(out)
    assert first.weights == str(model / "model.pt")
    assert first.valid_data_set_list == os.path.abspath("val.jsonl")
    (out / "model.pt").touch()  # it has learnt something; what comes now goes on from there
    note_start(out, ModelDir.open(model, {"valid_data_set_list": "other.jsonl"}))
    assert read_start(out) == first


@pytest.mark.parametrize("content", [None, "", "{}", '{"model": 1, "more": 2}'])
def test_a_directory_of_something_else_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / START).write_text(content)

    with pytest.raises(InputError, match="not the output directory of a run"):
        read_start(tmp_path)
