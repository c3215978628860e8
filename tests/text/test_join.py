"""Pieces -> words and times. Goldens in tests/golden/text/join.json are upstream's, made by make_text.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.result import Token, Transcript
from funasr.text.join import merge_pieces, merge_word_starts

STRAY_BLANK = re.compile(r"[a-z']( \S+@@)+ [今天好模型三70]")
"""Where an open word stands between an English word and a character upstream leaves a blank before it."""

GOLDEN = Path(__file__).parents[1] / "golden" / "text" / "join.json"


def timed(line: str, *, length_ms: int = 100) -> list[Token]:
    """Piece i of a line spans 100 i .. 100 i + length_ms."""
    return [
        Token(text=text, start_ms=100 * i, end_ms=100 * i + length_ms, confidence=1.0 - i / 100, ids=(i,))
        for i, text in enumerate(line.split())
    ]


def text_of(words: tuple[Token, ...], *, spaced: bool = False) -> str:
    return Transcript(key="", tokens=words, spaced=spaced).text


def times_of(words: tuple[Token, ...]) -> list[list[int | None]]:
    return [[word.start_ms, word.end_ms] for word in words]


@pytest.mark.parametrize(
    ("pieces", "text", "spaced"),
    [
        ("今 天 hel@@ lo world 真 好", "今天hello world真好", "今 天 hello world 真 好"),
        ("用 a i 模 型", "用AI模型", "用 AI 模 型"),
        ("u s a good", "USA good", "USA good"),
        ("c p u 和 g p u", "CPU和GPU", "CPU 和 GPU"),
        ("x", "x", "x"),
        ("3 d", "3d", "3 d"),
        ("it's ok", "it's ok", "it's ok"),
        ("i don't know", "i don't know", "i don't know"),
        ("hel@@", "", ""),
        ("好 hel@@", "好", "好"),
        ("$ 好", "$好", "$ 好"),
        ("<s> </s>", "", ""),
        ("", "", ""),
    ],
)
def test_words_join_as_the_specification_says(pieces: str, text: str, spaced: str) -> None:
    words = merge_pieces(timed(pieces))

    assert text_of(words) == text
    assert text_of(words, spaced=True) == spaced


def test_a_word_lasts_from_its_first_piece_to_its_last() -> None:
    words = merge_pieces(timed("今 天 hel@@ lo world 真 好"))

    assert times_of(words) == [[0, 100], [100, 200], [200, 400], [400, 500], [500, 600], [600, 700]]


def test_an_abbreviation_lasts_from_its_first_letter_to_its_last() -> None:
    assert times_of(merge_pieces(timed("用 a i 模 型"))) == [[0, 100], [100, 300], [300, 400], [400, 500]]


def test_a_symbol_keeps_its_time_and_an_unknown_word_takes_its_time_along() -> None:
    # Upstream drops the time of the symbol and keeps that of the unknown word, and so shifts all later ones.
    assert times_of(merge_pieces(timed("$ 好"))) == [[0, 100], [100, 200]]
    assert times_of(merge_pieces(timed("今 <unk> 好"))) == [[0, 100], [200, 300]]


def test_a_symbol_after_an_english_word_is_not_lost() -> None:
    assert text_of(merge_pieces(timed("hello $ 好"))) == "hello $好"


def test_an_open_word_is_glued_to_the_next_english_piece_across_characters() -> None:
    words = merge_pieces(timed("hel@@ 好 lo"))

    assert text_of(words) == "好hello"
    # As upstream: the character takes the time of the piece before it.
    assert times_of(words) == [[0, 100], [200, 300]]
    assert [word.ids for word in words] == [(1,), (0, 2)]


def test_a_word_is_as_certain_as_its_least_certain_piece_and_has_all_its_ids() -> None:
    words = merge_pieces(timed("今 hel@@ lo"))

    assert [word.confidence for word in words] == [1.0, pytest.approx(0.98)]
    assert [word.ids for word in words] == [(0,), (1, 2)]


def test_pieces_without_times_and_confidences_make_words_without_them() -> None:
    (word,) = merge_pieces([Token(text="hel@@", ids=(8,)), Token(text="lo", ids=(9,))])

    assert word == Token(text="hello", ids=(8, 9))


def test_text_and_times_equal_upstreams() -> None:
    assert_equals_upstream(GOLDEN)


def assert_equals_upstream(path: Path) -> None:
    cases = json.loads(path.read_text(encoding="utf-8"))
    assert len(cases) >= 400
    for pieces, text, spaced, times in cases:
        words = merge_pieces(timed(pieces, length_ms=90))
        assert (text_of(words, spaced=True), times_of(words)) == (spaced, times), pieces
        if STRAY_BLANK.search(pieces):
            text = re.sub(r"(?<=[a-z'A-Z]) (?=[今天好模型三70])", "", text)
        assert text_of(words) == text, pieces


PIECES = st.sampled_from(
    ["今", "好", "7", "hello", "it's", "a", "i", "hel@@", "t@@", "$", "<unk>", "</s>", "é", "@@"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=12))
def test_words_are_in_order_and_no_piece_is_in_two(pieces: list[str]) -> None:
    words = merge_pieces(timed(" ".join(pieces)))

    ids = [id_ for word in words for id_ in word.ids]
    assert len(ids) == len(set(ids))
    starts = [word.start_ms for word in words if word.text != "$"]
    assert starts == sorted(starts, key=lambda ms: ms or 0)
    assert all(word.start_ms is not None and word.end_ms is not None for word in words)
    assert all(word.start_ms <= word.end_ms for word in words)  # type: ignore[operator]
    assert not any("@@" in word.text for word in words)


def test_a_mark_begins_a_sentencepiece_word() -> None:
    words = merge_word_starts(timed("▁hel lo ▁wor ld ' s"))

    assert [word.text for word in words] == ["hello", "world's"]
    assert times_of(words) == [[0, 200], [200, 600]]
    assert [word.ids for word in words] == [(0, 1), (2, 3, 4, 5)]


def test_a_lone_mark_ends_the_word_before_it() -> None:
    assert [word.text for word in merge_word_starts(timed("▁a ▁ b"))] == ["a", "b"]


def test_chinese_characters_among_sentencepieces_are_words_of_their_own() -> None:
    words = merge_word_starts(timed("▁ 今 天 ▁ok 好 lo"))

    assert [word.text for word in words] == ["今", "天", "ok", "好", "lo"]
