"""Words and labels -> text: spacing, capitals, and the end of a text."""

from __future__ import annotations

import pytest

from funasr.errors import ModelFilesError
from funasr.text.marks import MarkTable, closed_label, write_live, write_text
from funasr.text.words import split_words

TABLE = MarkTable()
NO, COMMA, END, ASK, PAUSE = 1, 2, 3, 4, 5


def written(text: str, **marks: int) -> str:
    """`_10=2` is label 2 at word 10."""
    words = split_words(text)
    labels = [marks.get(f"_{index}", NO) for index in range(len(words))]
    return write_text([(words, labels)], TABLE)


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        # As the reference writes them.
        (
            "那今天的会就到这里吧 happy new year 明年见",
            {"_10": 2, "_13": 2},
            "那今天的会就到这里吧happy, new year明，年见。",
        ),
        ("hello world how are you", {"_1": 2, "_4": 4}, " Hello world, how are you?"),
        ("你好 hello", {}, "你好hello."),
        ("hello 你好", {}, " Hello你好。"),
        ("你好吗", {"_2": 2}, "你好吗。"),
        ("你好吗", {"_2": 5}, "你好吗。"),
        ("ok", {"_0": 2}, " Ok."),
        ("ok", {"_0": 5}, " Ok。"),
        ("你好吗。", {}, "你好吗。"),
        ("really?", {}, " Really?"),
        ("好 GPU 很 Fast", {"_0": 3}, "好。Gpu很Fast."),
    ],
)
def test_text_is_written_as_upstream_writes_it(text: str, labels: dict[str, int], expected: str) -> None:
    assert written(text, **labels) == expected


def test_each_stretch_begins_like_a_text() -> None:
    assert write_text([(["好"], [END]), (["ok", "go"], [NO, NO])], TABLE) == "好。 Ok go."


def test_no_words_are_no_text() -> None:
    assert write_text([], TABLE) == ""
    assert write_live([], [], TABLE) == ""


def test_an_unknown_mark_is_none() -> None:
    assert TABLE.mark(0) == TABLE.mark(1) == ""


def test_a_live_call_ends_without_a_mark_and_begins_with_the_one_left_open() -> None:
    words = ["跨", "境", "人", "民", "ok", "go"]

    assert write_live(words[:2], [NO, COMMA], TABLE) == "跨境"
    assert write_live(words, [NO, COMMA, NO, END, COMMA, ASK], TABLE, known=2) == "，人民。ok， go"


def test_the_last_label_is_that_of_a_sentence_end() -> None:
    assert closed_label(TABLE, "好", NO) == closed_label(TABLE, "好", COMMA) == END
    assert closed_label(TABLE, "好", ASK) == ASK
    assert closed_label(TABLE, "。", NO) == NO


def test_the_table_is_read_from_the_config() -> None:
    conf = {"punc_list": ["<unk>", "_", "。", "！"], "sentence_end_id": 2}
    table = MarkTable.from_official(conf)

    assert [table.mark(label) for label in range(4)] == ["", "", "。", "！"]
    assert MarkTable.from_official({}) == TABLE
    with pytest.raises(ModelFilesError, match="sentence_end_id is 7"):
        MarkTable.from_official({**conf, "sentence_end_id": 7})
