"""The alignment stage: how a text is spelt, what is timed, and what cannot match."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.errors import InputError
from funasr.stages.aligner import Aligner
from funasr.text.tokenizer import CharTokenizer
from tests.small_dirs import seeded_dirs
from tests.stages.test_sense_voice import BLOCK, Rows

SEG_DICT = {word: tuple(pieces.split()) for word, pieces in seeded_dirs.SEG_DICT.items()}


class Even:
    """A network that hears tokens at even distances."""

    upsample_rate = 3

    def __init__(self) -> None:
        self.counts: list[list[int]] = []

    def fire(
        self, features: Features, lengths: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        self.counts.append(counts.tolist())
        return [
            np.full(3 * length, (count + 1) / (3 * length), np.float32)
            for length, count in zip(lengths, counts, strict=True)
        ]


def aligner(*, seg_dict: bool = True) -> Aligner:
    tokenizer = CharTokenizer(seeded_dirs.TOKENS, seg_dict=SEG_DICT if seg_dict else None)
    return Aligner(Even(), Rows(), tokenizer)


def spelt(text: str, *, seg_dict: bool = True) -> list[str]:
    return [piece.text for piece in aligner(seg_dict=seg_dict).pieces(text)]


def test_each_token_of_the_text_is_given_its_time() -> None:
    stage = aligner()
    sound = np.zeros(8 * BLOCK, np.float32)

    [transcript] = stage.align([sound], [stage.pieces("今 hello 好")])

    # 24 weights of 20 ms sum to 5: every 4.8 of them a token begins, 30 ms before its weight fires.
    assert transcript.text == "今 hello 好"
    assert transcript.duration_ms == 480
    assert [(t.text, t.start_ms, t.end_ms) for t in transcript.tokens] == [
        ("今", 50, 150),
        ("hello", 150, 350),
        ("好", 350, 480),
    ]
    assert set(transcript.to_dict()) == {"key", "text", "timestamp"}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("今天 好", ["今", "天", "好"]),
        ("Hello WORLD", ["hel@@", "lo", "wor@@", "ld"]),
        ("abe", ["a", "b", "e"]),
        ("今，天。好！", ["今", "天", "好"]),
        ("hello, world", ["hel@@", "lo", "wor@@", "ld"]),
        ("今很天", ["今", "很", "天"]),  # 很 is not in the vocabulary
        ("xyz", ["x", "y", "z"]),
        ("äöü", ["äöü"]),
        ("e3", ["e", "3"]),
    ],
)
def test_a_text_is_spelt_with_the_vocabulary_and_keeps_what_that_lacks(text: str, pieces: list[str]) -> None:
    assert spelt(text) == pieces


def test_without_a_seg_dict_words_are_spelt_letter_by_letter() -> None:
    assert spelt("hello 今", seg_dict=False) == ["h", "e", "l", "l", "o", "今"]


def test_unknown_words_keep_their_text_and_their_time() -> None:
    stage = aligner()

    [transcript] = stage.align([np.zeros(8 * BLOCK, np.float32)], [stage.pieces("今很天")])

    assert transcript.text == "今 很 天"
    assert [len(pair) for pair in transcript.to_dict()["timestamp"]] == [2, 2, 2]


def test_pairs_of_a_batch_keep_to_themselves() -> None:
    stage = aligner()
    sounds = [np.zeros(blocks * BLOCK, np.float32) for blocks in (8, 20, 3)]
    texts = [stage.pieces(text) for text in ("今天", "hello world 好", "a")]

    together = stage.align(sounds, texts)

    for sound, text, transcript in zip(sounds, texts, together, strict=True):
        assert stage.align([sound], [text]) == [transcript]
    assert stage.align([], []) == []


@pytest.mark.parametrize("text", ["", "   ", "，。", "?!"])
def test_a_text_without_words_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match="has no words"):
        aligner().pieces(text)


@pytest.mark.parametrize(("blocks", "room"), [(0, 0), (1, 2), (4, 11)])
def test_a_text_that_is_too_long_for_the_sound_is_an_error(blocks: int, room: int) -> None:
    stage = aligner()
    sound = np.zeros(blocks * BLOCK, np.float32)
    stage.require_room(sound, stage.pieces("a" * room) if room else [])

    with pytest.raises(InputError, match=f"{room + 1} tokens.* have room for {room} at most"):
        stage.require_room(sound, stage.pieces("a" * (room + 1)))
    with pytest.raises(InputError, match="do not belong together"):
        stage.align([sound], [stage.pieces("a" * (room + 1))])


def test_a_text_that_just_fits_has_a_time_for_each_token() -> None:
    stage = aligner()

    [transcript] = stage.align([np.zeros(4 * BLOCK, np.float32)], [stage.pieces("今" * 11)])

    assert len(transcript.tokens) == 11
    assert all(0 <= (t.start_ms or 0) <= (t.end_ms or 0) <= 240 for t in transcript.tokens)
