"""What lines of detectors, speaker models and punctuation hold, and what is wrong with those that do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from funasr.bin.data import main
from funasr.features.config import FrontendConfig
from funasr.text.marks import MarkTable
from funasr.text.words import WordVocabulary, split_words
from funasr.train.check import Limits, check_manifest
from funasr.train.detection import labels
from funasr.train.kinds import PUNCTUATED, SEGMENTS, SPEAKERS, Kind
from funasr.train.marks import MarkExamples, cut, read_marks
from funasr.train.speakers import SpeakerExamples
from funasr.train.utterance import Utterance

SOUND = {"source": "a.wav", "source_len": 100}


@pytest.mark.parametrize(
    ("kind", "line", "said"),
    [
        (SEGMENTS, SOUND, "no 'segments'"),
        (SEGMENTS, SOUND | {"segments": [[0]]}, "'segments' is no list of [start_ms, end_ms]: [[0]]"),
        (SEGMENTS, SOUND | {"target": "one two"}, "'target' is no list"),
        (SEGMENTS, SOUND | {"segments": [[500, 400]]}, "ends before it begins"),
        (SEGMENTS, SOUND | {"segments": [[0, 500], [400, 900]]}, "overlap or are not in order: at 400 ms"),
        (SEGMENTS, SOUND | {"segments": [[0, 1200]]}, "behind the end of its sound: 1200 ms of 1000"),
        (SEGMENTS, SOUND | {"source_len": 9999, "segments": []}, "longer than max_source_length=2048"),
        (SPEAKERS, SOUND, "no 'speaker'"),
        (SPEAKERS, SOUND | {"speaker": " "}, "empty 'speaker'"),
        (PUNCTUATED, {"key": "u"}, "no 'text'"),
        (PUNCTUATED, {"text": "how are you"}, "text without marks"),
        (PUNCTUATED, {"text": "..."}, "empty text"),
        (PUNCTUATED, {"text": "a. " * 3000}, "longer than max_source_length=2048 words"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(
    kind: Kind, line: dict[str, object], said: str, tmp_path: Path
) -> None:
    (tmp_path / "list.jsonl").write_text(json.dumps(line) + "\n")

    report = check_manifest([tmp_path / "list.jsonl"], Limits(), kind=kind)

    [fault] = report.faults
    assert said in str(fault)
    assert not report.good


def test_a_list_is_checked_by_what_its_model_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"text": "yes, no."}\n{"target": "好。"}\n')

    assert main(["validate", str(path), "-m", "bundled-punc"]) == 0
    assert "2 of 2 texts can be learnt from, 3 words" in capsys.readouterr().out
    assert main(["validate", str(path), "--kind", "marks"]) == 0
    assert main(["validate", str(path), "--kind", "speakers", "--no-open"]) == 1
    assert "no 'source'" in capsys.readouterr().err


def test_a_frame_is_speech_where_its_middle_is() -> None:
    # Frames of 25 ms every 10 ms: their middles are 12.5, 22.5, ... ms.
    config = FrontendConfig(lfr_m=5)

    assert labels([(20, 40)], 6, config).tolist() == [0, 1, 1, 0, 0, 0]
    assert labels([], 2, config).tolist() == [0, 0]
    assert labels([(0, 100)], 3, FrontendConfig(lfr_m=7, lfr_n=6)).tolist() == [1, 1, 0]


def test_marks_follow_the_words_that_a_model_reads() -> None:
    words, found = read_marks("“It’s 1,000.5, OK?” 他说：好！", MarkTable(), split_words)

    assert words == ["it's", "1000.5", "ok", "他", "说", "好"]
    assert found == [1, 2, 4, 1, 2, 3]  # ！ is a sentence end where the model has none of its own
    assert read_marks("no end", MarkTable(), split_words) == (["no", "end"], [1, 3])
    assert read_marks("well-known (or not)...", MarkTable(), split_words)[1] == [1, 1, 1, 3]
    joined = read_marks("今天，好。", MarkTable(), lambda text: ["".join(text.split())])
    assert joined == (["今天好"], [3])  # a mark within one word is none


def test_windows_begin_with_sentences_and_cover_all(tmp_path: Path) -> None:
    marks = np.array(([1] * 9 + [3]) * 50, dtype=np.int8)

    windows = cut(marks, [3], np.random.default_rng(0))

    covered = np.zeros(len(marks), bool)
    for first, stop in windows:
        covered[first:stop] = True
    assert covered.all()
    assert np.mean(windows[:, 0] % 10 == 0) > 0.8
    texts = [
        Utterance(key=str(n), source="", text="a b, c d.", frames=4, where="", tags=(None,) * 4)
        for n in range(9)
    ]
    source = MarkExamples(
        texts, WordVocabulary(["a", "b", "c", "<unk>"]), MarkTable(), split_words, fixed=True
    )
    example = source.load(0, 0)
    assert example.features[:4, 0].tolist() == [0, 1, 2, 3]
    assert example.target[:4].tolist() == [1, 2, 1, 3]
    np.testing.assert_array_equal(source.lengths(0), source.lengths(5))


def test_pieces_of_a_pair_are_of_one_speaker_and_of_other_recordings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    utterances = []
    for name, takes in (("ann", 2), ("bob", 1)):
        for take in range(takes):
            path = tmp_path / f"{name}{take}.wav"
            soundfile.write(path, 0.1 * rng.standard_normal(16_000), 16_000)
            utterances.append(Utterance(key=path.stem, source=str(path), text=name, frames=100, where="l"))
    source = SpeakerExamples(utterances, {"ann": 0}, bins=80, piece_frames=40)

    first, unknown = source.load(0, 0), source.load(0, 2)

    assert first.features.shape == (80, 80)
    assert source.lengths(0).tolist() == [80] * 3
    np.testing.assert_allclose(first.features[:40].mean(axis=0), 0, atol=1e-5)
    assert not np.allclose(first.features[:40], first.features[40:])
    assert (first.target.tolist(), unknown.target.tolist()) == ([0], [-1])
    np.testing.assert_array_equal(source.load(3, 0).features, source.load(3, 0).features)
