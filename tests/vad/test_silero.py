from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.errors import InputError, OptionError
from funasr.stages.silero import SileroDetector, SileroOptions
from funasr.vad.endpoint import SpeechEnd, SpeechStart
from funasr.vad.segments import finished


class Loudness:
    """Says that the first sample of each window is the probability of speech."""

    window_samples = 512

    def initial_state(self) -> Any:
        return np.zeros(1, np.float32)

    def score(self, windows: NDArray[np.float32], state: Any) -> tuple[NDArray[np.float32], Any]:
        return windows[:, 0], state


def sound(*runs: tuple[float, int]) -> NDArray[np.float32]:
    """(probability, windows of 32 ms) runs as sound for `Loudness`."""
    return np.concatenate([np.full(count * 512, value, np.float32) for value, count in runs])


def detect(samples: NDArray[np.float32], cuts: Sequence[int] = (), **options: Any) -> list[tuple[int, int]]:
    stream = SileroDetector(Loudness(), SileroOptions(**options)).stream()
    events = [event for part in np.split(samples, list(cuts)) for event in stream.accept(part)]
    return [(segment.start_ms, segment.end_ms) for segment in finished(events + stream.flush())]


def test_speech_is_padded_on_both_sides() -> None:
    # 10 windows of 32 ms before, 20 of speech: 320..960
    assert detect(sound((0.1, 10), (0.9, 20), (0.1, 20))) == [(290, 990)]


def test_a_pause_of_less_than_100_ms_does_not_end_a_segment() -> None:
    assert detect(sound((0.9, 20), (0.1, 3), (0.9, 20), (0.1, 20))) == [(0, 1406)]
    assert detect(sound((0.9, 20), (0.1, 6), (0.9, 20), (0.1, 20))) == [(0, 670), (802, 1502)]


def test_doubt_between_the_two_thresholds_goes_on_as_before() -> None:
    assert detect(sound((0.4, 20), (0.9, 10), (0.4, 20), (0.1, 20))) == [(610, 1630)]


def test_a_click_is_no_speech() -> None:
    assert detect(sound((0.1, 10), (0.9, 7), (0.1, 20))) == []  # 224 ms


def test_what_is_open_at_the_end_ends_there() -> None:
    assert detect(sound((0.1, 10), (0.9, 20))) == [(290, 960)]


def test_padding_never_makes_segments_overlap() -> None:
    samples = sound((0.9, 20), (0.1, 6), (0.9, 20), (0.1, 20))

    (_, end), (start, _) = detect(samples, silero_speech_pad_ms=500)

    assert end == start == 640 + 192 // 2


def test_long_speech_is_cut_at_its_deepest_pause() -> None:
    # 62.5 windows are allowed; the second half of them has a dip at window 50
    samples = sound((0.9, 50), (0.4, 1), (0.9, 60), (0.1, 20))

    assert detect(samples, max_single_segment_time=2000) == [(0, 1600), (1600, 3582)]


def test_pieces_of_long_speech_are_never_longer_than_allowed() -> None:
    pieces = detect(sound((0.9, 1000), (0.1, 20)), max_single_segment_time=3000)

    assert all(end - start <= 3000 for start, end in pieces)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))
    assert (pieces[0][0], pieces[-1][1]) == (0, 32_030)


runs = st.lists(st.tuples(st.sampled_from([0.9, 0.4, 0.1]), st.integers(1, 30)), min_size=1, max_size=25)


@settings(deadline=None)
@given(runs, st.lists(st.integers(0, 100_000), max_size=10), st.sampled_from([30, 200]))
def test_how_a_stream_is_cut_changes_nothing(
    parts: list[tuple[float, int]], cuts: list[int], pad: int
) -> None:
    samples = sound(*parts)

    got = detect(samples, sorted(cuts), silero_speech_pad_ms=pad, max_single_segment_time=2000)

    assert got == detect(samples, silero_speech_pad_ms=pad, max_single_segment_time=2000)


@pytest.mark.parametrize(
    "wrong", [{"silero_sampling_rate": 44100}, {"silero_threshold": 1.5}, {"max_single_segment_time": 10}]
)
def test_values_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        SileroOptions(**wrong)


def test_no_segment_starts_before_what_the_stream_says_may_be_forgotten() -> None:
    stream = SileroDetector(Loudness(), SileroOptions(max_single_segment_time=2000)).stream()
    samples = sound((0.1, 50), (0.9, 100), (0.1, 5), (0.9, 20), (0.1, 50), (0.9, 30), (0.1, 300))
    earliest, sizes = 0, []
    for window in samples.reshape(-1, 512):
        for segment in finished(stream.accept(window)):
            assert segment.start_ms >= earliest
        earliest = stream.earliest_start_ms
        sizes.append(stream.nbytes)

    assert earliest > 15_000
    assert max(sizes) < 3000


