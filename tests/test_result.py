from __future__ import annotations

import pytest

from funasr.result import Segment, Token, Transcript, join_words


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["今", "天", "hello", "world", "真", "好"], "今天hello world真好"),
        (["用", "AI", "模", "型"], "用AI模型"),
        (["3", "d"], "3d"),
        (["it's", "ok"], "it's ok"),
        (["", "好"], "好"),
        ([], ""),
    ],
)
def test_spaces_stand_between_latin_words_only(words: list[str], text: str) -> None:
    assert join_words((word, "") for word in words) == text


def test_an_ascii_mark_is_followed_by_a_space_and_a_chinese_one_is_not() -> None:
    assert join_words([("yes", ","), ("no", "."), ("好", "，"), ("的", "。")]) == "yes, no.好，的。"


def test_a_timed_result_has_one_pair_and_one_confidence_a_word() -> None:
    tokens = (
        Token(text="你", start_ms=0, end_ms=200, confidence=0.9),
        Token(text="好", start_ms=200, end_ms=400, confidence=0.8),
    )

    item = Transcript(key="a", tokens=tokens, timed=True, spaced=True).to_dict()

    assert item == {
        "key": "a",
        "text": "你 好",
        "timestamp": [[0, 200], [200, 400]],
        "confidence": [0.9, 0.8],
    }


def test_silence_has_the_same_keys_as_speech() -> None:
    assert Transcript(key="a", timed=True).to_dict() == {"key": "a", "text": "", "timestamp": []}


def test_segments_are_separated_by_a_space_and_keep_their_channel() -> None:
    segments = (
        Segment(start_ms=0, end_ms=900, channel=0, first_token=0, stop_token=2),
        Segment(start_ms=500, end_ms=1500, channel=1, first_token=2, stop_token=3),
    )
    tokens = (Token(text="你"), Token(text="好"), Token(text="早"))

    item = Transcript(key="a", tokens=tokens, segments=segments).to_dict()

    assert item["text"] == "你好 早"
    assert [(s["channel"], s["text"]) for s in item["segments"]] == [(0, "你好"), (1, "早")]


def test_a_failed_input_says_why() -> None:
    assert Transcript(key="a", error="no file 'a.wav'").to_dict()["error"] == "no file 'a.wav'"


def test_a_word_can_be_moved_and_held_back_and_one_without_times_is_left_alone() -> None:
    word = Token(text="a", start_ms=100, end_ms=200)

    assert word.shifted(50) == Token(text="a", start_ms=150, end_ms=250)
    assert word.until(150) == Token(text="a", start_ms=100, end_ms=150)
    assert word.until(50) == Token(text="a", start_ms=50, end_ms=50)
    assert word.until(200) == word
    assert Token(text="a").shifted(5).until(1) == Token(text="a")
