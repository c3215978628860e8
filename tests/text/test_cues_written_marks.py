"""Cues of a model that writes punctuation as words of their own."""

from __future__ import annotations

from funasr.result import Segment, Tag, Token, Transcript
from funasr.text.cues import CueLimits, make_cues

WORDS = ["你", "好", "。", " it", " is", ",", " late", "."]
TOKENS = tuple(
    Token(text=word.strip(), lead=" " * word.startswith(" "), start_ms=200 * i, end_ms=200 * i + 180)
    for i, word in enumerate(WORDS)
)


def transcript() -> Transcript:
    segment = Segment(start_ms=0, end_ms=2000, stop_token=len(TOKENS), tags=(Tag(text="<|zh|>"),))
    return Transcript(key="a", tokens=TOKENS, segments=(segment,), timed=True, verbatim=True)


def test_a_cue_ends_behind_a_full_stop_and_has_no_tags() -> None:
    cues = make_cues(transcript())

    assert [(cue.text, cue.start_ms, cue.end_ms) for cue in cues] == [
        ("你好。", 0, 580),
        ("it is, late.", 600, 1580),
    ]


def test_no_cue_begins_with_a_mark() -> None:
    cues = make_cues(transcript(), CueLimits(max_width=1))

    assert [cue.text for cue in cues] == ["你", "好。", "it", "is,", "late."]