@settings(deadline=None, max_examples=50)
@given(runs, st.lists(st.integers(0, 100_000), max_size=10), st.sets(st.integers(0, 10), max_size=4))
def test_a_stream_pickled_and_resumed_elsewhere_finds_the_same(
    parts: list[tuple[float, int]], cuts: list[int], moves: set[int]
) -> None:
    samples = sound(*parts)
    options = SileroOptions(max_single_segment_time=2000, silero_speech_pad_ms=200)
    stream = SileroDetector(Loudness(), options).stream()

    events = []
    for turn, part in enumerate(np.split(samples, sorted(cuts))):
        if turn in moves:
            stream = SileroDetector(Loudness()).stream(state=pickle.loads(pickle.dumps(stream.state)))
        events += stream.accept(part)
    events += SileroDetector(Loudness()).stream(state=stream.state).flush()

    expected = detect(samples, max_single_segment_time=2000, silero_speech_pad_ms=200)
    assert [(segment.start_ms, segment.end_ms) for segment in finished(events)] == expected


def test_a_call_that_failed_may_be_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = sound((0.1, 600), (0.9, 20), (0.1, 6), (0.9, 500), (0.1, 20), (0.9, 10))
    scorer = Loudness()
    stream = SileroDetector(scorer).stream()
    stream.accept(samples[:1000])
    before = pickle.dumps(stream.state)

    def fails_in_its_second_block(windows: NDArray[np.float32], state: Any) -> Any:
        if windows[0, 0] > 0.5 or len(windows) == 1:
            raise RuntimeError("the device is gone")
        return Loudness().score(windows, state)

    with monkeypatch.context() as patch:
        patch.setattr(scorer, "score", fails_in_its_second_block)
        with pytest.raises(RuntimeError):
            stream.accept(samples[1000:])
        assert pickle.dumps(stream.state) == before
    events = stream.accept(samples[1000:])
    with monkeypatch.context() as patch:
        patch.setattr(scorer, "score", fails_in_its_second_block)
        stream.accept(np.full(10, 0.9, np.float32))
        with pytest.raises(RuntimeError):
            stream.flush()
    events += stream.flush()

    found = [(segment.start_ms, segment.end_ms) for segment in finished(events)]
    assert found == detect(np.append(samples, np.full(10, 0.9, np.float32)))


def test_a_state_of_other_options_or_another_detector_is_refused() -> None:
    state = SileroDetector(Loudness()).stream().state

    with pytest.raises(InputError, match="other options"):
        SileroDetector(Loudness()).stream(SileroOptions(silero_threshold=0.7), state=state)
    with pytest.raises(InputError, match="another detector"):
        SileroDetector(Loudness()).stream(state=replace(state, network=None))


def test_a_flushed_stream_takes_no_more() -> None:
    stream = SileroDetector(Loudness()).stream()
    stream.accept(sound((0.9, 20)))
    assert len(finished(stream.flush())) == 1

    assert stream.flush() == []
    with pytest.raises(InputError, match="flushed"):
        stream.accept(sound((0.9, 1)))


def test_a_start_is_told_once_speech_is_long_enough_and_an_end_after_the_pause() -> None:
    stream = SileroDetector(Loudness()).stream()
    told = [
        (window, event)
        for window, samples in enumerate(
            sound((0.1, 10), (0.9, 3), (0.1, 10), (0.9, 20), (0.1, 20)).reshape(-1, 512)
        )
        for event in stream.accept(samples)
    ]

    # 250 ms are 7.8 windows of 32 ms: the 3 are a click, the 8th of the 20 tells. Silence from window 43.
    assert told == [(30, SpeechStart(706)), (47, SpeechEnd(706, 1406))]
    assert stream.flush() == []


@settings(deadline=None)
@given(runs, st.lists(st.integers(0, 100_000), max_size=10), st.integers(0, 511))
def test_every_start_has_its_end_and_they_take_turns(
    parts: list[tuple[float, int]], cuts: list[int], more: int
) -> None:
    samples = np.append(sound(*parts), np.full(more, 0.9, np.float32))
    stream = SileroDetector(Loudness(), SileroOptions(max_single_segment_time=2000)).stream()
    events = [event for part in np.split(samples, sorted(cuts)) for event in stream.accept(part)]
    events += stream.flush()

    for start, end in zip(events[::2], events[1::2], strict=True):
        assert isinstance(start, SpeechStart)
        assert isinstance(end, SpeechEnd)
        assert start.start_ms == end.start_ms < end.end_ms
    assert [(segment.start_ms, segment.end_ms) for segment in finished(events)] == detect(
        samples, max_single_segment_time=2000
    )


@pytest.mark.parametrize("wrong", [np.full(400, np.nan, np.float32), np.ones(400, np.int16)])
def test_what_is_no_sound_is_refused_and_the_stream_goes_on(wrong: Any) -> None:
    samples = sound((0.1, 10), (0.9, 20), (0.1, 20))
    stream = SileroDetector(Loudness()).stream()

    with pytest.raises(InputError, match="expected"):
        stream.accept(wrong)

    found = finished(stream.accept(samples) + stream.flush())
    assert [(segment.start_ms, segment.end_ms) for segment in found] == [(290, 990)]
