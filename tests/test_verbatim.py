"""Transcripts of models that write blanks, punctuation and tags themselves."""

from __future__ import annotations

from dataclasses import replace

from funasr.result import Segment, Tag, Token, Transcript


def transcript(*parts: tuple[str, list[str]], timed: bool = False) -> Transcript:
    """Segments of a second: a tag each, and words that begin with the blank before them."""
    tokens: list[Token] = []
    segments: list[Segment] = []
    for number, (tag, words) in enumerate(parts):
        first = len(tokens)
        tokens += [Token(text=word.lstrip(), lead=" " * word.startswith(" ")) for word in words]
        start = number * 1000
        segments.append(
            Segment(
                start_ms=start,
                end_ms=start + 1000,
                first_token=first,
                stop_token=len(tokens),
                tags=(Tag(text=tag),),
            )
        )
    return Transcript(key="a", tokens=tuple(tokens), segments=tuple(segments), timed=timed, verbatim=True)


TWO = transcript(("<|zh|>", ["你", "好", " hello", " world"]), ("<|en|>", ["good", " bye"]))


def test_the_text_is_as_it_was_written_tags_included() -> None:
    assert TWO.text == "<|zh|>你好 hello world <|en|>good bye"
    assert TWO.to_dict() == {"key": "a", "text": TWO.text}


def test_a_stretch_of_words_has_no_tags_and_no_blank_in_front() -> None:
    assert TWO.text_of(0, 4) == "你好 hello world"
    assert TWO.text_of(2, 4) == "hello world"
    assert TWO.text_of(4, 4) == ""


def test_words_of_two_segments_are_parted_unless_both_are_chinese() -> None:
    assert TWO.text_of(0, 6) == "你好 hello world good bye"
    assert transcript(("<|zh|>", ["你"]), ("<|zh|>", ["好"])).text_of(0, 2) == "你好"


def test_tags_stand_between_words_and_behind_the_last() -> None:
    words = tuple(Token(text=text) for text in "今天")
    tags = (
        Tag(text="<|zh|>"),
        Tag(text=" <|BGM|>", at=1),
        Tag(text="<|SAD|>", at=2),
        Tag(text="<|x|>", at=2),
    )
    segment = Segment(start_ms=0, end_ms=1000, stop_token=2, tags=tags)

    assert Transcript(key="a", tokens=words, segments=(segment,), verbatim=True).text == (
        "<|zh|>今 <|BGM|>天<|SAD|><|x|>"
    )


def test_a_segment_without_words_is_its_tags() -> None:
    assert transcript(("<|nospeech|>", []), ("<|zh|>", ["好"])).text == "<|nospeech|> <|zh|>好"


def test_words_are_listed_beside_their_times() -> None:
    record = replace(TWO, timed=True).to_dict()

    assert record["words"] == ["你", "好", "hello", "world", "good", "bye"]
    assert len(record["timestamp"]) == len(record["words"])


def test_marks_of_a_punctuation_model_go_into_the_text_and_tags_out_of_it() -> None:
    marked = [replace(token, mark="。" if i in (3, 5) else "") for i, token in enumerate(TWO.tokens)]
    punctuated = replace(TWO, tokens=tuple(marked), punctuated=True)

    assert punctuated.text == "你好 hello world。 good bye。"
    assert punctuated.raw_text == TWO.text
    assert TWO.raw_text == TWO.text
