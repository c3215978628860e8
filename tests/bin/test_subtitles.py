"""Subtitles: lines, lengths and names; and the flags that set them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pysubs2
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.bin.formats import CueStyle, render
from funasr.bin.inference import main
from funasr.result import Token, Transcript
from funasr.text.cues import CueLimits, columns, make_cues, wrapped
from tests.tiny_models import TOKENS, make_paraformer, make_vad, talk


def spoken(text: str, *, speaker: str | None = None, spaced: bool = False) -> Transcript:
    """A word each 200 ms; a mark behind a word is its mark."""
    found = re.findall(r"([A-Za-z']+|[\u4e00-\u9fff])([，。,.]?)", text)
    tokens = tuple(
        Token(text=w, mark=m, start_ms=i * 200, end_ms=(i + 1) * 200, speaker=speaker)
        for i, (w, m) in enumerate(found)
    )
    return Transcript(key="a", tokens=tokens, timed=True, spaced=spaced)


def test_lines_are_parted_at_blanks_and_between_chinese_characters_and_not_before_marks() -> None:
    assert wrapped("one two three four", 9) == "one two\nthree\nfour"
    assert wrapped("今天天气很好，我们去玩。", 12) == "今天天气很\n好，我们去\n玩。"
    assert wrapped("用iphone拍照", 8) == "用iphone\n拍照"
    assert wrapped("incomprehensibilities", 5) == "incomprehensibilities"


def test_a_cue_has_as_many_words_as_fit_in_its_lines() -> None:
    limits = CueLimits(line_width=9, max_lines=2)

    assert [cue.text for cue in make_cues(spoken("one two three four five"), limits)] == [
        "one two three",
        "four five",
    ]
    chinese = make_cues(spoken("今天天气很好我们去玩"), limits)
    assert [cue.text for cue in chinese] == ["今天天气很好我们", "去玩"]


def test_chinese_subtitles_have_no_blanks_with_marks_or_without_and_fill_their_lines() -> None:
    words = [*"今天天气很好我们去玩", "ok", "fine", "3", "5", *"天"]
    tokens = tuple(Token(text=w, start_ms=i * 200, end_ms=i * 200 + 200) for i, w in enumerate(words))
    heard = Transcript(key="a", tokens=tokens, timed=True, spaced=True)

    for transcript in (heard, replace(heard, punctuated=True)):
        [cue] = pysubs2.SSAFile.from_string(render(transcript, "srt"))
        assert cue.text == "今天天气很好我们去玩ok fine 3 5天"
    full = replace(heard, tokens=tokens[:10], punctuated=True)
    assert len(make_cues(full, CueLimits(line_width=20, max_lines=1))) == 1  # ten characters of two columns


def test_words_of_other_letters_keep_their_blanks_in_subtitles() -> None:
    tokens = tuple(Token(text=w, start_ms=i * 200, end_ms=i * 200 + 200) for i, w in enumerate(["été", "là"]))
    [cue] = pysubs2.SSAFile.from_string(
        render(Transcript(key="a", tokens=tokens, timed=True, spaced=True), "srt")
    )
    assert cue.text == "été là"


def test_where_a_limit_parts_words_it_does_so_behind_a_mark() -> None:
    limits = CueLimits(max_duration_ms=1400)

    assert [cue.text for cue in make_cues(spoken("今天天气很好，我们去玩"), limits)] == [
        "今天天气很好，",
        "我们去玩",
    ]
    assert [cue.text for cue in make_cues(spoken("好，今天天气很好我们去玩"), limits)] == [
        "好，今天天气很好",  # a mark too near to the beginning leaves most of the cue empty
        "我们去玩",
    ]


def test_the_name_of_a_speaker_takes_its_room_and_can_be_left_out() -> None:
    talk = spoken("one two three four five six", speaker="Ann")
    style = CueStyle(limits=CueLimits(line_width=14))

    named = [event.text for event in pysubs2.SSAFile.from_string(render(talk, "srt", style=style))]
    bare = render(talk, "srt", style=CueStyle(limits=style.limits, labels=False))

    assert named == [r"[Ann] one two\Nthree four", "[Ann] five six"]
    assert "[Ann]" not in bare
    assert render(talk, "text", style=CueStyle(labels=False)) == "one two three four five six"


def test_ass_has_the_cues_of_srt() -> None:
    heard = spoken("今天天气很好，我们去玩。今天天气很好，我们去玩。" * 3)

    ass, srt = (pysubs2.SSAFile.from_string(render(heard, form)) for form in ("ass", "srt"))

    assert [(e.start // 10, e.end // 10, e.plaintext) for e in ass] == [
        (e.start // 10, e.end // 10, e.plaintext) for e in srt
    ]
    assert len(ass) == 6


PIECES = ["a", "today", "今", "天", "好。", "we,", "气，", "seven"]


@settings(deadline=None)  # the first example imports pysubs2
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=40),
    st.integers(12, 30),
    st.integers(1, 3),
    st.booleans(),
)
def test_every_subtitle_fits_its_lines_and_no_word_is_lost(
    pieces: list[str], width: int, lines: int, spaced: bool
) -> None:
    heard = spoken(" ".join(pieces), speaker="A", spaced=spaced)
    style = CueStyle(limits=CueLimits(line_width=width, max_lines=lines, max_duration_ms=3000))

    events = pysubs2.SSAFile.from_string(render(heard, "srt", style=style)).events

    for event in events:
        shown = event.text.split(r"\N")
        assert len(shown) <= lines
        assert all(columns(line) <= width for line in shown)
        assert event.duration <= 3000
    said = "".join(event.plaintext.removeprefix("[A]") for event in events)
    assert "".join(said.split()) == "".join("".join(t.text + t.mark for t in heard.tokens).split())


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    make_paraformer(folder / "asr")
    # Letters in a row would be one long word.
    tokens = [*TOKENS[:3], *"一二三四五六七八九今天气好去来我", "<unk>"]
    (folder / "asr" / "tokens.json").write_text(json.dumps(tokens), encoding="utf-8")
    make_vad(folder / "vad")
    sound = talk(("quiet", 0.5), ("loud", 4.0), ("quiet", 1.0), ("loud", 2.0), ("quiet", 0.5))
    soundfile.write(folder / "one.wav", sound, 16000)
    return folder


@pytest.fixture
def command(work: Path) -> list[str]:
    return [
        str(work / "one.wav"),
        "-m",
        str(work / "asr"),
        "--vad-model",
        str(work / "vad"),
        "--device",
        "cpu",
    ]


def test_the_flags_set_lines_and_lengths(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["-f", "ass", "--max-line-width", "8", "--max-lines", "1", "--max-duration", "1.5"]

    assert main([*command, *flags]) == 0

    events = pysubs2.SSAFile.from_string(capsys.readouterr().out).events
    assert len(events) > 4
    assert all(columns(event.text) <= 8 and event.duration <= 1500 for event in events)


def test_itn_and_repair_are_flags_and_json_has_what_was_heard(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(command)
    heard = capsys.readouterr().out.strip()
    main([*command, "--itn"])
    [number, *_] = capsys.readouterr().out.split()

    assert main([*command, "--itn", "--repair", f"{number}=>甲; 龘龘龘", "-f", "json"]) == 0

    record = json.loads(capsys.readouterr().out)
    assert number.isdigit()
    assert record["text"].split()[0] == "甲"
    assert record["raw_text"] == heard
    assert record["postprocess_hotword_matches"][0]["original"] == number


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-lines", "0"], "--max-lines is 0; it must be a number greater than 0"),
        (["--max-duration", "-1"], "--max-duration is -1.0"),
        (["--repair", "absent.txt"], "cannot read postprocess_hotword_file 'absent.txt'"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    flags: list[str], message: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *flags]) == 2

    [line] = capsys.readouterr().err.splitlines()
    assert message in line
