"""The alignment stage: how a text is spelt, what is timed, and what cannot match."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.errors import InputError
from funasr.stages.aligner import Aligner, share_out
from funasr.text.tokenizer import CharTokenizer
from tests.small_dirs import seeded_dirs
from tests.stages.test_sense_voice import BLOCK, Rows

SEG_DICT = {word: tuple(pieces.split()) for word, pieces in seeded_dirs.SEG_DICT.items()}


class Even:
    """A network that hears a token every 60 ms, and one more at the end."""

    upsample_rate = 3

    def weigh(self, features: Features, lengths: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        return [np.full(3 * length, (length + 1) / (3 * length), np.float32) for length in lengths]


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
        ("abe", ["a@@", "b@@", "e"]),
        ("今，天。好！", ["今", "天", "好"]),
        ("hello, world", ["hel@@", "lo", "wor@@", "ld"]),
        ("今很天", ["今", "很", "天"]),  # 很 is not in the vocabulary
        ("xyz", ["x@@", "y@@", "z"]),
        ("äöü", ["äöü"]),
        ("e3", ["e", "3"]),
    ],
)
def test_a_text_is_spelt_with_the_vocabulary_and_keeps_what_that_lacks(text: str, pieces: list[str]) -> None:
    assert spelt(text) == pieces


def test_without_a_seg_dict_words_are_spelt_letter_by_letter() -> None:
    assert spelt("hello 今", seg_dict=False) == ["h@@", "e@@", "l@@", "l@@", "o", "今"]


def test_unknown_words_keep_their_text_and_their_time() -> None:
    stage = aligner()

    [transcript] = stage.align([np.zeros(8 * BLOCK, np.float32)], [stage.pieces("今很天")])

    assert transcript.text == "今 很 天"
    assert [len(pair) for pair in transcript.to_dict()["timestamp"]] == [2, 2, 2]


def test_english_words_that_are_spelt_letter_by_letter_stay_words_as_they_were_written() -> None:
    stage = aligner(seg_dict=False)

    [transcript] = stage.align([np.zeros(20 * BLOCK, np.float32)], [stage.pieces("Hello it's 今 me w t o")])

    assert transcript.text == "Hello it's 今 me WTO"  # letters that are given apart are an abbreviation
    times = transcript.to_dict()["timestamp"]
    assert len(times) == 5
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))


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
    stage.require_room([sound], stage.pieces("a" * room) if room else [])

    with pytest.raises(InputError, match=f"{room + 1} tokens.* have room for {room} at most"):
        stage.require_room([sound], stage.pieces("a" * (room + 1)))
    with pytest.raises(InputError, match="do not belong together"):
        stage.align([sound], [stage.pieces("a" * (room + 1))])


def test_a_text_that_just_fits_has_a_time_for_each_token() -> None:
    stage = aligner()

    [transcript] = stage.align([np.zeros(4 * BLOCK, np.float32)], [stage.pieces("今" * 11)])

    assert len(transcript.tokens) == 11
    assert all(0 <= (t.start_ms or 0) <= (t.end_ms or 0) <= 240 for t in transcript.tokens)


def test_parts_of_a_long_sound_get_their_share_of_the_text_and_their_own_times() -> None:
    stage = aligner()
    sounds = [np.zeros(blocks * BLOCK, np.float32) for blocks in (4, 2, 6)]
    parts = list(zip((1000, 5000, 9000), sounds, strict=True))

    transcript = stage.align_parts(parts, stage.pieces("今天好去 来我 今天好去来我"), 12_000)

    assert transcript.text == "今 天 好 去 来 我 今 天 好 去 来 我"
    assert transcript.duration_ms == 12_000
    alone = stage.align(sounds, [stage.pieces(text) for text in ("今天好去", "来我", "今天好去来我")])
    assert [(t.start_ms, t.end_ms) for t in transcript.tokens] == [
        ((t.start_ms or 0) + start, (t.end_ms or 0) + start)
        for (start, _), part in zip(parts, alone, strict=True)
        for t in part.tokens
    ]


def test_a_word_is_not_shared_between_two_parts() -> None:
    stage = aligner()
    parts = [(0, np.zeros(3 * BLOCK, np.float32)), (1000, np.zeros(3 * BLOCK, np.float32))]

    transcript = stage.align_parts(parts, stage.pieces("hello world hello"), 2000)

    assert [token.text for token in transcript.tokens] == ["hello", "world", "hello"]
    assert [(token.end_ms or 0) > 1000 for token in transcript.tokens] == [False, True, True]


def test_parts_that_are_too_short_for_the_text_are_an_error() -> None:
    stage = aligner()
    parts = [(0, np.zeros(BLOCK, np.float32)), (1000, np.zeros(BLOCK, np.float32))]

    with pytest.raises(InputError, match=r"5 tokens, and 0\.12 s of sound have room for 4 at most"):
        stage.align_parts(parts, stage.pieces("今天好去来"), 2000)


def test_parts_that_the_network_hears_nothing_in_share_by_their_length() -> None:
    assert share_out([0.0, 0.0], [2, 6], [True] * 4) == [1, 4]


@given(
    st.lists(st.tuples(st.floats(0, 20), st.integers(0, 20)), min_size=1, max_size=8),
    st.lists(st.booleans(), max_size=40),
)
def test_every_token_has_a_part_that_has_room_for_it(
    parts: list[tuple[float, int]], ends_word: list[bool]
) -> None:
    masses, rooms = [mass for mass, _ in parts], [room for _, room in parts]
    assume(sum(rooms) >= len(ends_word))

    ends = share_out(masses, rooms, ends_word)

    begins = [0, *ends[:-1]]
    assert ends[-1] == len(ends_word)
    assert all(0 <= end - begin <= room for begin, end, room in zip(begins, ends, rooms, strict=True))
    if sum(rooms) >= 2 * len(ends_word) + 40 and all(ends_word):
        shares = [len(ends_word) * sum(masses[: i + 1]) / max(sum(masses), 1e-9) for i in range(len(masses))]
        fits = all(room >= len(ends_word) for room in rooms)
        assert not fits or sum(masses) == 0 or np.allclose(ends, shares, atol=0.51)
