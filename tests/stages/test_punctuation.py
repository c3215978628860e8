"""Punctuation over a network that says what a test tells it to, and over the small golden ones."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.result import Segment, Tag, Token, Transcript
from funasr.stages.punctuation import BATCH_WORDS, MOST_CARRIED, Punctuator
from funasr.text.words import JiebaSplitter, WordVocabulary, split_words
from tests.models.test_ct_transformer import network
from tests.text.test_sentences import assert_equals_upstream as sentences_equal

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

import punc_dirs  # noqa: E402

NO, COMMA, END, ASK = 1, 2, 3, 4
MARKS = set("，。？、,.?")
Ids = NDArray[np.int64]


class Told:
    """Labels by word id, and a record of what was asked."""

    def __init__(self, answer: Callable[[Ids], Ids]) -> None:
        self.answer = answer
        self.asked: list[tuple[list[int], list[int]]] = []
        """(first ids, lengths) of each batch."""
        self.boundaries: list[list[int]] = []

    def label(self, ids: Ids, lengths: Ids, boundaries: Ids | None = None) -> Ids:
        self.asked.append((ids[:, 0].tolist(), lengths.tolist()))
        self.boundaries.append([] if boundaries is None else boundaries.tolist())
        return self.answer(ids)


def numbered(count: int) -> tuple[str, WordVocabulary]:
    """A text of that many different characters, whose ids are 1, 2, 3, ..."""
    words = [chr(0x4E00 + i) for i in range(count)]
    return "".join(words), WordVocabulary(["<unk>", *words])


def at(count: int, labels: dict[int, int], vocabulary: WordVocabulary) -> tuple[Told, Punctuator]:
    """Label `labels[i]` at word i wherever it is seen, and none elsewhere."""
    table = np.full(count + 1, NO)
    for index, label in labels.items():
        table[index + 1] = label
    told = Told(lambda ids: table[ids])
    return told, Punctuator(told, vocabulary)


def windows(told: Told) -> list[tuple[int, int]]:
    """(index of the first word, words) of each window of a single text."""
    return [(first[0] - 1, lengths[0]) for first, lengths in told.asked]


def test_a_window_begins_after_the_last_sentence_of_the_one_before() -> None:
    text, vocabulary = numbered(50)
    told, punctuator = at(50, {9: COMMA, 15: END, 30: COMMA, 49: COMMA}, vocabulary)

    [result] = punctuator.punctuate([text])

    assert windows(told) == [(0, 20), (16, 24), (16, 34)]
    assert result.text == f"{text[:10]}，{text[10:16]}。{text[16:31]}，{text[31:]}。"
    assert [i for i, label in enumerate(result.labels) if label != NO] == [9, 15, 30, 49]
    assert result.labels[49] == END


def test_a_very_long_sentence_ends_at_its_last_comma() -> None:
    text, vocabulary = numbered(250)
    told, punctuator = at(250, dict.fromkeys(range(7, 250, 8), COMMA), vocabulary)

    [result] = punctuator.punctuate([text])

    sizes = [(0, size) for size in range(20, 240, 20)]
    assert windows(told) == [*sizes, (216, 24), (216, 34)]
    assert result.labels[215] == END
    assert result.labels[207] == COMMA


@pytest.mark.parametrize("index", [0, 1, 19])
def test_the_first_two_words_and_the_last_one_of_a_window_end_no_sentence(index: int) -> None:
    text, vocabulary = numbered(40)
    told, punctuator = at(40, {index: ASK}, vocabulary)

    punctuator.punctuate([text])

    assert windows(told) == [(0, 20), (0, 40)]


def test_windows_of_several_texts_share_a_batch() -> None:
    text, vocabulary = numbered(60)
    told, punctuator = at(60, {9: END, 29: END, 49: END}, vocabulary)

    together = punctuator.punctuate([text] * 30)

    assert [len(lengths) for _, lengths in told.asked] == [30, 30, 30]
    assert together == punctuator.punctuate([text]) * 30


def test_a_batch_holds_windows_of_similar_length_and_is_bounded() -> None:
    text, vocabulary = numbered(300)
    told, punctuator = at(300, {}, vocabulary)

    punctuator.punctuate([text[: 1 + i % 300] for i in range(900)])

    for _, lengths in told.asked:
        assert max(lengths) * len(lengths) <= BATCH_WORDS
        assert sum(lengths) >= 0.8 * max(lengths) * len(lengths)


def test_nothing_is_nothing() -> None:
    told, punctuator = at(3, {}, numbered(3)[1])

    first, second = punctuator.punctuate(["", " \n"])

    assert first.text == second.text == ""
    assert first.punc_array() is None
    assert punctuator.punctuate([]) == []
    assert told.asked == []


def test_a_word_of_a_dictionary_has_a_label_a_character() -> None:
    vocabulary = WordVocabulary(["<unk>", "今天", "不错", "hello"])
    told = Told(lambda ids: np.full_like(ids, COMMA))
    punctuator = Punctuator(told, vocabulary, split=str.split)

    [result] = punctuator.punctuate(["今天 不错 hello"])

    assert result.text == "今天，不错，hello."
    assert result.labels == (COMMA, COMMA, END)
    array = result.punc_array()
    assert array is not None
    assert array.dtype == np.int64
    assert array.tolist() == [NO, COMMA, NO, COMMA, END]


# The reference's small networks


def small(bias: str, *, live: bool = False, folder: Path | None = None) -> Punctuator:
    split = split_words
    if folder is not None:
        (folder / "jieba_usr_dict").write_text(punc_dirs.JIEBA_WORDS, encoding="utf-8")
        split = JiebaSplitter(folder / "jieba_usr_dict")
    name = "CTTransformerStreaming" if live else "CTTransformer"
    return Punctuator(network(name, bias), WordVocabulary(punc_dirs.TOKENS), split=split, live=live)


def assert_equals_upstream(folder: Path, tmp_path: Path) -> int:
    """Texts and punc_array of whole.json and live.json in `folder`."""
    compared = 0
    for bias, rows in json.loads((folder / "whole.json").read_text(encoding="utf-8")).items():
        jieba = bias == "jieba"
        punctuator = small("some", folder=tmp_path) if jieba else small(bias)
        for (text, expected, array), found in zip(
            rows, punctuator.punctuate([row[0] for row in rows]), strict=True
        ):
            assert found.text == expected, text
            assert np.asarray(found.punc_array()).tolist() == array, text
            compared += 1
    for bias, streams in json.loads((folder / "live.json").read_text(encoding="utf-8")).items():
        punctuator = small(bias, live=True)
        for calls in streams:
            stream = punctuator.stream()
            for text, expected, array, carried in calls:
                found = stream.accept(text)
                assert found.text == expected, text
                # Upstream's has the last window only.
                assert np.asarray(found.punc_array()).tolist()[-len(array) :] == array
                assert stream.carried == tuple(carried)
                compared += 1
    return compared


def test_texts_are_those_of_the_reference(tmp_path: Path) -> None:
    assert assert_equals_upstream(GOLDEN / "punc", tmp_path) > 300


def test_a_text_gives_with_others_what_it_gives_alone() -> None:
    rows = json.loads((GOLDEN / "punc" / "whole.json").read_text(encoding="utf-8"))["some"]
    texts = [row[0] for row in rows]
    punctuator = small("some")

    assert punctuator.punctuate(texts) == [punctuator.punctuate([text])[0] for text in texts]


def test_eight_threads_give_what_one_gives() -> None:
    rows = json.loads((GOLDEN / "punc" / "whole.json").read_text(encoding="utf-8"))["many"]
    texts = [row[0] for row in rows][:8]
    punctuator = small("many")
    serial = [punctuator.punctuate([text]) for text in texts]
    found: dict[int, object] = {}

    def work(index: int) -> None:
        found[index] = [punctuator.punctuate([texts[index]]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {index: [result] * 3 for index, result in enumerate(serial)}


# Live texts


def test_a_live_text_is_told_how_many_words_it_knows() -> None:
    _, vocabulary = numbered(10)
    table = np.full(11, NO)
    table[4] = COMMA
    told = Told(lambda ids: table[ids])
    stream = Punctuator(told, vocabulary, live=True).stream()
    text = "".join(chr(0x4E00 + i) for i in range(10))

    first, second = stream.accept(text[:4]), stream.accept(text[4:])

    assert (first.text, second.text) == (text[:4], "，" + text[4:])
    assert told.boundaries == [[0], [4]]
    assert told.asked[1] == ([1], [10])


def test_words_with_times_are_marked_as_the_live_text_that_they_are() -> None:
    text, vocabulary = numbered(8)
    table = np.array([0, NO, NO, NO, END, NO, COMMA, NO, ASK])
    stream = Punctuator(Told(lambda ids: table[ids]), vocabulary, live=True).stream()
    words = [Token(text=char, start_ms=10 * i, end_ms=10 * i + 5) for i, char in enumerate(text)]

    first = stream.mark_words(Transcript(key="", tokens=tuple(words[:6])))
    second = stream.mark_words(Transcript(key="", tokens=tuple(words[6:])))

    assert "".join(token.text + token.mark for token in first.tokens) == f"{text[:4]}。{text[4:6]}，"
    assert second.text == f"{text[6:]}？"
    assert [token.start_ms for token in (*first.tokens, *second.tokens)] == list(range(0, 80, 10))
    assert stream.carried == tuple(text[4:])
    assert stream.mark_words(Transcript(key="")).text == ""


def test_a_live_text_forgets_what_is_before_its_last_sentence_end() -> None:
    _, vocabulary = numbered(10)
    table = np.full(11, NO)
    table[4] = END
    stream = Punctuator(Told(lambda ids: table[ids]), vocabulary, live=True).stream()
    text = "".join(chr(0x4E00 + i) for i in range(10))

    stream.accept(text[:7])

    assert stream.carried == tuple(text[4:7])
    assert stream.flush() == "。"
    assert stream.carried == ()
    assert stream.flush() == ""


def test_a_piece_without_words_changes_nothing() -> None:
    _, vocabulary = numbered(3)
    stream = Punctuator(Told(lambda ids: np.full_like(ids, NO)), vocabulary, live=True).stream()
    stream.accept("一二")

    assert stream.accept("  ").text == ""
    assert stream.carried == ("一", "二")


def test_what_a_live_text_remembers_is_bounded() -> None:
    _, vocabulary = numbered(3)
    stream = Punctuator(Told(lambda ids: np.full_like(ids, NO)), vocabulary, live=True).stream()
    sizes = []
    for _ in range(60):
        stream.accept("一二三四五六七八九十" * 3)
        sizes.append(stream.nbytes)

    assert len(stream.carried) == MOST_CARRIED
    assert len(set(sizes[30:])) == 1


# Marks on recognized words


def heard(*words: str, spaced: bool = True, per_segment: int = 0) -> Transcript:
    tokens = tuple(
        Token(text=word, start_ms=100 * i, end_ms=100 * i + 50, ids=(i,), confidence=0.5)
        for i, word in enumerate(words)
    )
    step = per_segment or len(words) or 1
    segments = tuple(
        Segment(
            start_ms=100 * i, end_ms=100 * (i + step), first_token=i, stop_token=min(i + step, len(words))
        )
        for i in range(0, len(words), step)
    )
    return Transcript(key="a", tokens=tokens, segments=segments, timed=spaced, spaced=spaced)


def always(label: int, **options: object) -> Punctuator:
    return Punctuator(
        Told(lambda ids: np.full_like(ids, label)),
        WordVocabulary(["<unk>"]),
        **options,  # type: ignore[arg-type]
    )


def test_marks_stand_on_tokens_and_the_text_has_the_spacing_of_sentences() -> None:
    table = np.array([NO, COMMA, END])
    vocabulary = WordVocabulary(["<unk>", "气", "ok"])
    punctuator = Punctuator(Told(lambda ids: table[ids]), vocabulary)

    [marked] = punctuator.mark_words([heard("天", "气", "GPU", "ok", "go", "3", "5", per_segment=4)])

    assert [token.mark for token in marked.tokens] == ["", "，", "", ".", "", "", "."]
    assert marked.text == "天气，GPU ok. go 3 5."
    assert marked.raw_text == "天 气 GPU ok go 3 5"
    assert [(t.text, t.start_ms, t.ids) for t in marked.tokens][2] == ("GPU", 200, (2,))


def test_words_that_a_text_writes_together_share_the_mark_of_the_last() -> None:
    [marked] = always(COMMA).mark_words([heard("3", "5", "好", "ok", "3", spaced=False)])

    assert marked.raw_text == "35好ok3"
    assert [token.mark for token in marked.tokens] == ["", ",", "，", "", "."]
    assert marked.text == "35,好，ok3."


def test_a_mark_inside_of_a_word_is_left_out() -> None:
    [marked] = always(COMMA).mark_words([heard("你好", "吗")])

    assert marked.text == "你好，吗。"


def test_words_of_a_dictionary_span_tokens() -> None:
    def pairs(text: str) -> list[str]:
        joined = "".join(text.split())
        return [joined[i : i + 2] for i in range(0, len(joined), 2)]

    [marked] = always(COMMA, split=pairs).mark_words([heard("今", "天", "很", "好")])

    assert marked.text == "今天，很好。"


def test_channels_are_texts_of_their_own() -> None:
    tokens = tuple(Token(text=word, channel=i % 2) for i, word in enumerate("甲乙丙丁"))
    segments = tuple(
        Segment(start_ms=i, end_ms=i + 1, channel=i % 2, first_token=i, stop_token=i + 1) for i in range(4)
    )

    [marked] = always(NO).mark_words([Transcript(key="a", tokens=tokens, segments=segments)])

    assert [token.mark for token in marked.tokens] == ["", "", "。", "。"]
    assert marked.text == "甲 乙 丙。 丁。"


def test_tags_are_not_read_and_words_written_as_numbers_are_read_as_written() -> None:
    tokens = (Token(text="第", lead=" "), Token(text="35", spoken=("三", "十", "五")), Token(text="天"))
    tags = (Tag(text="<|zh|>", at=0), Tag(text="<|HAPPY|>", at=0))
    segment = Segment(start_ms=0, end_ms=1, stop_token=3, tags=tags)
    heard_words = Transcript(key="a", tokens=tokens, segments=(segment,), verbatim=True)

    [marked] = always(COMMA).mark_words([heard_words])

    assert [token.mark for token in marked.tokens] == ["，", ",", "。"]
    assert marked.text == "第，35,天。"


def test_silence_passes_through() -> None:
    told, punctuator = at(1, {}, numbered(1)[1])

    [marked] = punctuator.mark_words([Transcript(key="a")])

    assert marked.text == marked.raw_text == ""
    assert told.asked == []


WORDS = st.sampled_from(["好", "天", "ok", "it's", "AI", "3", "é", "好ok", "a1b2", "今天"])


@settings(deadline=None)
@given(
    texts=st.lists(st.lists(WORDS, max_size=50), max_size=4),
    seed=st.integers(0, 5),
    spaced=st.booleans(),
    per_segment=st.integers(0, 7),
)
def test_taking_the_marks_away_gives_the_words_back(
    texts: list[list[str]], seed: int, spaced: bool, per_segment: int
) -> None:
    def answer(ids: Ids) -> Ids:
        return np.random.default_rng(seed).integers(0, 6, ids.shape)

    punctuator = Punctuator(Told(answer), WordVocabulary(["<unk>"]))
    transcripts = [heard(*words, spaced=spaced, per_segment=per_segment) for words in texts]

    for before, after in zip(transcripts, punctuator.mark_words(transcripts), strict=True):
        assert [token.text for token in after.tokens] == [token.text for token in before.tokens]
        assert [(t.start_ms, t.end_ms, t.ids) for t in after.tokens] == [
            (t.start_ms, t.end_ms, t.ids) for t in before.tokens
        ]
        assert after.raw_text == before.text
        assert "".join(char for char in after.text if char not in MARKS | {" "}) == "".join(
            token.text for token in before.tokens
        )
        assert {token.mark for token in after.tokens} <= MARKS | {""}
        if after.tokens:
            assert after.tokens[-1].mark in ("。", "？", ".", "?")
        if spaced:  # ASCII words that stood apart do so still
            bare = "".join(char for char in after.text if char not in MARKS)
            assert split_words(bare) == split_words(before.text)


@pytest.mark.reference
def test_two_thousand_more_texts_and_calls_are_those_of_the_reference(
    reference_python: str, tmp_path: Path
) -> None:
    script = GOLDEN / "make_punc.py"
    subprocess.run([reference_python, str(script), "200", str(tmp_path)], check=True, capture_output=True)

    assert assert_equals_upstream(tmp_path, tmp_path) > 2000
    assert sentences_equal(tmp_path / "sentences.json") == 800


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=30), min_size=1, max_size=8),
    st.sets(st.integers(0, 8)),
    st.sets(st.integers(1, 12)),
)
def test_a_live_text_pickled_resumed_and_tried_again_reads_the_same(
    calls: list[list[int]], moves: set[int], failures: set[int]
) -> None:
    alphabet, vocabulary = numbered(50)
    texts = ["".join(alphabet[number - 1] for number in call) for call in calls]
    turns = iter(range(1, 1000))

    def answer(ids: Ids) -> Ids:
        return np.asarray(np.where(ids % 11 == 0, END, np.where(ids % 5 == 0, COMMA, NO)))

    def fails_at_times(ids: Ids) -> Ids:
        if next(turns) in failures:
            raise RuntimeError("the device is gone")
        return answer(ids)

    straight = Punctuator(Told(answer), vocabulary, live=True).stream()
    expected = [straight.accept(text).text for text in texts] + [straight.flush()]

    stream = Punctuator(Told(fails_at_times), vocabulary, live=True).stream()
    got = []
    for turn, text in enumerate(texts):
        if turn in moves:
            # As another process would: a model of its own.
            there = Punctuator(Told(fails_at_times), vocabulary, live=True)
            stream = there.stream(pickle.loads(pickle.dumps(stream.state)))
        while True:
            before = stream.state
            try:
                got.append(stream.accept(text).text)
                break
            except RuntimeError:
                assert stream.state == before
    got.append(stream.flush())

    assert got == expected
    assert stream.nbytes == stream.state.nbytes == 0
