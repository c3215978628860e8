"""Every line of a manifest is either learnt from or named, with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from funasr.errors import InputError
from funasr.text.tokenizer import CharTokenizer
from funasr.train.check import Limits, check_manifest, manifest_paths

TOKENIZER = CharTokenizer(["<blank>", "<s>", "</s>", *"abc", "<unk>"])


def manifest(folder: Path, *lines: object) -> Path:
    path = folder / "list.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def line(key: str = "u", **more: object) -> dict[str, object]:
    return {"key": key, "source": "a.wav", "source_len": 100, "target": "abc", "target_len": 3} | more


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"key": "u"}, "no 'source'"),
        ({"source": "a.wav"}, "no 'target'"),
        (line(target="  "), "empty text"),
        (line(source_len="long"), "is no length"),
        (line(source_len=float("nan")), "is no length"),
        (line(source_len=float("inf")), "is no length"),
        (line(source_len=3000), "max_source_length=2048"),
        (line(source_len=1500, target="a" * 1000), "max_token_length=2200"),
        (line(target="xyz"), "the vocabulary cannot write"),
        (line(source_len=10), "too long for its sound"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(bad: dict[str, object], said: str, tmp_path: Path) -> None:
    path = manifest(tmp_path, line("good"), bad)

    report = check_manifest([path], tokenizer=TOKENIZER)

    assert [utterance.key for utterance in report.good] == ["good"]
    [fault] = report.faults
    assert said in str(fault)
    assert "list.jsonl, line 2" in str(fault)


def test_a_key_that_occurs_again_counts_once(tmp_path: Path) -> None:
    report = check_manifest([manifest(tmp_path, line(), line())])

    assert len(report.good) == 1
    assert "line 1" in str(report.faults[0])


def test_sounds_are_opened_when_asked(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 16_000)
    (tmp_path / "b.wav").write_bytes(b"no sound")
    path = manifest(
        tmp_path,
        line("a", source=str(tmp_path / "a.wav"), source_len=9),
        line("b", source=str(tmp_path / "b.wav")),
        line("c", source=str(tmp_path / "c.wav")),
        line("d", source="https://example.com/d.wav"),
    )

    report = check_manifest([path], open_sounds=True)

    assert [(one.key, one.frames) for one in report.good] == [("a", 50), ("d", 100)]
    assert [fault.kind for fault in report.faults] == ["no sound", "no sound"]
    assert report.summary()[0].startswith("2 of 4 utterances")
    assert "2 left out, no sound; for example" in report.summary()[1]


def test_a_line_that_is_no_json_stops_the_check(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text('{"key": 1\n')
    with pytest.raises(InputError, match="line 1"):
        check_manifest([path])


@given(
    frames=st.integers(0, 5000),
    text=st.text("ab ", max_size=30),
    least=st.integers(0, 50),
    most=st.integers(50, 4000),
)
def test_limits_are_inclusive(frames: int, text: str, least: int, most: int) -> None:
    limits = Limits(min_source_length=least, max_source_length=most, max_token_length=10_000)
    assert (limits.broken_by(frames, text) is None) == (least <= frames <= most)


def test_a_list_of_lists_stands_for_the_files_in_it(tmp_path: Path) -> None:
    files = [manifest(tmp_path, line())]
    for number in range(4):
        files.append(tmp_path / f"{number}.jsonl")
        files[-1].touch()
    listing = tmp_path / "data.list"
    listing.write_text("\n".join(map(str, files)))

    assert manifest_paths(files[0]) == [files[0]]
    assert manifest_paths(listing) == files
    listing.write_text("/no/such.jsonl\n")
    with pytest.raises(InputError, match="no such file"):
        manifest_paths(listing)
    with pytest.raises(InputError, match="no data list"):
        manifest_paths(tmp_path / "none.jsonl")


def test_what_is_taken_for_a_list_says_what_to_do(tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    soundfile.write(sound, np.full(100, 0.5), 16000)
    scp = tmp_path / "wav.scp"
    scp.write_text("a a.wav\n")

    with pytest.raises(InputError, match=r"a\.wav is no data list.*scp2jsonl"):
        manifest_paths(sound)
    with pytest.raises(InputError, match=r"no such file.*scp2jsonl"):
        manifest_paths(scp)
