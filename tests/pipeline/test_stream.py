"""A stream with words, by a recognizer whose words are checksums: any sample that is amiss changes them."""

from __future__ import annotations

import gc
import itertools
import json
import pickle
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.arrays import Samples
from funasr.errors import InputError, OptionError
from funasr.pipeline.events import Final, LiveEvent, Partial, Stable
from funasr.pipeline.stream import RecognitionStream
from funasr.pipeline.stream_state import StreamOptions
from funasr.result import Token
from funasr.stages.punctuation import Punctuator
from funasr.stages.silero import SileroDetector, SileroOptions
from funasr.text.words import WordVocabulary
from tests.live_fakes import STRIDE, Checksums, Frames, Stops, loudness_detector, sound, word_of

TALK = sound((0, 1), (0.1, 1.5), (0, 1.4), (0.1, 2.2), (0, 1.3), (0.1, 0.9))
"""Three stretches of speech; the last one is not over."""

DETECTOR, SAME = loudness_detector(), loudness_detector()


def stream(**options: Any) -> RecognitionStream:
    return RecognitionStream(Checksums(), DETECTOR, Stops(), options=StreamOptions(**options))


def heard(one: RecognitionStream, samples: Samples, cuts: Sequence[int] = ()) -> list[LiveEvent]:
    events = [event for part in np.split(samples, sorted(cuts)) for event in one.accept(part)]
    return [*events, *one.flush()]


def of(kind: type, events: Sequence[LiveEvent]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_every_stretch_of_speech_is_an_utterance_with_the_detectors_times() -> None:
    segments = DETECTOR.segments(TALK)

    finals = of(Final, heard(stream(), TALK))

    assert [final.id for final in finals] == [0, 1, 2]
    assert [(f.start_ms, f.end_ms) for f in finals] == [(s.start_ms, s.end_ms) for s in segments]


def test_the_recognizer_hears_from_before_the_first_word_until_the_end_was_noticed() -> None:
    [first, *_] = DETECTOR.segments(TALK)
    start = first.start_ms * 16
    noticed = first.end_ms * 16
    while noticed % 960 or len(DETECTOR.stream().accept(TALK[:noticed])) < 2:
        noticed += 1
    stop = noticed - 960  # the block in which it is noticed is not heard

    [final, *_] = of(Final, heard(stream(), TALK))

    expected = [
        word_of(TALK[at : min(at + STRIDE, stop)], at - start).shifted(first.start_ms)
        for at in range(start, stop, STRIDE)
    ]
    assert start < 16000 < (1 + 1.5) * 16000 < stop
    assert [replace(word, mark="") for word in final.words] == expected


def test_without_a_detector_all_sound_is_one_utterance_until_its_end() -> None:
    one = RecognitionStream(Checksums(), None, Stops())

    events = heard(one, TALK)

    [final] = of(Final, events)
    words = [word_of(TALK[at : at + STRIDE], at) for at in range(0, len(TALK), STRIDE)]
    assert final.words == (*words[:-1], replace(words[-1], mark="."))
    assert (final.start_ms, final.end_ms) == (0, len(TALK) // 16)


def test_without_a_detector_a_long_utterance_ends_with_a_word_and_no_sound_is_lost() -> None:
    events = heard(RecognitionStream(Checksums(), options=StreamOptions(longest_ms=2000)), TALK)

    finals = of(Final, events)
    words = [word_of(TALK[at : at + STRIDE], at) for at in range(0, len(TALK), STRIDE)]
    assert [word for final in finals for word in final.words] == words
    assert [final.id for final in finals] == list(range(len(finals)))
    assert len(finals) > 3
    assert all(final.end_ms - final.start_ms <= 2400 for final in finals)


@pytest.mark.parametrize("detector", [True, False])
def test_events_come_in_their_order_and_say_what_they_promise(detector: bool) -> None:
    one = RecognitionStream(Checksums(), DETECTOR if detector else None, Stops())

    events = heard(one, TALK)

    assert [event.id for event in events] == sorted(event.id for event in events)
    for number in {event.id for event in events}:
        *before, final = (event for event in events if event.id == number)
        assert isinstance(final, Final)
        settled: tuple[Token, ...] = ()
        shown: tuple[Token, ...] = ()
        for event in before:
            if isinstance(event, Stable):
                assert event.words
                assert (event.start_ms, event.end_ms) == (event.words[0].start_ms, event.words[-1].end_ms)
                settled += event.words
            else:
                assert isinstance(event, Partial)
                assert event.words != shown
                assert event.words[: event.settled] == settled
                assert event.end_ms >= event.words[-1].end_ms
                shown = event.words
        assert [replace(word, mark="") for word in final.words] == list(settled)
        assert final.words[-1].mark == "."
        assert "".join(event.text for event in of(Stable, before)) + "." == final.text


def test_silence_and_no_sound_say_nothing() -> None:
    for samples in (np.zeros(0, np.float32), sound((0, 5))):
        assert heard(stream(), samples) == []
    assert heard(RecognitionStream(Checksums()), np.zeros(0, np.float32)) == []


class Scripted:
    """silero-vad's network, as if it heard speech with one pause at 3.2 s that is too short to end it."""

    window_samples = 512

    def initial_state(self) -> Any:
        return Frames()

    def score(self, windows: NDArray[np.float32], state: Frames) -> tuple[NDArray[np.float32], Any]:
        places = state.count + np.arange(len(windows))
        scores = np.where(places == 100, 0.4, 0.9).astype(np.float32)
        return scores, Frames(state.count + len(windows))


def test_speech_that_is_cut_far_back_is_heard_once() -> None:
    detector = SileroDetector(Scripted(), SileroOptions(max_single_segment_time=6000))
    samples = sound((0.1, 9))

    finals = of(Final, heard(RecognitionStream(Checksums(), detector), samples))

    assert [(final.start_ms, final.end_ms) for final in finals] == [(0, 3200), (3200, 9000)]
    [*words] = [word for final in finals for word in final.words]
    assert words[0].start_ms == 0
    assert all(one.end_ms == other.start_ms for one, other in itertools.pairwise(words))
    assert words[-1].end_ms == 9000


class FewWords:
    """A tagger whose label of a word depends on how many words it is told with."""

    def label(self, ids: Any, lengths: Any, boundaries: Any = None) -> Any:
        return np.where(np.arange(ids.shape[1]) % 5 == 4, 2, 1) * np.ones_like(ids)


def test_a_punctuation_model_of_live_texts_reads_on_over_the_utterances() -> None:
    vocabulary = WordVocabulary(["<unk>"])
    punctuator = Punctuator(FewWords(), vocabulary, live=True)

    def new(state: Any = None) -> RecognitionStream:
        return RecognitionStream(Checksums(), DETECTOR, punctuator, state=state)

    events = heard(new(), TALK)
    first = new()
    moved = [*first.accept(TALK[:60_000])]
    moved += heard(new(pickle.loads(pickle.dumps(first.state))), TALK[60_000:])

    words = [word for final in of(Final, events) for word in final.words]
    # No sentence ends here, so each utterance is read with all words before it: every fifth has a comma.
    assert [place % 5 == 4 for place in range(len(words))] == [word.mark == "," for word in words]
    assert len(words) > 12
    assert moved == events


pieces = st.lists(st.tuples(st.sampled_from([0.0, 0.1]), st.floats(0.05, 2.5)), min_size=1, max_size=7)


@settings(deadline=None, max_examples=40)
@given(pieces, st.lists(st.integers(0, 200_000), max_size=30), st.booleans())
def test_how_sound_is_cut_changes_no_event(
    runs: list[tuple[float, float]], cuts: list[int], detector: bool
) -> None:
    samples = sound(*runs)
    found = loudness_detector(max_single_segment_time=2000) if detector else None
    options = StreamOptions(longest_ms=1500)

    one = RecognitionStream(Checksums(), found, Stops(), options=options)
    other = RecognitionStream(Checksums(), found, Stops(), options=options)

    assert heard(one, samples, cuts) == heard(other, samples)


def test_single_samples_change_nothing_either() -> None:
    samples = TALK[:40_000]

    assert heard(stream(), samples, range(1, len(samples))) == heard(stream(), samples)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, len(TALK)), max_size=10), st.booleans())
