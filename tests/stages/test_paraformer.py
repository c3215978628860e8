"""The recognizer over a network of twenty lines: what is kept, timed, joined, and what never reaches it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.result import Transcript
from funasr.stages.paraformer import DecodeOptions, ParaformerRecognizer
from funasr.stages.protocols import AcousticRow, Hotwords
from funasr.text.tokenizer import CharTokenizer

VOCABULARY = ["<blank>", "<s>", "</s>", "今", "天", "hel@@", "lo", "a", "i", "<unk>"]
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
    """A network: every frame is a token, and weighs one; `</s>` comes last, as trained models have it."""

    accepts_hotwords = True

    def __init__(self, *, has_timestamps: bool = True) -> None:
        self.has_timestamps = has_timestamps
        self.seen: list[Hotwords | None] = []

    def infer(
        self, features: Features, lengths: NDArray[np.int64], hotwords: Hotwords | None = None
    ) -> list[AcousticRow]:
        assert lengths.min() > 0
        assert features.shape[1] == lengths.max()
        self.seen.append(hotwords)
        rate = 3 if self.has_timestamps else 1
        rows = []
        for row, length in zip(features, lengths, strict=True):
            ids = np.array([*row[:length, 0], 2], dtype=np.int64)
            alphas = np.zeros((length + 1) * rate, dtype=np.float32)
            alphas[1 if rate == 3 else 0 :: rate] = 1.0
            confidences = 1 - np.arange(len(ids), dtype=np.float32) / 16
            rows.append(AcousticRow(ids=ids, confidences=confidences, alphas=alphas, upsample_rate=rate))
        return rows


def say(*words: str) -> Samples:
    """Sound in which each word lasts one feature row."""
    ids = [VOCABULARY.index(word) for word in words]
    return np.repeat(np.array(ids, dtype=np.float32), BLOCK)


def recognizer(*, timed: bool = True, spaced: bool = False) -> ParaformerRecognizer:
    return ParaformerRecognizer(Echo(has_timestamps=timed), Rows(), CharTokenizer(VOCABULARY), spaced=spaced)


def test_ids_become_words_with_times_ids_and_confidence() -> None:
    (transcript,) = recognizer().recognize([say("今", "hel@@", "lo", "a", "i")])

    assert transcript.text == "今 hello AI"
    assert transcript.timed
    assert transcript.duration_ms == 300
    # A row is 60 ms; its weight fires 20 ms into it, and a token begins 30 ms (1.5 frames) before that.
    assert [(t.start_ms, t.end_ms) for t in transcript.tokens] == [(0, 50), (50, 170), (170, 360)]
    assert [t.ids for t in transcript.tokens] == [(3,), (5, 6), (7, 8)]
    assert [t.confidence for t in transcript.tokens] == [1.0, 0.875, 0.75]


def test_models_without_times_join_words_without_blanks() -> None:
    (transcript,) = recognizer(timed=False).recognize([say("今", "天", "a")])

    assert transcript.text == "今天a"
    assert not transcript.timed
    assert all(token.start_ms is None for token in transcript.tokens)


def test_coarse_times_can_be_asked_of_models_without_a_predictor_for_them() -> None:
    (transcript,) = recognizer(timed=False).recognize([say("今", "天")], DecodeOptions(timestamps=True))

    assert transcript.timed
    assert transcript.text == "今 天"
    assert [(t.start_ms, t.end_ms) for t in transcript.tokens] == [(0, 0), (0, 180)]


def test_spaced_text_is_a_property_of_the_model() -> None:
    (transcript,) = recognizer(timed=False, spaced=True).recognize([say("今", "天")])

    assert transcript.text == "今 天"


def test_special_ids_are_not_shown_and_an_unknown_word_leaves_a_gap() -> None:
    (transcript,) = recognizer().recognize([say("今", "</s>", "<unk>", "天")])

    assert [token.text for token in transcript.tokens] == ["今", "天"]


def test_silence_and_sound_without_frames_give_empty_transcripts_in_their_place() -> None:
    engine = recognizer()
    nothing = np.zeros(0, dtype=np.float32)
    short = np.zeros(100, dtype=np.float32)

    found = engine.recognize([nothing, say("今"), short, say("<blank>"), say("天", "天")])

    assert [transcript.text for transcript in found] == ["", "今", "", "", "天 天"]
    assert [transcript.duration_ms for transcript in found] == [0, 60, 6, 60, 120]
    assert [transcript.text for transcript in engine.recognize([nothing, short])] == ["", ""]
    assert engine.recognize([]) == []


def test_a_batch_gives_what_each_utterance_gives_alone() -> None:
    engine = recognizer()
    utterances = [say("今"), say("hel@@", "lo", "天"), say("a", "i", "a", "天", "今", "今")]

    assert engine.recognize(utterances) == [engine.recognize([one])[0] for one in utterances]


def test_threads_give_what_one_gives() -> None:
    engine = recognizer()
    utterances = [say(*["今", "hel@@", "lo"][: 1 + i % 3]) for i in range(40)]

    def run(one: Samples) -> Transcript:
        return engine.recognize([one])[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, utterances)) == [run(one) for one in utterances]


def test_features_are_recognized_as_their_sound_is() -> None:
    engine = recognizer()
    utterances = [say("今", "天"), say("a")]
    features, lengths = Rows().batch(utterances)

    assert engine.recognize_features(features, lengths) == engine.recognize(utterances)


def test_hotwords_reach_the_network_as_ids_with_weights(caplog: pytest.LogCaptureFixture) -> None:
    engine = recognizer()

    with caplog.at_level(logging.WARNING):
        hotwords, reports = engine.hotwords({"今天": 40, "明天": 20})
    engine.recognize([say("今")], DecodeOptions(hotwords=hotwords))

    assert hotwords == Hotwords(ids=((3, 4),), weights=(2.0,))
    assert isinstance(engine.network, Echo)
    assert engine.network.seen == [hotwords]
    assert [report.encoded for report in reports] == [True, False]
    assert "1 of 2 hotwords" in caplog.text
    assert "明天" in caplog.text


def test_no_hotwords_and_an_empty_list_are_not_the_same() -> None:
    engine = recognizer()

    assert engine.hotwords(None) == (None, ())
    assert engine.hotwords("") == (Hotwords(ids=(), weights=()), ())


def test_a_network_that_takes_no_hotwords_is_not_given_any(caplog: pytest.LogCaptureFixture) -> None:
    network = Echo()
    network.accepts_hotwords = False
    engine = ParaformerRecognizer(network, Rows(), CharTokenizer(VOCABULARY))

    with caplog.at_level(logging.WARNING):
        hotwords, _ = engine.hotwords("今天")
    engine.recognize([say("今")], DecodeOptions(hotwords=hotwords))

    assert network.seen == [None]
    assert "takes no hotwords" in caplog.text


def test_a_word_amid_speech_the_model_cannot_write_is_less_certain() -> None:
    [clear, amid] = recognizer().recognize([say("今", "天"), say("今", "<unk>", "<unk>", "天")])

    assert [token.confidence for token in clear.tokens] == [1.0, 1 - 1 / 16]
    assert [token.confidence for token in amid.tokens] == [0.5, 0.5 * (1 - 3 / 16)]
