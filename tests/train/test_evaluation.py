"""Test lists, and what is counted of them; the recognizer is a table of answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from funasr.audio.inputs import Item
from funasr.errors import InputError, OptionError
from funasr.result import Segment, Tag, Token, Transcript
from funasr.train.evaluation import (
    Evaluation,
    Listed,
    Reference,
    evaluate,
    read_test_set,
    write_evaluation,
)


def hears(answers: dict[str, str | None], items: list[Item]) -> Iterator[Transcript]:
    """Two seconds each; None is a sound that cannot be read."""
    for item in items:
        answer = answers[item.key]
        words = () if answer is None else tuple(Token(text=word) for word in answer.split())
        error = "no such file" if answer is None else None
        yield Transcript(key=item.key, tokens=words, duration_ms=0 if error else 2000, error=error)


def evaluated(*cases: tuple[str, str | None]) -> Evaluation:
    """(said, heard) of each utterance."""
    references = [Reference(key=str(n), source=f"{n}.wav", text=said) for n, (said, _) in enumerate(cases)]
    answers = {str(n): heard for n, (_, heard) in enumerate(cases)}
    return evaluate(references, lambda items: hears(answers, items))


def test_counts_of_all_utterances_add_up() -> None:
    result = evaluated(("one two", "one two"), ("three four", "free four five"), ("six", ""))

    assert (result.errors.hits, result.errors.total, result.errors.units) == (3, 3, 5)
    assert result.metric == "WER"
    assert result.audio_s == 6.0
    summary = result.summary()
    assert summary["error_rate"] == pytest.approx(0.6)
    assert summary["utterances_right"] == 1
    assert summary["rtf"] == pytest.approx(result.processing_s / 6, abs=1e-5)


def test_a_mixed_list_tells_characters_and_words_apart() -> None:
    summary = evaluated(("我 去 school", "我 来 school"), ("ok", "okay")).summary()

    assert summary["metric"] == "MER"
    assert summary["by_kind"]["characters"]["error_rate"] == 0.5
    assert summary["by_kind"]["words"]["error_rate"] == 0.5
    assert summary["error_rate"] == 0.5


def test_a_sound_that_cannot_be_read_is_kept_and_not_counted(tmp_path: Path) -> None:
    result = evaluated(("one", "one"), ("two", None))
    write_evaluation(result, tmp_path / "out", {"model": "m"})

    assert result.errors.units == 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["model"], summary["utterances"], summary["failed"]) == ("m", 1, 1)
    lines = [json.loads(line) for line in (tmp_path / "out" / "utterances.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines] == ["0", "1"]
    assert "error" not in lines[0]
    assert lines[1]["error"] == "no such file"


def test_a_line_of_the_file_has_text_and_alignment() -> None:
    [one] = evaluated(("one two", "one too")).utterances

    assert one.record() == {
        "key": "0",
        "ref": "one two",
        "hyp": "one too",
        "errors": 1,
        "units": 2,
        "substitutions": 1,
        "deletions": 0,
        "insertions": 0,
        "alignment": [["=", "one", "one"], ["S", "two", "too"]],
        "audio_s": 2.0,
        "source": "0.wav",
    }


def test_the_most_frequent_errors_come_first() -> None:
    result = evaluated(("a b a", "x b x"), ("b", "b c"))

    assert result.confusions() == [("a", "x", 2), ("", "c", 1)]


def test_tags_are_not_heard() -> None:
    segment = Segment(start_ms=0, end_ms=9, first_token=0, stop_token=1, tags=(Tag(text="<|zh|>"),))
    transcript = Transcript(key="a", tokens=(Token(text="好"),), segments=(segment,), verbatim=True)
    result = evaluate([Reference(key="a", source="a.wav", text="好")], lambda items: [transcript])

    assert result.errors.total == 0


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "a.wav").touch()
    return tmp_path


def test_a_jsonl_names_its_bad_lines(desk: Path) -> None:
    (desk / "lists" / "test.jsonl").write_text(
        '{"key": "a", "source": "a.wav", "target": "one"}\n{"key": "b", "source": "b.wav"}\n'
        '{"key": "c", "target": "x"}\n{"source": "d.wav", "target": ""}\n'
    )
    found = read_test_set(["lists/test.jsonl"])

    assert found == Listed(
        references=(
            Reference(key="a", source="lists/a.wav", text="one"),  # it is beside the list
            Reference(key="utt_4", source="d.wav", text=""),
        ),
        faults=("lists/test.jsonl, line 2: no 'target'", "lists/test.jsonl, line 3: no 'source'"),
    )


def test_two_lists_are_joined_by_key(desk: Path) -> None:
    (desk / "lists" / "wav.scp").write_text("a a.wav\nb b.wav\n")
    (desk / "text.txt").write_text("b two words\na one\nc three\n")
    found = read_test_set(["lists/wav.scp"], text="text.txt")

    assert [(r.key, r.source, r.text) for r in found.references] == [
        ("a", "lists/a.wav", "one"),
        ("b", "b.wav", "two words"),
    ]
    assert found.faults == ("text.txt: c is not in lists/wav.scp",)


def test_sounds_are_also_looked_for_where_a_run_was_started(desk: Path) -> None:
    (desk / "test.jsonl").write_text('{"key": "a", "source": "a.wav", "target": "one"}\n')
    [reference] = read_test_set(["test.jsonl"], beside=desk / "lists").references

    assert reference.source == str(desk / "lists" / "a.wav")


def test_lists_that_say_nothing_are_errors(desk: Path) -> None:
    (desk / "wav.scp").write_text("a a.wav\n")
    (desk / "empty.jsonl").write_text("")
    (desk / "bad.jsonl").write_text("{\n")

    with pytest.raises(OptionError, match=r"\+\+text="):
        read_test_set(["wav.scp"])
    with pytest.raises(InputError, match="nothing to evaluate"):
        read_test_set(["empty.jsonl"])
    with pytest.raises(InputError, match=r"bad.jsonl, line 1"):
        read_test_set(["bad.jsonl"])
    with pytest.raises(OptionError, match="one list of sounds"):
        read_test_set(["wav.scp", "wav.scp"], text="text.txt")