def test_a_stream_goes_on_elsewhere_from_its_pickled_state(cuts: list[int], detector: bool) -> None:
    found, same = (DETECTOR, SAME) if detector else (None, None)
    expected = heard(RecognitionStream(Checksums(), found), TALK)
    one = RecognitionStream(Checksums(), found)

    events: list[LiveEvent] = []
    for part in np.split(TALK, sorted(cuts)):
        events += one.accept(part)
        state = pickle.loads(pickle.dumps(one.state))
        one = RecognitionStream(Checksums(), same, state=state)
    assert [*events, *one.flush()] == expected


def test_a_state_that_was_kept_does_not_change_when_its_stream_goes_on() -> None:
    one = stream()
    before = one.accept(TALK[:30_000])
    kept = one.state

    first = [*before, *one.accept(TALK[30_000:]), *one.flush()]
    again = RecognitionStream(Checksums(), DETECTOR, Stops(), state=kept)

    assert [*before, *again.accept(TALK[30_000:]), *again.flush()] == first


@pytest.mark.parametrize("fail_at", range(1, 13))
@pytest.mark.parametrize("detector", [True, False])
def test_a_step_that_fails_can_be_taken_again(fail_at: int, detector: bool) -> None:
    found = DETECTOR if detector else None
    one = RecognitionStream(Checksums(fail_at), found, Stops())
    events: list[LiveEvent] = []
    failed = 0

    for part in [*np.split(TALK, range(10_000, len(TALK), 10_000)), None]:
        before = pickle.dumps(one.state)
        try:
            events += one.flush() if part is None else one.accept(part)
        except MemoryError:
            failed += 1
            assert pickle.dumps(one.state) == before
            events += one.flush() if part is None else one.accept(part)

    assert failed == 1
    assert events == heard(RecognitionStream(Checksums(), found, Stops()), TALK)


