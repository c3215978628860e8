from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.errors import InputError, MissingDependencyError, OptionError
from funasr.result import Segment, Tag, Token, Transcript
from funasr.text.hotwords import Hotword, HotwordReport
from funasr.text.repair import HotwordRepairer, hotword_report, parse_rules


def spoken(text: str, **about: Any) -> Transcript:
    """A word each 100 ms; a mark behind a word is its mark."""
    found = re.findall(r"([A-Za-z']+|[\u4e00-\u9fff])([，。]?)", text)
    tokens = tuple(
        Token(text=word, mark=mark, start_ms=i * 100, end_ms=i * 100 + 90)
        for i, (word, mark) in enumerate(found)
    )
    return Transcript(key="a", tokens=tokens, duration_ms=len(tokens) * 100, **about)


def repaired(text: str, rules: Any, **how: Any) -> str:
    return HotwordRepairer(parse_rules(rules, **how)).repair(spoken(text)).text


@pytest.mark.parametrize(
    ("text", "rules", "expected"),
    [
        ("我在阿里爸爸工作", ["阿里巴巴"], "我在阿里巴巴工作"),
        ("阿里爸爸爸", ["阿里巴巴"], "阿里巴巴爸"),
        ("狗蛋和哈哈", {"狗蛋": "苟旦", "哈哈": "哈哈"}, "苟旦和哈哈"),
        ("hello world", ["hallo world"], "hallo world"),
        ("错了就是错的", "错=>对", "对了就是对的"),
    ],
)
def test_texts_that_the_reference_repairs_are_repaired_alike(text: str, rules: Any, expected: str) -> None:
    """Seen when upstream 1.4.16 was given these texts."""
    assert repaired(text, rules) == expected


@pytest.mark.parametrize(
    ("text", "rules", "expected", "upstream"),
    [
        ("使用 fun asr 识别", ["FunASR"], "使用FunASR识别", "使用FunASRr 识别"),
        ("达摩元，达摩院", ["达摩院"], "达摩院，达摩院", "达摩院达达摩院"),
        ("张伞见了张三", ["张三"], "张三见了张三", "张三见张三"),
        ("what a night", ["that"], "what a night", "thatthat"),
        ("aab aaab", "a=>b\naa=>c\nb=>d", "cd cbd", "cd cdd"),
    ],
)
def test_a_repair_takes_no_neighbours_and_repairs_no_repair(
    text: str, rules: Any, expected: str, upstream: str
) -> None:
    """`upstream` eats words and marks beside a phrase, takes any letters for any, and repairs repairs."""
    assert repaired(text, rules) == expected != upstream


def test_the_longest_rule_wins_and_rules_come_before_sounds() -> None:
    assert repaired("一二三", {"一二": "x", "一二三": "甲乙丙"}) == "甲乙丙"
    assert repaired("张伞", ["张三", "张伞=>章散"]) == "章散"


def test_what_is_right_already_is_no_repair_and_keeps_others_away() -> None:
    result = HotwordRepairer(parse_rules(["张三", "张散"])).repair(spoken("见张三"))

    assert result.text == "见张三"
    assert result.repairs == ()


def test_each_word_keeps_its_time_where_there_are_as_many_and_else_one_spans_them() -> None:
    heard = spoken("我在阿里爸爸工作，用番阿色")

    result = HotwordRepairer(parse_rules(["阿里巴巴", "番阿色=>FunASR"])).repair(heard)

    assert result.text == "我在阿里巴巴工作，用FunASR"
    assert [token.start_ms for token in result.tokens[:9]] == [i * 100 for i in range(9)]
    assert result.tokens[4].spoken == ("爸",)
    assert result.tokens[2].spoken == ()
    assert (result.tokens[-1].start_ms, result.tokens[-1].end_ms) == (900, 1190)
    assert result.raw_text == "我在阿里爸爸工作用番阿色"


def test_what_a_rule_leaves_out_was_heard_all_the_same() -> None:
    segments = (
        Segment(start_ms=0, end_ms=500, stop_token=5),
        Segment(start_ms=500, end_ms=900, first_token=5, stop_token=9),
    )
    heard = spoken("嗯我嗯在啊那个阿里", segments=segments)

    result = HotwordRepairer(parse_rules(["嗯=>", "那个=>", "啊=>"])).repair(heard)

    assert result.text == "我在 阿里"
    assert result.raw_text == heard.raw_text == "嗯我嗯在啊 那个阿里"
    assert HotwordRepairer(parse_rules(["我=>"])).repair(spoken("我")).text == ""


