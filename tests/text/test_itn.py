from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.errors import MissingDependencyError
from funasr.result import Segment, Token, Transcript
from funasr.text.itn import NumberWriter
from funasr.text.sentences import make_sentences


@cache
def shared_writer() -> NumberWriter:
    return NumberWriter()


@pytest.fixture(scope="module")
def writer() -> NumberWriter:
    return shared_writer()


def spoken(text: str, **about: object) -> Transcript:
    """A word each 100 ms; a mark behind a word is its mark."""
    found = re.findall(r"([A-Za-z']+|[\u4e00-\u9fff])([，。,.]?)", text)
    tokens = tuple(
        Token(text=word, mark=mark, start_ms=i * 100, end_ms=i * 100 + 90, confidence=0.5 + i / 100, ids=(i,))
        for i, (word, mark) in enumerate(found)
    )
    return Transcript(key="a", tokens=tokens, duration_ms=len(tokens) * 100, **about)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("我们一起听一听", "我们一起听一听"),
        ("一个人万一有一点事", "一个人万一有一点事"),
        ("十分高兴，三点十分", "十分高兴，3:10"),
        ("几十个人和数百辆车", "几十个人和数百辆车"),
        ("双十一买了十几个", "双十一买了十几个"),
        ("百分之五十", "50%"),
        ("一百二十三块五毛", "123块5毛"),
        ("小数三点一四", "小数3.14"),
        ("幺八六零零零零零零零零", "18600000000"),
        ("二十三个苹果和五十米", "23个苹果和50m"),
    ],
)
def test_chinese_numbers_become_digits_and_words_stay(writer: NumberWriter, text: str, written: str) -> None:
    assert writer.write(spoken(text)).text == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("one two three", "123"),
        ("no one has time at one point", "no one has time at one point"),
        ("first of all wait a second", "first of all wait a second"),
        ("on the twenty first", "on the 21st"),
        ("i paid twenty three dollars in twenty twenty five i think", "i paid $23 in 2025 i think"),
        ("Two hundred and fifty four people", "254 people"),
        ("the doctor saw mister smith twenty times", "the doctor saw mister smith 20 times"),
    ],
)
def test_english_numbers_become_digits_and_words_stay(writer: NumberWriter, text: str, written: str) -> None:
    assert writer.write(spoken(text)).text == written


def test_a_number_spans_the_words_that_were_heard(writer: NumberWriter) -> None:
    result = writer.write(spoken("他有一百二十三块五毛。好"))

    assert result.tokens[2] == Token(
        text="123块5",
        start_ms=200,
        end_ms=890,
        confidence=0.52,
        ids=(2, 3, 4, 5, 6, 7, 8),
        spoken=tuple("一百二十三块五"),
    )
    assert [token.text for token in result.tokens[3:]] == ["毛", "好"]
    assert result.raw_text == "他有一百二十三块五毛好"


def test_the_dict_has_as_many_times_as_words(writer: NumberWriter) -> None:
    record = writer.write(spoken("i paid twenty three dollars", timed=True)).to_dict()

    assert record["text"] == "i paid $23"
    assert record["words"] == ["i", "paid", "$23"]
    assert record["timestamp"] == [[0, 90], [100, 190], [200, 490]]
    assert record["confidence"] == [0.5, 0.51, 0.52]


def test_blanks_around_a_number_are_those_of_the_words_it_was_spoken_in(writer: NumberWriter) -> None:
    assert writer.write(spoken("the twenty first dog")).text == "the 21st dog"
    assert writer.write(spoken("我用iphone十五拍照")).text == "我用iphone15拍照"
    punctuated = spoken("take twenty seven pills. ok", punctuated=True)
    assert writer.write(punctuated).text == "take 27 pills. ok"


def test_a_mark_a_pause_and_another_speaker_part_numbers(writer: NumberWriter) -> None:
    assert writer.write(spoken("三百，二十五")).text == "300，25"

    segments = (
        Segment(start_ms=0, end_ms=200, first_token=0, stop_token=2),
        Segment(start_ms=200, end_ms=500, first_token=2, stop_token=5),
    )
    parted = writer.write(spoken("三百二十五", segments=segments))
    assert parted.text == "300 25"
    assert [(s.first_token, s.stop_token) for s in parted.segments] == [(0, 1), (1, 2)]


def test_sentences_have_digits_and_their_raw_text_has_the_words(writer: NumberWriter) -> None:
    [one, two] = make_sentences(writer.write(spoken("i have twenty dogs, 他有三百", timed=True)))

    assert one.text(english=True) == "i have 20 dogs,"
    assert one.raw_text == "i have twenty dogs"
    assert two.text() == "他有300"
    assert two.raw_text == "他有三百"


WORDS = [
    "一",
    "百",
    "二",
    "十",
    "五",
    "元",
    "个",
    "点",
    "twenty",
    "one",
    "dollars",
    "我",
    "i",
    "a",
    "hundred",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["", "", "", "，"])), max_size=12))
def test_nothing_that_was_heard_is_lost(words: list[tuple[str, str]]) -> None:
    heard = spoken(" ".join(word + mark for word, mark in words), timed=True)

    result = shared_writer().write(heard)

    assert result.raw_text == heard.raw_text
    assert [mark for t in result.tokens if (mark := t.mark)] == [mark for _, mark in words if mark]
    ids = [id_ for token in result.tokens for id_ in token.ids]
    assert ids == list(range(len(words)))
    ends = [time for token in result.tokens for time in (token.start_ms, token.end_ms)]
    assert ends == sorted(ends, key=lambda time: time or 0)


def test_threads_share_a_writer(writer: NumberWriter) -> None:
    texts = [f"{number}百二十三个人和{number}百个" for number in "二三四五六七八九"] * 4
    alone = [NumberWriter().write_text(text) for text in texts[:8]] * 4
    found: dict[int, str] = {}

    def work(first: int) -> None:
        for place in range(first, len(texts), 4):
            found[place] = writer.write_text(texts[place])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [found[place] for place in range(len(texts))] == alone


def test_without_wetext_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wetext", None)

    with pytest.raises(MissingDependencyError, match=r'pip install "funasr\[itn\]"'):
        NumberWriter()


# The rest are single digits without a unit, other conventions (1,000; 5月30日), and abbreviations of words
# that are no numbers (Dr.).
@pytest.mark.parametrize(
    ("name", "every", "least"),
    [
        ("wetext_itn_zh.txt", 4, 0.88),
        ("nemo_itn_en.txt", 12, 0.9),
        pytest.param("wetext_itn_zh.txt", 1, 0.89, marks=pytest.mark.slow),
        pytest.param("wetext_itn_en.txt", 1, 0.95, marks=pytest.mark.slow),
        pytest.param("nemo_itn_zh.txt", 1, 0.3, marks=pytest.mark.slow),
        pytest.param("nemo_itn_en.txt", 1, 0.93, marks=pytest.mark.slow),
    ],
)
def test_pairs_of_other_projects(
    shared: Path, writer: NumberWriter, name: str, every: int, least: float
) -> None:
    lines = (shared / "data" / "text" / "itn" / name).read_text(encoding="utf-8").splitlines()[::every]
    right, wrong = 0, Counter[str]()
    for line in lines:
        kind, text, expected = line.split("\t")
        if writer.write_text(text) == expected:
            right += 1
        else:
            wrong[kind] += 1

    assert right / len(lines) >= least, wrong
