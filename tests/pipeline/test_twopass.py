"""A draft while somebody speaks, and the offline pipeline's words when he has."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr import AutoModel
from funasr.arrays import Samples
from funasr.audio.load import load_audio
from funasr.errors import OptionError
from funasr.pipeline.events import Final, LiveEvent, Partial
from funasr.pipeline.twopass import TwoPassStream
from funasr.result import Transcript
from funasr.stages.live_speaker import LiveSpeakers
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.protocols import Hotwords
from tests.live_fakes import Checksums, Stops, WholeChecksum, loudness_detector, sound, word_of

DETECTOR = loudness_detector()
TALK = sound((0, 1), (0.1, 1.5), (0, 1.4), (0.1, 2.2), (0, 1.3), (0.1, 0.9))


def two_pass(**parts: Any) -> TwoPassStream:
    return TwoPassStream(WholeChecksum(), DETECTOR, Stops(), draft=Checksums(), **parts)


def heard(stream: TwoPassStream, samples: Samples, cuts: Sequence[int] = ()) -> list[LiveEvent]:
    events = [event for part in np.split(samples, sorted(cuts)) for event in stream.accept(part)]
    return [*events, *stream.flush()]


def finals(events: Sequence[LiveEvent]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def test_each_segment_is_recognized_from_exactly_its_own_sound() -> None:
    segments = DETECTOR.segments(TALK)

    found = finals(heard(two_pass(), TALK))

    assert [(final.start_ms, final.end_ms) for final in found] == [(s.start_ms, s.end_ms) for s in segments]
    for final, segment in zip(found, segments, strict=True):
        cut = TALK[segment.start_ms * 16 : segment.end_ms * 16]
        [word] = final.words
        assert word.text == word_of(cut, 0).text
        assert (word.start_ms, word.end_ms) == (segment.start_ms, segment.start_ms + len(cut) // 16)
        assert final.text == word.text + "."


def test_the_draft_comes_before_as_partials_and_nothing_of_it_is_called_stable() -> None:
    events = heard(two_pass(), TALK)

    assert {type(event) for event in events} == {Partial, Final}
    for number in range(3):
        *before, last = (event for event in events if event.id == number)
        assert isinstance(last, Final)
        assert before
        assert not {word.text for event in before for word in event.words} & {w.text for w in last.words}


def test_a_word_counted_too_long_does_not_reach_into_an_utterance_that_begins_at_once() -> None:
    class Late(WholeChecksum):
        """Ends its word 120 ms behind the sound, as a network that counts in frames may."""

        def recognize(self, batch: Sequence[Samples], options: Any = None) -> list[Transcript]:
            return [
                replace(one, tokens=tuple(replace(t, end_ms=(t.end_ms or 0) + 120) for t in one.tokens))
                for one in super().recognize(batch, options)
            ]

    detector = loudness_detector(max_single_segment_time=1000)
    first, second, *_, last = finals(heard(TwoPassStream(Late(), detector), sound((0, 1), (0.1, 3), (0, 1))))

    assert second.start_ms == first.end_ms == first.words[-1].end_ms
    assert last.words[-1].end_ms == last.end_ms + 120  # behind it is silence


def test_without_a_draft_there_are_only_finals() -> None:
    stream = TwoPassStream(WholeChecksum(), DETECTOR, Stops())

    assert heard(stream, TALK) == finals(heard(two_pass(), TALK))


@settings(deadline=None, max_examples=10)
@given(st.lists(st.integers(0, len(TALK)), max_size=12))
def test_neither_cuts_nor_pickling_change_an_event(cuts: list[int]) -> None:
    expected = heard(two_pass(), TALK)
    stream = two_pass()
    events: list[LiveEvent] = []
    for part in np.split(TALK, sorted(cuts)):
        events += stream.accept(part)
        stream = two_pass(state=pickle.loads(pickle.dumps(stream.state)))

    assert [*events, *stream.flush()] == expected


def test_a_second_pass_that_fails_can_be_taken_again() -> None:
    class Fails(WholeChecksum):
        failed = False

        def recognize(self, batch: Sequence[Samples], options: Any = None) -> list[Transcript]:
            if not self.failed:
                self.failed = True
                raise MemoryError("cannot allocate")
            return super().recognize(batch, options)

    stream = TwoPassStream(Fails(), DETECTOR, Stops(), draft=Checksums())

    with pytest.raises(MemoryError):
        stream.accept(TALK)

    assert heard(stream, TALK) == heard(two_pass(), TALK)


def test_hotwords_reach_the_recognizer() -> None:
    seen = []

    class Listens(WholeChecksum):
        def recognize(self, batch: Sequence[Samples], options: Any = None) -> list[Transcript]:
            seen.append(options)
            return super().recognize(batch, options)

    decode = DecodeOptions(hotwords=Hotwords(ids=((3, 4),), weights=(1.0,)))
    heard(TwoPassStream(Listens(), DETECTOR, decode=decode), TALK)

    assert seen == [decode] * 3


def test_speech_without_a_pause_is_cut_and_memory_stays_bounded() -> None:
    detector = loudness_detector(max_single_segment_time=2000)
    stream = TwoPassStream(WholeChecksum(), detector, draft=Checksums())
    sizes, found = [], []
    for seed in range(20):
        found += finals(stream.accept(sound((0.1, 1), seed=seed)))
        sizes.append(stream.nbytes)

    assert len(found) == 9
    assert all(one.end_ms == other.start_ms for one, other in itertools.pairwise(found))
    assert max(sizes) < 2.5 * 16000 * 4 + 60_000


def test_models_of_different_rates_are_no_stream() -> None:
    draft = Checksums()
    draft.rate = 8000

    with pytest.raises(OptionError, match="8000"):
        TwoPassStream(WholeChecksum(), DETECTOR, draft=draft)


@pytest.fixture(scope="module")
def model() -> AutoModel:
    return AutoModel(model="bundled-asr", vad_model="bundled-vad", device="cpu", disable_pbar=True)


@pytest.fixture(scope="module")
def talk(bundled_dir: Path) -> Samples:
    """Some of the sample recordings, with pauses between them."""
    folder = bundled_dir / "samples"
    parts = [load_audio(path) for path in sorted(folder.iterdir()) if path.suffix in (".flac", ".mp3")][:5]
    return np.concatenate([np.concatenate([part, np.zeros(20_000, np.float32)]) for part in parts])


def check_equal(model: AutoModel, samples: Samples, cuts: Sequence[int]) -> list[Final]:
    """The words of the stream are those of the offline pipeline on the same sound."""
    [offline] = model.transcribe(samples)
    stream = TwoPassStream(model.model, model.vad_model)

    found = finals(heard(stream, samples, cuts))

    assert [(f.start_ms, f.end_ms) for f in found] == [(s.start_ms, s.end_ms) for s in offline.segments]
    for final, segment in zip(found, offline.segments, strict=True):
        words = offline.tokens[segment.first_token : segment.stop_token]
        assert [word.text for word in final.words] == [word.text for word in words]
        for own, theirs in zip(final.words, words, strict=True):
            assert (own.start_ms, own.end_ms) == (theirs.start_ms, theirs.end_ms)
            assert own.confidence == pytest.approx(theirs.confidence, abs=1e-4)
    assert " ".join(final.text for final in found if final.text) == offline.text
    return found


def test_finals_are_what_the_offline_pipeline_finds_with_real_models(model: AutoModel, talk: Samples) -> None:
    cuts = np.random.default_rng(0).integers(0, len(talk), 50).tolist()

    found = check_equal(model, talk, cuts)

    assert len(found) >= 5


def test_silero_vad_as_the_detector_does_as_well(talk: Samples) -> None:
    model = AutoModel(model="bundled-asr", vad_model="silero-vad", device="cpu", disable_pbar=True)

    assert len(check_equal(model, talk[: 16000 * 12], range(0, 16000 * 12, 5000))) >= 2


def test_finals_are_what_the_offline_pipeline_finds_in_real_speech(model: AutoModel, shared: Path) -> None:
    samples = load_audio(shared / "data" / "vad" / "fsmn_example" / "wavs" / "vad_example.wav")[: 16000 * 15]

    assert check_equal(model, samples, range(0, len(samples), 1600))


def test_speakers_are_told_and_punctuated_words_keep_them() -> None:
    class Loud:
        """The voice of a sound is how loud it is."""

        shortest, rate = 400, 16000

        class network:  # noqa: N801
            size = 2

        def embed(self, utterances: Sequence[Samples]) -> Any:
            return np.array([[1, 0] if np.abs(s).max() > 1 else [0, 1] for s in utterances], np.float32)

    speakers = LiveSpeakers(Loud())  # type: ignore[arg-type]
    samples = sound((0, 1), (0.1, 1.5), (0, 1.4), (0.5, 1.5), (0, 1.3), (0.1, 1.5), (0, 1))
    stream = TwoPassStream(WholeChecksum(), DETECTOR, Stops(), speakers)

    events = finals(heard(stream, samples))

    assert [event.speaker for event in events] == [0, 1, 0]
    assert [event.to_dict()["speaker"] for event in events] == [0, 1, 0]
    assert all(word.speaker == event.speaker and word.mark for event in events for word in event.words)
