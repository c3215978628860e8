"""Error rates: what is counted, what is made alike before, and how texts are laid side by side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.text.scoring import Errors, Normalization, align, count, metric_of, split_units

AS_IT_STANDS = Normalization(case=False, punctuation=False, width=False)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("今天天气", ["今", "天", "天", "气"]),
        ("hello big world", ["hello", "big", "world"]),
        ("做machine learning的人", ["做", "machine", "learning", "的", "人"]),
        ("Hello, World! 你好。", ["hello", "world", "你", "好"]),
        ("ＡＢ１２", ["ab12"]),
        ("ｶﾅ カナ 한국", ["カ", "ナ", "カ", "ナ", "한", "국"]),
        ("it’s 'quoted' 3.5 of 1,000 units.", ["it's", "quoted", "3.5", "of", "1000", "units"]),
        ("well-known 50%", ["well", "known", "50"]),
        ("", []),
        (" ... ", []),
    ],
)
def test_units_are_characters_of_chinese_and_words_of_the_rest(text: str, units: list[str]) -> None:
    assert split_units(text) == units


@pytest.mark.parametrize(
    ("normalization", "units"),
    [
        (Normalization(), ["ok", "a"]),
        (Normalization(case=False), ["OK", "A"]),
        (Normalization(punctuation=False), ["ok,", "a"]),
        (Normalization(width=False), ["ok", "ａ"]),
        (AS_IT_STANDS, ["OK,", "Ａ"]),
    ],
)
def test_each_part_of_the_normalization_can_be_off(normalization: Normalization, units: list[str]) -> None:
    assert split_units("OK, Ａ", normalization) == units


def test_the_unit_can_be_chosen() -> None:
    assert split_units("你好 ok", unit="char") == ["你", "好", "o", "k"]
    assert split_units("你好 ok", unit="word") == ["你好", "ok"]


def test_a_rate_by_hand() -> None:
    steps = align(list("abcdefg"), list("acyefxgh"))

    shown = " ".join(f"{s.reference or '-'}{s.heard or '-'}" for s in steps)
    assert shown == "aa b- cc dy ee ff -x gg -h"
    assert [s.operation for s in steps if s.reference != s.heard] == [
        "delete",
        "substitute",
        "insert",
        "insert",
    ]
    errors = count(steps)
    assert errors == Errors(hits=5, substitutions=1, deletions=1, insertions=2)
    assert errors.rate == pytest.approx(4 / 7)


def test_silence_that_was_heard_as_words_has_errors_and_no_rate() -> None:
    errors = count(align([], ["a", "b"]))

    assert errors.insertions == 2
    assert errors.rate is None
    assert count(align(["a"], [])).rate == 1.0
    assert (errors + count(align(["a"], ["a"]))).rate == 2.0


@pytest.mark.parametrize(
    ("reference", "metric"), [("你好", "CER"), ("hello", "WER"), ("你 ok", "MER"), ("", "WER")]
)
def test_the_rate_has_the_name_of_what_it_counts(reference: str, metric: str) -> None:
    assert metric_of(align(split_units(reference), ["x"])) == metric
    assert metric_of(align(split_units(reference), ["x"]), unit="char") == "CER"


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_an_alignment_has_all_units_in_order_and_the_fewest_errors(left: list[str], right: list[str]) -> None:
    steps = align(left, right)

    assert [s.reference for s in steps if s.operation != "insert"] == left
    assert [s.heard for s in steps if s.operation != "delete"] == right
    assert count(steps).total == distance(left, right)


def distance(left: list[str], right: list[str]) -> int:
    """Levenshtein's, row by row."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


@given(st.text(max_size=30))
def test_making_texts_alike_twice_changes_nothing_more(text: str) -> None:
    units = split_units(text)

    assert split_units(" ".join(units)) == units
    assert not any(unit.isspace() or not unit for unit in units)
