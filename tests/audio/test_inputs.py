"""What `input=` may be -> items with stable, unique keys."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from funasr.audio.inputs import Item, expand_input
from funasr.audio.load import load_audio
from funasr.errors import InputError


def pairs(items: list[Item]) -> list[tuple[str, Any]]:
    return [(item.key, item.source) for item in items]


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ("talks/monday.wav", "monday"),
        (Path("talks/monday.tar.wav"), "monday.tar"),
        ("https://example.com/talks/monday%20noon.mp3?token=1", "monday noon"),
        ("https://example.com/", "utt_1"),
        (b"RIFF", "utt_1"),
        ([0.0, 0.5], "utt_1"),
        ([], None),
    ],
)
def test_single_inputs_are_one_item_named_for_the_file(data: object, key: str | None) -> None:
    items = expand_input(data)
    assert [item.key for item in items] == ([] if key is None else [key])
    assert all(item.source is data for item in items)


def test_arrays_tensors_and_file_objects_are_one_item(tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(b"RIFF")
    with (tmp_path / "call.wav").open("rb") as file:
        assert pairs(expand_input(file)) == [("call", file)]
    for data in (np.zeros((2, 5)), torch.zeros(5), io.BytesIO(b"")):
        [item] = expand_input(data)
        assert item.key == "utt_1"
        assert item.source is data


def test_elements_of_lists_are_items_whatever_they_are() -> None:
    array = np.zeros(3)
    data = ["a.wav", array, b"\0\0", [0.0, 0.1], Path("b.flac")]

    items = expand_input(data)

    assert [item.key for item in items] == ["a", "utt_2", "utt_3", "utt_4", "b"]
    assert all(item.source is element for item, element in zip(items, data, strict=True))
    assert [item.key for item in expand_input(tuple(data))] == [item.key for item in items]
    assert [item.key for item in expand_input(iter(data))] == [item.key for item in items]


def test_equal_names_get_numbers_that_nothing_else_has() -> None:
    data = ["1/a.wav", "2/a.wav", "a_2.wav", "3/a.wav"]
    assert [item.key for item in expand_input(data)] == ["a", "a_3", "a_2", "a_4"]


@given(st.lists(st.sampled_from(["a", "a_2", "a_3", "b", "utt_1"])))
def test_keys_are_unique_and_repeatable(stems: list[str]) -> None:
    data = [f"{stem}.wav" for stem in stems]
    keys = [item.key for item in expand_input(data)]
    assert len(set(keys)) == len(keys)
    assert keys == [item.key for item in expand_input(data)]
    first = {stem: i for i, stem in reversed(list(enumerate(stems)))}
    assert all(keys[i] == stem for stem, i in first.items())


def test_wav_scp_gives_keys_and_paths(tmp_path: Path) -> None:
    beside = tmp_path / "wavs" / "a.wav"
    beside.parent.mkdir()
    beside.touch()
    scp = tmp_path / "wav.scp"
    scp.write_text(
        "\ufeffA wavs/a.wav\n\nB\t/data/with space.wav  \r\nhttps://example.com/c.wav\nD missing.wav\n",
        encoding="utf-8",
    )

    expected = [
        ("A", str(beside)),
        ("B", "/data/with space.wav"),
        ("c", "https://example.com/c.wav"),
        ("D", "missing.wav"),
    ]
    assert pairs(expand_input(str(scp))) == expected
    assert pairs(expand_input(scp)) == expected


def test_paths_in_a_list_start_at_the_working_directory_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "list"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    (tmp_path / "list" / "wav.scp").write_text("a a.wav\n")
    monkeypatch.chdir(tmp_path / "here")

    assert pairs(expand_input("../list/wav.scp")) == [("a", "a.wav")]


def test_equal_keys_in_a_list_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("a 1.wav\na 2.wav\n")
    assert [item.key for item in expand_input(tmp_path / "wav.scp")] == ["a", "a_2"]


def test_jsonl_gives_source_key_and_target(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    lines: list[dict[str, Any]] = [
        {"key": "A", "source": "/data/a.wav", "target": "你好\u2028世界", "source_len": 90},
        {"source": "/data/b.wav"},
        {"key": 3, "source": "https://example.com/c.wav"},
    ]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")

    items = expand_input(path)

    assert pairs(items) == [("A", "/data/a.wav"), ("b", "/data/b.wav"), ("3", "https://example.com/c.wav")]
    assert [item.text for item in items] == ["你好\u2028世界", None, None]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"key": "a"', r"bad\.jsonl, line 3: not JSON"),
        ('"a.wav"', r"line 3: expected an object like"),
        ('{"key": "a", "wav": "a.wav"}', r"line 3: 'source' must be .* there are only key, wav"),
        ('{"source": 5}', r"line 3: 'source' must be .* it is 5"),
        ("[" * 5000, r"line 3: not JSON"),
    ],
)
def test_a_bad_line_of_jsonl_is_named_by_its_number(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"source": "a.wav"}\n\n' + line + "\n")
    with pytest.raises(InputError, match=message):
        expand_input(path)


def test_json_files_are_arrays_objects_or_lines(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    for content in (
        '[{"key": "A", "source": "/a.wav"}, "/b.wav"]',
        '{"key": "A", "source": "/a.wav"}\n{"key": "b", "source": "/b.wav"}\n',
        "A /a.wav\n/b.wav\n",
    ):
        path.write_text(content)
        assert pairs(expand_input(path)) == [("A", "/a.wav"), ("b", "/b.wav")]
    path.write_text('{"key": "A", "source": "/a.wav"}')
    assert pairs(expand_input(path)) == [("A", "/a.wav")]


def test_a_list_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the list '.*gone\.scp': No such file"):
        expand_input(tmp_path / "gone.scp")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(InputError, match=r"folder\.txt"):
        expand_input(tmp_path / "folder.txt")
    (tmp_path / "gbk.txt").write_bytes("键 你好".encode("gb18030"))
    with pytest.raises(InputError, match="not UTF-8 text"):
        expand_input(tmp_path / "gbk.txt")


def test_a_missing_sound_is_an_item_like_any_other() -> None:
    assert pairs(expand_input("gone.wav")) == [("gone", "gone.wav")]


def test_strings_are_texts_where_texts_are_asked_for(tmp_path: Path) -> None:
    assert pairs(expand_input("今天 天气 notes.txt", data_type="text")) == [("utt_1", "今天 天气 notes.txt")]
    texts = tmp_path / "text.txt"
    texts.write_text("A hello there world\n你好\n", encoding="utf-8")
    assert pairs(expand_input(str(texts), data_type="text")) == [
        ("A", "hello there world"),
        ("utt_2", "你好"),
    ]
    assert pairs(expand_input(["a b", "c"], data_type="text")) == [("utt_1", "a b"), ("utt_2", "c")]
    with pytest.raises(InputError, match="expected strings"):
        expand_input([b"a"], data_type="text")


def test_sound_and_text_are_read_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("A /a.wav\nB /b.wav\n")
    (tmp_path / "text.txt").write_text("B two words\nC more\nA one\n")
    both = (str(tmp_path / "wav.scp"), str(tmp_path / "text.txt"))

    items = expand_input(both, data_type=("sound", "text"))

    assert items == [
        Item(key="A", source="/a.wav", text="one"),
        Item(key="B", source="/b.wav", text="two words"),
    ]
    assert expand_input(both[::-1], data_type=["text", "sound"]) == items


def test_one_sound_goes_with_one_text(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("asr_example 欢迎 大家\n", encoding="utf-8")

    assert expand_input(("a.wav", "hello"), data_type=("sound", "text")) == [
        Item(key="a", source="a.wav", text="hello")
    ]
    assert expand_input(("a.wav", str(tmp_path / "text.txt")), data_type=("sound", "text")) == [
        Item(key="asr_example", source="a.wav", text="欢迎 大家")
    ]
    samples = np.zeros(5, np.float32)
    [item] = expand_input((samples, "hello"), data_type=("sound", "text"))
    assert (item.key, item.text) == ("utt_1", "hello")
    assert item.source is samples


def test_texts_in_a_list_go_to_the_files_they_are_named_for(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("b two words\na one\n")

    items = expand_input((["a.wav", "b.wav"], tmp_path / "text.txt"), data_type=("sound", "text"))

    assert [(item.key, item.text) for item in items] == [("a", "one"), ("b", "two words")]


@pytest.mark.parametrize("line", ["今天 天气 很 好", "hello world", "2022 年"])
def test_the_first_word_of_a_text_is_not_taken_for_a_key(line: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(line, encoding="utf-8")
    first = line.split()[0]

    for sound, example in (("a.wav", "a"), (np.zeros(5, np.float32), "utt_1")):
        with pytest.raises(
            InputError, match=f"begins with '{first}'.*begin it with a key, such as '{example}'"
        ):
            expand_input((sound, tmp_path / "text.txt"), data_type=("sound", "text"))
    [item] = expand_input((f"{first}.wav", tmp_path / "text.txt"), data_type=("sound", "text"))
    assert (item.key, item.text) == (first, line.partition(" ")[2])


@pytest.mark.parametrize(
    ("data", "data_type", "message"),
    [
        (("a.wav",), ("sound", "text"), "needs two inputs, one of each, got 1 of them"),
        ("a.wav", ("sound", "text"), "needs two inputs"),
        ((["a.wav", "b.wav"], ["hello"]), ("sound", "text"), "2 sounds and 1 texts"),
        (("a.wav", "hello"), ("sound", "video"), "expected 'sound', 'text', 'fbank' or"),
        ("a.wav", "sonud", r"for pairs\. Did you mean 'sound'\?$"),
        ("a.wav", "kaldi_ark", "expected one of sound, text, fbank"),
        (None, None, "input is NoneType"),
        ({"a": "a.wav"}, None, "input is dict"),
    ],
)
def test_other_forms_are_input_errors(data: Any, data_type: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        expand_input(data, data_type=data_type)


def test_texts_for_some_of_the_sounds_are_an_error_that_names_the_first_without(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("A /a.wav\nB /b.wav\n")
    (tmp_path / "text.txt").write_text("A one\nC two\n")
    with pytest.raises(InputError, match="the key 'B', which the list of texts has not"):
        expand_input((tmp_path / "wav.scp", tmp_path / "text.txt"), data_type=("sound", "text"))


@pytest.mark.parametrize("to_array", [np.asarray, torch.as_tensor])
def test_features_are_one_item_a_row_without_its_padding(to_array: Any) -> None:
    features = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

    whole = expand_input(to_array(features), data_type="fbank")
    cut = expand_input(to_array(features), data_type="fbank", input_len=to_array(np.array([3, 1])))

    assert [item.key for item in whole] == ["utt_1", "utt_2"]
    np.testing.assert_array_equal(whole[1].source, features[1])
    np.testing.assert_array_equal(cut[0].source, features[0])
    np.testing.assert_array_equal(cut[1].source, features[1, :1])
    np.testing.assert_array_equal(expand_input(features[0], data_type="fbank")[0].source, features[0])
    assert [len(item.source) for item in expand_input([features[0], features[1, :2]], data_type="fbank")] == [
        3,
        2,
    ]


@pytest.mark.parametrize(
    ("data", "lengths", "message"),
    [
        (np.zeros(5), None, r"needs floats \(B, T, D\)"),
        (np.zeros((1, 2, 3), int), None, "needs floats"),
        ("a.wav", None, r"expected an array \(B, T, D\)"),
        (np.zeros((2, 3, 4)), [3], "expected 2 frame counts of at most 3"),
        (np.zeros((2, 3, 4)), [3, 4], "expected 2 frame counts of at most 3"),
        (np.zeros((2, 3, 4)), [-1, 2], "expected 2 frame counts of at most 3"),
        ([np.zeros((3, 4))], [3], "not with a list"),
        (np.zeros((2, 3, 0)), None, "needs floats"),
        (np.full((1, 3, 4), np.nan), None, "input 1 of 1 are not all finite"),
        (np.array([[[0.0]], [[np.inf]]]), None, "input 2 of 2 are not all finite"),
        (np.full((1, 3, 4), 1e300), None, "not all finite"),
    ],
)
def test_features_of_the_wrong_shape_are_input_errors(data: Any, lengths: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        expand_input(data, data_type="fbank", input_len=lengths)


def test_padding_of_features_may_hold_anything() -> None:
    features = np.array([[[1.0], [np.nan]]])

    [item] = expand_input(features, data_type="fbank", input_len=[1])

    assert item.source.tolist() == [[1.0]]


def test_a_url_that_is_none_is_an_item_that_fails_when_it_is_opened() -> None:
    items = expand_input(["http://[bad", "a.wav", "http://[bad/b.wav?key=secret"])

    assert [item.key for item in items] == ["[bad", "a", "b"]
    with pytest.raises(InputError, match="not a valid URL"):
        load_audio(items[0].source)
    with pytest.raises(InputError, match=r"cannot download http://\[bad/words.scp: it is not a valid URL"):
        expand_input("http://[bad/words.scp?key=secret")


def test_keys_can_be_given() -> None:
    assert pairs(expand_input("a.wav", key="mine")) == [("mine", "a.wav")]
    assert pairs(expand_input(["a.wav", "b.wav"], key=["x", "x"])) == [("x", "a.wav"), ("x_2", "b.wav")]
    with pytest.raises(InputError, match="key has 1 names for 2 inputs"):
        expand_input(["a.wav", "b.wav"], key="x")
