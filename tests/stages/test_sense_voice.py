"""The SenseVoice stage: spelling, tags, times and options as the reference has them, over scripted frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.errors import OptionError
from funasr.result import Tag, Transcript
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.protocols import CtcRow
from funasr.stages.sense_voice import SenseVoiceRecognizer, language_name
from funasr.utils.postprocess_utils import rich_transcription_postprocess
from tests.small_dirs import golden, vocabulary

VOCABULARY = vocabulary()
BLOCK = 960  # samples of one feature row


class Rows:
    """A front end: one row for every whole block of samples, holding the id that the samples repeat."""

    fs = 16000

    def batch(self, utterances: Sequence[Samples]) -> tuple[Features, NDArray[np.int64]]:
        lengths = np.array([len(samples) // BLOCK for samples in utterances], dtype=np.int64)
        features = np.zeros((len(utterances), lengths.max(), 1), dtype=np.float32)
        for row, samples, length in zip(features, utterances, lengths, strict=True):
            row[:length, 0] = samples[: length * BLOCK : BLOCK]
        return features, lengths


class Echo:
    """A network that answers every query with the same tags, and says what the features hold."""

    def __init__(self, *tags: str) -> None:
        self.tags = [identity(tag) if tag else 0 for tag in tags or ("<|zh|>", "", "", "<|woitn|>")]
        self.asked: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def infer(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        queries: Sequence[int],
        banned: Sequence[int] = (),
    ) -> list[CtcRow]:
        self.asked.append((tuple(queries), tuple(banned)))
        rows = []
        for row, length in zip(features, lengths, strict=True):
            ids = np.array([*self.tags, *row[:length, 0]], dtype=np.int64)
            confidences = 1 - np.arange(len(ids), dtype=np.float32) / 64
            rows.append(CtcRow(ids=ids, confidences=confidences))
        return rows


def identity(piece: str) -> int:
    found = VOCABULARY.find(piece)
    assert found is not None, piece
    return found


def say(*pieces: str) -> Samples:
    """Sound in which each piece ("" is blank) lasts one feature row."""
    ids = [identity(piece) if piece else 0 for piece in pieces]
    return np.repeat(np.array(ids, dtype=np.float32), BLOCK)


def recognizer(*tags: str) -> SenseVoiceRecognizer:
    return SenseVoiceRecognizer(Echo(*tags), Rows(), VOCABULARY)


def hear(*pieces: str, tags: Sequence[str] = (), timed: bool = True) -> Transcript:
    [transcript] = recognizer(*tags).recognize([say(*pieces)], DecodeOptions(timestamps=timed))
    return transcript


@pytest.mark.parametrize("entry", golden("sense_voice/spelt.json"), ids=lambda entry: entry["text"])
def test_text_words_and_times_are_the_reference_ones(entry: dict[str, Any]) -> None:
    tags, frames = entry["ids"][:4], entry["ids"][4:]
    frames += [0] * (entry["frames"] - len(frames))
    sound = np.repeat(np.array(frames, dtype=np.float32), BLOCK)

    [transcript] = recognizer(*VOCABULARY.tokens(tags)).recognize([sound], DecodeOptions(timestamps=True))

    record = transcript.to_dict()
    assert record["text"] == entry["text"]
    assert record["words"] == entry.get("words", [])
    assert record["timestamp"] == entry.get("timestamp", [])
    assert len(record.get("confidence", [])) == len(record["words"])


def test_tags_are_part_of_the_text_and_are_no_words() -> None:
    transcript = hear("今", "天", "<|BGM|>", "▁the", "<|HAPPY|>")

    assert transcript.text == "<|zh|><|woitn|>今天<|BGM|> the<|HAPPY|>"
    assert transcript.text_of(0, 3) == "今天 the"
    assert [token.text for token in transcript.tokens] == ["今", "天", "the"]
    [segment] = transcript.segments
    assert segment.tags == (
        Tag(text="<|zh|>", at=0),
        Tag(text="<|woitn|>", at=0),
        Tag(text="<|BGM|>", at=2),
        Tag(text="<|HAPPY|>", at=3),
    )


def test_silence_is_tags_alone() -> None:
    transcript = hear("", "", tags=["<|nospeech|>", "<|EMO_UNKNOWN|>", "<|Event_UNK|>", "<|woitn|>"])

    assert transcript.text == "<|nospeech|><|EMO_UNKNOWN|><|Event_UNK|><|woitn|>"
    assert transcript.tokens == ()
    assert rich_transcription_postprocess(transcript.text) == ""
    assert transcript.to_dict() == {"key": "", "text": transcript.text, "timestamp": [], "words": []}


def test_a_query_without_an_answer_leaves_the_words_whole() -> None:
    transcript = hear("今", "天", tags=["<|zh|>", "", "<|Speech|>", ""])

    assert transcript.text == "<|zh|><|Speech|>今天"
    assert [token.start_ms for token in transcript.tokens] == [0, 30]


def test_a_word_that_begins_among_the_queries_is_heard_at_the_start() -> None:
    transcript = hear("今", "天", tags=["<|zh|>", "<|HAPPY|>", "<|Speech|>", "今"])

    assert [token.text for token in transcript.tokens] == ["今", "天"]
    assert [(token.start_ms, token.end_ms) for token in transcript.tokens] == [(0, 30), (30, 90)]


def test_a_blank_parts_two_words_even_where_it_is_a_piece_of_its_own() -> None:
    transcript = hear("▁the", "▁", "a", "at")

    assert [token.text for token in transcript.tokens] == ["the", "aat"]
    assert transcript.text.endswith(" the aat")


def test_without_times_there_are_none_and_no_list_of_words() -> None:
    transcript = hear("今", "天", timed=False)

    assert set(transcript.to_dict()) == {"key", "text", "confidence"}
    assert all(token.start_ms is None for token in transcript.tokens)


def test_a_word_is_as_certain_as_its_least_certain_piece_and_a_piece_as_its_surest_frame() -> None:
    transcript = hear("▁the", "▁the", "at", "at")

    [word] = transcript.tokens
    assert word.ids == (identity("▁the"), identity("at"))
    assert word.confidence == 1 - 6 / 64


def test_no_sound_is_an_empty_transcript_in_its_place() -> None:
    found = recognizer().recognize([np.zeros(0, np.float32), say("今"), np.zeros(0, np.float32)])

    assert [transcript.text for transcript in found] == ["", "<|zh|><|woitn|>今", ""]


def test_options_become_rows_of_the_table_of_queries() -> None:
    network = Echo()
    stage = SenseVoiceRecognizer(network, Rows(), VOCABULARY)

    stage.recognize([say("今")])
    stage.recognize([say("今")], DecodeOptions(language="yue", itn=True, ban_unknown_emotion=True))

    assert network.asked == [
        ((0, 1, 2, 15), ()),
        ((7, 1, 2, 14), (identity("<|EMO_UNKNOWN|>"),)),
    ]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "auto"),
        ("auto", "auto"),
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("zh_Hans_CN", "zh"),
        ("Chinese", "zh"),
        ("zn", "zh"),
        ("zh-HK", "yue"),
        ("Cantonese", "yue"),
        ("en-US", "en"),
        ("JA", "ja"),
        ("Korean", "ko"),
        ("nospeech", "nospeech"),
    ],
)
def test_languages_may_be_written_in_many_ways(given: str | None, name: str) -> None:
    assert language_name(given) == name


@pytest.mark.parametrize("given", ["fr", "englisch", "", "zhongwen"])
def test_a_language_that_the_model_does_not_know_is_an_error(given: str) -> None:
    with pytest.raises(OptionError, match="SenseVoice knows auto, zh, en, yue, ja, ko, nospeech"):
        language_name(given)


PIECES = VOCABULARY.tokens(range(3, VOCABULARY.vocab_size))


@given(st.lists(st.sampled_from(["", *PIECES]), min_size=1, max_size=30))
def test_the_text_is_what_the_vocabulary_decodes_and_words_are_in_it_in_order(pieces: list[str]) -> None:
    transcript = hear(*pieces)

    said = [identity(tag) for tag in ("<|zh|>", "<|woitn|>")]
    before = ["<|woitn|>", *pieces]
    said += [identity(piece) for piece, last in zip(pieces, before, strict=False) if piece not in ("", last)]
    assert transcript.text == VOCABULARY.decode(said).rstrip(" ")  # a blank at the end is no word's
    place = 0
    for token in transcript.tokens:
        place = transcript.text.index(token.text, place) + len(token.text)
        assert not token.text.startswith("<|")
        assert token.start_ms is not None
        assert token.end_ms is not None
        assert 0 <= token.start_ms <= token.end_ms <= 60 * len(pieces)
    starts = [token.start_ms for token in transcript.tokens]
    assert starts == sorted(starts)  # type: ignore[type-var]
