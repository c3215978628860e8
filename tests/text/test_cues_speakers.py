"""Cues and the text of a conversation: where another speaker begins, something new begins."""

from __future__ import annotations

from funasr.bin.formats import render
from funasr.result import Segment, Token, Transcript
from funasr.text.cues import make_cues


def talk(*words: tuple[str, int | str], timed: bool = True) -> Transcript:
    """Words of 300 ms, each with its speaker, in two segments."""
    tokens = tuple(
        Token(
            text=text,
            start_ms=300 * index if timed else None,
            end_ms=300 * index + 300 if timed else None,
            speaker=speaker,
        )
        for index, (text, speaker) in enumerate(words)
    )
    half, end = len(words) // 2, 300 * len(words)
    segments = (
        Segment(start_ms=0, end_ms=300 * half, stop_token=half),
        Segment(start_ms=300 * half, end_ms=end, first_token=half, stop_token=len(words)),
    )
    return Transcript(key="a", tokens=tokens, segments=segments, duration_ms=end, timed=timed)


TALK = talk(("one", 0), ("two", 0), ("three", 1), ("four", 1), ("five", "Ann"), ("six", "Ann"))


def test_a_cue_has_one_speaker() -> None:
    cues = [(cue.text, cue.speaker) for cue in make_cues(TALK)]

    assert cues == [("one two", 0), ("three", 1), ("four", 1), ("five six", "Ann")]


def test_without_times_a_cue_has_the_speaker_of_most_of_its_words() -> None:
    cues = [
        (cue.text, cue.speaker)
        for cue in make_cues(talk(("a", 0), ("b", 1), ("c", 1), ("d", 2), timed=False))
    ]

    assert cues == [("a b", 0), ("c d", 1)]


def test_a_conversation_is_a_line_a_turn_whatever_the_segments() -> None:
    assert render(TALK, "text").splitlines() == [
        "[speaker 0] one two",
        "[speaker 1] three four",
        "[Ann] five six",
    ]


def test_channels_and_speakers_share_a_label() -> None:
    both = Transcript(
        key="a",
        tokens=(Token(text="hi", speaker=1, channel=0), Token(text="ho", speaker=1, channel=1)),
        segments=(
            Segment(start_ms=0, end_ms=9, channel=0, stop_token=1),
            Segment(start_ms=0, end_ms=9, channel=1, first_token=1, stop_token=2),
        ),
    )

    assert render(both, "text").splitlines() == ["[channel 0, speaker 1] hi", "[channel 1, speaker 1] ho"]


def test_subtitles_and_tables_say_who_speaks() -> None:
    assert "[speaker 1] three" in render(TALK, "srt")
    assert "[Ann] five six" in render(TALK, "vtt")
    assert render(TALK, "tsv").splitlines()[:2] == ["start\tend\tspeaker\ttext", "0.000\t0.600\t0\tone two"]
    assert '"speaker": "Ann"' in render(TALK, "json")
