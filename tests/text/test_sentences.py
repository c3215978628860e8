"""Words with marks -> sentences."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from funasr.result import Segment, Token, Transcript
from funasr.text.marks import MarkTable
from funasr.text.sentences import make_sentences

GOLDEN = Path(__file__).parents[1] / "golden" / "punc" / "sentences.json"


def transcript(words: str, marks: dict[int, str], channel: int | None = None) -> Transcript:
    tokens = tuple(
        Token(text=w, start_ms=100 * i, end_ms=100 * i + 80, mark=marks.get(i, ""), channel=channel)
        for i, w in enumerate(words.split())
    )
    return Transcript(key="a", tokens=tokens, timed=True, spaced=True, punctuated=True)


def test_every_mark_ends_a_sentence() -> None:
    first, second = make_sentences(transcript("你 好 世 界 hello world 再 见", {3: "，", 7: "。"}))

    assert first.to_dict(raw_text=True) == {
        "text": "你好世界，",
        "start": 0,
        "end": 380,
        "timestamp": [[0, 80], [100, 180], [200, 280], [300, 380]],
        "raw_text": "你好世界",
    }
    assert (second.start_ms, second.end_ms) == (400, 780)
    assert second.text() == " hello world 再见。"
    assert second.text(english=True) == "hello world 再见."
    assert second.raw_text == "hello world 再见"


def test_a_narrow_mark_is_wide_in_a_sentence_unless_it_is_english() -> None:
    [sentence] = make_sentences(transcript("how are you", {2: "?"}))

    assert sentence.text() == " how are you？"
    assert sentence.text(english=True) == "how are you?"


def test_words_after_the_last_mark_are_a_sentence_too() -> None:
    sentences = make_sentences(transcript("你 好 再 见", {1: "。"}))

    assert [sentence.text() for sentence in sentences] == ["你好。", "再见"]


def test_silence_has_no_sentences() -> None:
    assert make_sentences(Transcript(key="a", punctuated=True)) == []


def test_channels_have_sentences_of_their_own_in_order_of_time() -> None:
    left = transcript("你 好 再 见", {1: "。", 3: "。"}, channel=0).tokens
    right = transcript("ok go", {0: ",", 1: "."}, channel=1).tokens
    whole = Transcript(
        key="a",
        tokens=(*left, *right),
        segments=(
            Segment(start_ms=0, end_ms=400, channel=0, first_token=0, stop_token=4),
            Segment(start_ms=0, end_ms=200, channel=1, first_token=4, stop_token=6),
        ),
        timed=True,
        punctuated=True,
    )

    found = [(s.start_ms, s.channel, s.to_dict()["text"]) for s in make_sentences(whole)]

    assert found == [(0, 0, "你好。"), (0, 1, " ok，"), (100, 1, " go。"), (200, 0, "再见。")]
    assert make_sentences(whole)[0].to_dict()["channel"] == 0


@given(
    st.lists(st.tuples(st.sampled_from(["好", "ok", "3"]), st.sampled_from(["", "，", "。"])), max_size=20)
)
def test_sentences_partition_the_words(pairs: list[tuple[str, str]]) -> None:
    tokens = tuple(Token(text=word, mark=mark, start_ms=0, end_ms=1) for word, mark in pairs)

    sentences = make_sentences(Transcript(key="a", tokens=tokens, timed=True, punctuated=True))

    assert tuple(token for sentence in sentences for token in sentence.tokens) == tokens
    assert all(not token.mark for sentence in sentences for token in sentence.tokens[:-1])


def assert_equals_upstream(path: Path) -> int:
    """Keys and values of each sentence; raw_text is ours, with blanks between English words."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    table = MarkTable()
    for words, times, labels, chinese, english in rows:
        tokens = tuple(
            Token(text=word, start_ms=start, end_ms=end, mark=table.written(word, label))
            for word, (start, end), label in zip(words, times, labels, strict=True)
        )
        sentences = make_sentences(Transcript(key="a", tokens=tokens, timed=True, punctuated=True))
        assert [sentence.to_dict() for sentence in sentences] == chinese
        for sentence, text in zip(sentences, english, strict=True):
            # Upstream's joins all words with blanks there, Chinese ones too.
            assert sentence.text(english=True).replace(" ", "") == text.replace(" ", "")
    return len(rows)


def test_sentences_are_those_of_the_reference() -> None:
    assert assert_equals_upstream(GOLDEN) > 90
