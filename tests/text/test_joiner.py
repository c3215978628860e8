"""Words of a stream of pieces: the same as of all pieces at once, each as soon as nothing can change it."""

from __future__ import annotations

import itertools
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.result import Token
from funasr.text.join import (
    MOST_OPEN,
    Joiner,
    PieceJoiner,
    WordStartJoiner,
    merge_pieces,
    merge_word_starts,
)
from tests.text.test_join import PIECES, timed

WORD_STARTS = st.sampled_from(["▁", "▁he", "llo", "▁今", "好", "'s", "<unk>", "7"])


def fed(joiner: Joiner, pieces: list[Token], cuts: list[int]) -> tuple[Token, ...]:
    words: tuple[Token, ...] = ()
    edges = [0, *sorted(min(cut, len(pieces)) for cut in cuts), len(pieces)]
    for start, stop in itertools.pairwise(edges):
        new, joiner = pickle.loads(pickle.dumps(joiner)).add(pieces[start:stop])
        words += new
    return words + joiner.close()


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=14), st.lists(st.integers(0, 14), max_size=6))
def test_pieces_in_portions_make_the_words_of_all_at_once(texts: list[str], cuts: list[int]) -> None:
    pieces = timed(" ".join(texts))

    assert fed(PieceJoiner(), pieces, cuts) == merge_pieces(pieces)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORD_STARTS, max_size=14), st.lists(st.integers(0, 14), max_size=6))
def test_so_do_pieces_of_sentencepiece(texts: list[str], cuts: list[int]) -> None:
    pieces = timed(" ".join(texts))

    assert fed(WordStartJoiner(), pieces, cuts) == merge_word_starts(pieces)


@pytest.mark.parametrize(
    ("line", "settled", "tail"),
    [
        ("今 天", ["今", "天"], []),
        ("hel@@ lo", ["hello"], []),
        ("今 hel@@", ["今"], ["hel"]),
        ("hel@@ 好", ["好"], ["hel"]),
        ("用 a", ["用"], ["a"]),
        ("c p u", [], ["CPU"]),
        ("c p u 和", ["CPU", "和"], []),
        ("a hel@@", [], ["a", "hel"]),
        ("@@", [], []),
    ],
)
def test_a_word_is_settled_when_no_piece_can_continue_it(
    line: str, settled: list[str], tail: list[str]
) -> None:
    words, rest = PieceJoiner().add(timed(line))

    assert [word.text for word in words] == settled
    assert [word.text for word in rest.tail] == tail


def test_the_last_sentencepiece_word_stays_open() -> None:
    words, rest = WordStartJoiner().add(timed("▁hel lo ▁wor"))

    assert [word.text for word in words] == ["hello"]
    assert [word.text for word in rest.tail] == ["wor"]
    assert [word.text for word in rest.close()] == ["wor"]


def test_what_is_open_keeps_its_time() -> None:
    _, rest = PieceJoiner().add(timed("hel@@ l@@"))
    assert [(word.start_ms, word.end_ms) for word in rest.tail] == [(0, 200)]

    words, rest = rest.add(timed("好"))  # takes the time of what was open, as upstream
    assert [(word.start_ms, word.end_ms) for word in (*words, *rest.tail)] == [(0, 200), (100, 200)]


@pytest.mark.parametrize("piece", ["t@@", "a", "ld"])
def test_memory_is_bounded_and_no_piece_is_lost_where_it_ends(piece: str) -> None:
    pieces = [Token(text=piece, start_ms=i, end_ms=i + 1, ids=(i,)) for i in range(10 * MOST_OPEN)]
    joiner: Joiner = WordStartJoiner() if piece == "ld" else PieceJoiner()
    most = 0
    words: tuple[Token, ...] = ()
    for one in pieces:
        new, joiner = joiner.add([one])
        words += new
        most = max(most, joiner.nbytes)

    assert most < 100_000
    assert [id_ for word in (*words, *joiner.tail) for id_ in word.ids] == list(range(10 * MOST_OPEN))
