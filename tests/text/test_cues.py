from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from funasr.result import Segment, Token, Transcript
from funasr.text.cues import Cue, CueLimits, make_cues


def spoken(*words: tuple[str, int, int], mark: str = "") -> tuple[Token, ...]:
    return tuple(Token(text=w, start_ms=s, end_ms=e, mark=mark) for w, s, e in words)


def test_words_that_follow_closely_share_a_cue_and_a_pause_parts_them() -> None:
    tokens = spoken(("one", 0, 300), ("two", 350, 600), ("three", 1500, 1900))

    cues = make_cues(Transcript(key="a", tokens=tokens, timed=True))

    assert cues == [
        Cue(start_ms=0, end_ms=600, text="one two"),
        Cue(start_ms=1500, end_ms=1900, text="three"),
    ]


def test_a_sentence_mark_ends_a_cue() -> None:
    tokens = spoken(("yes", 0, 300), mark=".") + spoken(("no", 350, 600))

    assert [cue.text for cue in make_cues(Transcript(key="a", tokens=tokens, timed=True))] == ["yes.", "no"]


def test_speech_segments_never_share_a_cue() -> None:
    segments = (
        Segment(start_ms=0, end_ms=320, channel=0, first_token=0, stop_token=1),
        Segment(start_ms=330, end_ms=700, channel=1, first_token=1, stop_token=2),
    )
    tokens = spoken(("one", 0, 300), ("two", 350, 600))

    cues = make_cues(Transcript(key="a", tokens=tokens, segments=segments, timed=True))

    assert [(cue.text, cue.channel) for cue in cues] == [("one", 0), ("two", 1)]


def test_words_without_times_give_one_cue_a_segment() -> None:
    segments = (Segment(start_ms=100, end_ms=900, stop_token=2),)
    tokens = (Token(text="你"), Token(text="好"))

    cues = make_cues(Transcript(key="a", tokens=tokens, segments=segments))

    assert cues == [Cue(start_ms=100, end_ms=900, text="你好")]


def test_silence_has_no_cue() -> None:
    assert make_cues(Transcript(key="a", timed=True, duration_ms=5000)) == []


@given(
    st.lists(st.tuples(st.sampled_from(["a", "今天", "seven"]), st.integers(1, 900), st.integers(0, 1200)))
)
def test_cues_partition_the_words_in_order_and_keep_the_limits(words: list[tuple[str, int, int]]) -> None:
    tokens, now = [], 0
    for text, length, gap in words:
        tokens.append(Token(text=text, start_ms=now + gap, end_ms=now + gap + length))
        now += gap + length
    limits = CueLimits(max_width=20, max_duration_ms=2000)

    cues = make_cues(Transcript(key="a", tokens=tuple(tokens), timed=True, spaced=True), limits)

    assert " ".join(cue.text for cue in cues).split() == [token.text for token in tokens]
    assert all(cue.end_ms - cue.start_ms <= 2000 for cue in cues)
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(cues))


def test_no_scrap_of_a_phrase_is_left_for_a_cue_of_its_own() -> None:
    tokens = [
        Token(text=word, start_ms=100 * i, end_ms=100 * i + 100) for i, word in enumerate("一二三四五六七")
    ]
    tokens[-1] = Token(text="七", start_ms=600, end_ms=700, mark="。")
    transcript = Transcript(key="a", tokens=tuple(tokens), timed=True, punctuated=True)

    cues = make_cues(transcript, CueLimits(line_width=12, max_lines=1))

    assert [cue.text for cue in cues] == ["一二三四", "五六七。"]