def test_what_a_stream_holds_is_bounded_by_the_longest_segment() -> None:
    one = RecognitionStream(Checksums(), loudness_detector(max_single_segment_time=3000))
    sizes = []
    for seed in range(30):
        one.accept(sound((0.1, 4), (0, 0.3), seed=seed))
        sizes.append(one.nbytes)

    assert max(sizes) < 3.6 * 16000 * 4 + 60_000
    assert len(pickle.dumps(one.state)) < max(sizes) + 20_000


def test_opening_and_closing_streams_leaves_nothing_behind() -> None:
    streamer = Checksums()

    def cycle() -> None:
        one = RecognitionStream(streamer, DETECTOR)
        one.accept(TALK[16000:24000])
        one.flush()

    tracemalloc.start()
    for _ in range(30):
        cycle()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(30):
        cycle()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    # A stream holds 30,000 bytes; numpy keeps some small pieces of memory for itself.
    assert grown < 60_000


def test_any_kind_of_mono_samples_is_heard_alike() -> None:
    integers = (TALK * 32767).astype(np.int16)
    floats = integers.astype(np.float32) / 32768

    expected = heard(stream(), floats)

    assert heard(stream(), integers) == expected
    assert heard(stream(), floats.astype(np.float64)) == expected


def test_no_number_is_heard_as_silence() -> None:
    samples = TALK.copy()
    samples[100], samples[200] = np.nan, np.inf
    clean = np.where(np.isfinite(samples), samples, np.float32(0))

    assert heard(stream(), samples) == heard(stream(), clean)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 100), np.float32), r"mono samples \(N,\), not an array of shape \(2, 100\)"),
        (np.full(10, 12000, np.float32), "reach 1.2e\\+04"),
        (np.zeros(3, np.complex64), "complex64"),
        ("a.wav", r"not str; generate\(\) takes files"),
        (b"\0\0", "samples, not bytes"),
    ],
)
def test_what_is_no_sound_is_refused_and_the_stream_goes_on(samples: Any, message: str) -> None:
    one = stream()
    events = [*one.accept(TALK[:1000])]

    with pytest.raises(InputError, match=message):
        one.accept(samples)

    assert [*events, *heard(one, TALK[1000:])] == heard(stream(), TALK)


def test_after_its_end_a_stream_takes_no_more_sound() -> None:
    one = stream()
    assert heard(one, TALK)

    assert one.flush() == ()
    with pytest.raises(InputError, match="flushed"):
        one.accept(TALK)


def test_models_of_different_rates_are_no_stream() -> None:
    streamer = Checksums()
    streamer.rate = 8000

    with pytest.raises(OptionError, match="8000 Hz, another 16000 Hz"):
        RecognitionStream(streamer, DETECTOR)


def test_a_state_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="with a detector, and this one has none"):
        RecognitionStream(Checksums(), state=stream().state)


@pytest.mark.parametrize("options", [{"longest_ms": 0}, {"block_ms": 1.5}, {"block_ms": True}])
def test_lengths_must_be_milliseconds(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        StreamOptions(**options)


def test_events_are_json() -> None:
    events = heard(stream(), TALK)

    records = [json.loads(json.dumps(event.to_dict())) for event in events]

    assert {record["type"] for record in records} == {"partial", "stable", "final"}
    final = next(record for record in records if record["type"] == "final")
    assert final["words"][-1].keys() == {"text", "start_ms", "end_ms", "confidence", "mark"}
    assert final["text"].endswith(".")
    assert "settled" in records[0]


# ------------------------------------------------------------------------------------------- before the sound


def test_silence_goes_before_a_stream_that_no_detector_cuts_and_times_do_not_count_it() -> None:
    lead = np.zeros(300 * 16, dtype=np.float32)
    plain = of(Final, heard(RecognitionStream(Checksums()), np.concatenate([lead, TALK])))

    finals = of(Final, heard(RecognitionStream(Checksums(), options=StreamOptions(lead_in_ms=300)), TALK))

    assert [word.text for word in finals[0].words] == [word.text for word in plain[0].words]
    spans = [(word.start_ms, word.end_ms) for word in finals[0].words]
    assert spans == [(max(w.start_ms - 300, 0), w.end_ms - 300) for w in plain[0].words]
    assert finals[0].start_ms == 0


def test_an_utterance_has_its_own_sound_before_it_and_no_silence() -> None:
    assert heard(stream(lead_in_ms=300), TALK) == heard(stream(), TALK)


def test_a_stream_with_silence_before_it_goes_on_elsewhere_whatever_the_cuts() -> None:
    options = StreamOptions(lead_in_ms=300)
    first = RecognitionStream(Checksums(), options=options)
    events = list(first.accept(TALK[:20_001]))
    second = RecognitionStream(Checksums(), options=options, state=pickle.loads(pickle.dumps(first.state)))

    events += [*second.accept(TALK[20_001:]), *second.flush()]

    assert events == heard(RecognitionStream(Checksums(), options=options), TALK, [7, 9000])


@pytest.mark.parametrize("value", [-1, 2.5, True])
def test_a_lead_in_that_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(OptionError, match="lead_in_ms"):
        StreamOptions(lead_in_ms=value)
