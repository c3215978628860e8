"""scp2jsonl and jsonl2scp, as a user runs them."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr.bin.manifest import JsonlToScp, ScpToJsonl, jsonl2scp, scp2jsonl
from funasr.train.manifest import text_length


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    for name, rate, seconds in [("a", 16_000, 2.0077), ("b", 8_000, 3.0)]:
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(int(rate * seconds)), rate)
    (tmp_path / "wav.scp").write_text(
        f"u1 {tmp_path}/a.wav\nu2\t{tmp_path}/b.wav\nu3 https://example.com/c.wav\n", encoding="utf-8"
    )
    (tmp_path / "text.txt").write_text("u2 你好\nu1 machine learning 好\nu3 yes\n", encoding="utf-8")
    return tmp_path


def convert(folder: Path, *more: str) -> int:
    return scp2jsonl(
        [
            f'++scp_file_list=["{folder}/wav.scp","{folder}/text.txt"]',
            '++data_type_list=["source","target"]',
            f"++jsonl_file_out={folder}/out.jsonl",
            *more,
        ]
    )


def records(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_lists_are_joined_by_key_in_the_order_of_the_first(lists: Path) -> None:
    assert convert(lists) == 0

    assert records(lists) == [
        {
            "key": "u1",
            "source": f"{lists}/a.wav",
            "source_len": 200,
            "target": "machine learning 好",
            "target_len": 3,
        },
        {"key": "u2", "source": f"{lists}/b.wav", "source_len": 300, "target": "你好", "target_len": 2},
        # A URL is kept, and measured only when asked: it would have to be fetched.
        {"key": "u3", "source": "https://example.com/c.wav", "target": "yes", "target_len": 3},
    ]
    assert "你好" in (lists / "out.jsonl").read_text(encoding="utf-8")


def test_what_is_left_out_is_told_with_its_reason(lists: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(lists / "wav.scp", "a") as file:
        file.write(f"u4 {lists}/none.wav\nu5 {lists}/wav.scp\nu1 again.wav\nalone\n")
    with open(lists / "text.txt", "a") as file:
        file.write("u4 four\nu5 five\nu9 nine\n")

    assert convert(lists) == 1

    assert [record["key"] for record in records(lists)] == ["u1", "u2", "u3"]
    said = capsys.readouterr()
    for part in ["u4:", "none.wav", "u5:", "u9 is not in", "u1 occurs again", "'alone' stands alone"]:
        assert part in said.err
    assert "3 utterances, 5 faults" in said.out


def test_an_utterance_without_a_text_is_kept_and_told(
    lists: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lists / "text.txt").write_text("u1 a\nu3 b\n")

    assert convert(lists) == 1
    assert "target" not in records(lists)[1]
    assert "u2 has no target" in capsys.readouterr().err


def test_the_result_does_not_depend_on_the_number_of_workers(lists: Path) -> None:
    convert(lists)
    alone = records(lists)
    convert(lists, "++workers=1")
    assert records(lists) == alone


def test_there_and_back(lists: Path) -> None:
    convert(lists)

    status = jsonl2scp(
        [
            f'++scp_file_list=["{lists}/back.scp","{lists}/back.txt"]',
            '++data_type_list=["source","target"]',
            f"++jsonl_file_in={lists}/out.jsonl",
        ]
    )

    assert status == 0
    assert (lists / "back.txt").read_text(encoding="utf-8") == "u1\tmachine learning 好\nu2\t你好\nu3\tyes\n"
    assert (lists / "back.scp").read_text().splitlines()[2] == "u3\thttps://example.com/c.wav"


def test_a_text_of_several_lines_is_left_out_of_lists(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        {"key": key, "source": "a.wav", "target": text} for key, text in (("u1", "a\nu3 b"), ("u2", "c"))
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, given)))

    status = jsonl2scp(
        [f"++jsonl_file_in={tmp_path}/in.jsonl", f"++scp_file_list=[{tmp_path}/a,{tmp_path}/b]"]
    )

    assert status == 1
    assert (tmp_path / "b").read_text() == "u2\tc\n"
    assert "line 1: target with a line break within" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["++jsonl_file_out=x", '++scp_file_list=["a"]'], "each file needs"),
        (["++jsonl_file_out=x", "++scp_file_list=3", '++data_type_list=["source"]'], "expected a list"),
        (["++jsonl_file_ot=x"], "jsonl_file_out"),
        (["jsonl_file_out"], "expected ++name=value"),
        (
            ['++scp_file_list=["/no/list.scp"]', '++data_type_list=["source"]', "++jsonl_file_out=x"],
            "/no/list",
        ),
        (["++scp_file_list=[a,b]", "++data_type_list=[source,source]", "++jsonl_file_out=x"], "twice"),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scp2jsonl(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_line_that_is_no_json_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text('{"key": "a", "source": "b", "target": "c"}\nnonsense\n')

    status = jsonl2scp(
        [f"++jsonl_file_in={tmp_path}/in.jsonl", f"++scp_file_list=[{tmp_path}/a,{tmp_path}/b]"]
    )

    assert status == 2
    assert "line 2" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_lengths_of_texts_are_words_or_characters() -> None:
    assert text_length("machine learning") == 2
    assert text_length("甚至出现交易几乎停滞的情况") == 13
    assert text_length("") == 0


@pytest.mark.parametrize("command", [scp2jsonl, jsonl2scp])
def test_the_help_has_every_setting_and_an_example(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        command(["--help"])

    said = capsys.readouterr().out
    assert done.value.code == 0
    settings = fields(ScpToJsonl if command is scp2jsonl else JsonlToScp)
    assert [field.name for field in settings if f"++{field.name}=" not in said] == []
    assert f"example: {command.__name__} ++" in said


@pytest.mark.parametrize("command", [scp2jsonl, jsonl2scp])
def test_nothing_to_do_is_one_line_with_an_example(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([]) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"{command.__name__}: nothing to do. example: {command.__name__} ++")
    assert said.count("\n") == 1