@pytest.mark.parametrize("spaced", [False, True])
def test_a_repair_says_where_in_the_text_it_was(spaced: bool) -> None:
    segments = (
        Segment(start_ms=0, end_ms=200, stop_token=2),
        Segment(start_ms=200, end_ms=800, first_token=2, stop_token=8),
    )
    heard = spoken("我在阿里爸爸工作", spaced=spaced, segments=segments)

    [repair] = HotwordRepairer(parse_rules(["阿里巴巴"])).repair(heard).repairs

    assert heard.text[repair.start : repair.end].replace(" ", "") == repair.original == "阿里爸爸"
    assert (repair.replacement, repair.score) == ("阿里巴巴", 1.0)


def test_tags_and_segments_stay_with_their_words() -> None:
    tags = (Tag(text="<|zh|>"), Tag(text="<|HAPPY|>", at=4))
    segments = (
        Segment(start_ms=0, end_ms=400, stop_token=4, tags=tags),
        Segment(start_ms=400, end_ms=600, first_token=4, stop_token=6, tags=(Tag(text="<|zh|>", at=1),)),
    )
    heard = spoken("番阿色好今天", segments=segments, verbatim=True)

    result = HotwordRepairer(parse_rules("番阿色=>FunASR")).repair(heard)

    assert result.text == "<|zh|>FunASR好<|HAPPY|> 今<|zh|>天"
    assert [(s.first_token, s.stop_token) for s in result.segments] == [(0, 2), (2, 4)]


def test_words_of_two_segments_or_speakers_are_never_one_phrase() -> None:
    halves = (
        Segment(start_ms=0, end_ms=200, stop_token=2),
        Segment(start_ms=200, end_ms=400, first_token=2, stop_token=4),
    )

    assert (
        HotwordRepairer(parse_rules(["阿里巴巴"])).repair(spoken("阿里爸爸", segments=halves)).repairs == ()
    )


def test_every_form_of_rules_is_read(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# names\n阿里巴巴 20\n达摩元 -> 达摩院\n\n")

    rules = parse_rules("a b=>c d  # why not\n张三", file=path)

    assert rules.explicit == {"a b": "c d", "达摩元": "达摩院"}
    assert rules.targets == ("张三", "阿里巴巴")
    assert parse_rules({"科大讯飞": 20, "x": "x", "y": "z"}).targets == ("科大讯飞", "x")
    assert parse_rules(["张三"], fuzzy=False).targets == ()
    assert not parse_rules(None)


def test_wrong_rules_are_named(tmp_path: Path) -> None:
    for wrong in (3, [3], {"a": None}, {1: "b"}):
        with pytest.raises(InputError, match="postprocess_hotwords"):
            parse_rules(wrong)
    with pytest.raises(InputError, match=r"postprocess_hotword_file .*absent"):
        parse_rules(file=tmp_path / "absent.txt")
    for threshold in (-0.1, 1.1):
        with pytest.raises(OptionError, match="between 0 and 1"):
            parse_rules("a", threshold=threshold)


@pytest.mark.parametrize("package", ["pypinyin", "rapidfuzz"])
def test_only_sounds_need_the_packages(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    assert repaired("错", "错=>对") == "对"
    with pytest.raises(MissingDependencyError, match=r'pip install "funasr\[hotwords\]"'):
        HotwordRepairer(parse_rules("张三"))


def test_the_report_tells_what_was_encoded_matched_and_applied() -> None:
    encoded = (
        HotwordReport(hotword=Hotword(text="张三"), ids=(1, 2)),
        HotwordReport(hotword=Hotword(text="龘"), ids=None),
    )
    result = HotwordRepairer(parse_rules(["张三", "he"])).repair(spoken("张伞见了张三 the"))

    assert hotword_report(result, ("张三", "he"), encoded) == [
        {"hotword": "张三", "encoded": True, "matched": 2, "applied": 1},
        {"hotword": "龘", "encoded": False, "matched": 0, "applied": 0},
        {"hotword": "he", "encoded": None, "matched": 0, "applied": 0},
    ]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["阿", "里", "爸", "巴", "fun", "asr", "a"]), st.sampled_from(["", "，"])),
        max_size=10,
    ),
    st.lists(st.sampled_from(["阿里巴巴", "FunASR", "阿=>fun", "巴 a=>b", "里爸=>", "爸爸"]), max_size=4),
)
def test_what_was_heard_its_times_and_order_are_kept(words: list[tuple[str, str]], rules: list[str]) -> None:
    heard = spoken(" ".join(word + mark for word, mark in words), timed=True)

    result = HotwordRepairer(parse_rules(rules)).repair(heard)

    if result.tokens:
        assert result.raw_text == heard.raw_text
    times = [time for token in result.tokens for time in (token.start_ms or 0, token.end_ms or 0)]
    assert times == sorted(times)
    for repair in result.repairs:
        assert heard.text[repair.start : repair.end] == repair.original


def test_a_rule_that_looks_for_nothing_is_no_rule() -> None:
    with pytest.raises(InputError, match="'=>x' does not say what to look for"):
        parse_rules("=>x")
    assert parse_rules(["", "  "]).explicit == {}
