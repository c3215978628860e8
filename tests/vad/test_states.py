"""What a live stream remembers can be kept, pickled and resumed; nothing else is remembered."""

from __future__ import annotations

import gc
import itertools
import pickle
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.auto.detect import feed
from funasr.auto.options import CallOptions
from funasr.errors import InputError
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.stages.protocols import FrameScorer
from funasr.stages.vad import SpeechDetector, VadStream
from funasr.vad.endpoint import Event
from funasr.vad.options import VadOptions
from funasr.vad.segments import stream_pairs


@dataclass(frozen=True)
class Seen:
    """A position, as the memory of a network."""

    frames: int = 0

    @property
    def nbytes(self) -> int:
        return 8


class Scripted:
    """A network that says what it was told to say, over and over; its memory is a position."""

    def __init__(self, p_silence: NDArray[np.float32]) -> None:
        self.p_silence = p_silence

    def initial_state(self, batch: int = 1) -> Seen:
        return Seen()

    def score(self, features: Features, state: Seen) -> tuple[NDArray[np.float32], Seen]:
        count = features.shape[1]
        at = np.arange(state.frames, state.frames + count) % len(self.p_silence)
        return self.p_silence[None, at], Seen(state.frames + count)


class Unreliable:
    """Another network, that fails each time `fails` says so, having answered."""

    def __init__(self, scorer: FrameScorer, fails: Callable[[], bool]) -> None:
        self._scorer, self._fails = scorer, fails

    def initial_state(self, batch: int = 1) -> Any:
        return self._scorer.initial_state(batch)

    def score(self, features: Features, state: Any) -> tuple[NDArray[np.float32], Any]:
        answer = self._scorer.score(features, state)
        if self._fails():
            raise RuntimeError("the device is gone")
        return answer


def scores(*runs: tuple[float, int]) -> NDArray[np.float32]:
    return np.concatenate([np.full(count, value, np.float32) for value, count in runs])


def detector(scorer: FrameScorer, **options: Any) -> SpeechDetector:
    """Of sound at 1000 Hz, so that hours are short."""
    config = FrontendConfig(fs=1000, n_mels=2, lfr_m=5, lfr_n=1, dither=0.0)
    return SpeechDetector(scorer, WavFrontend(config), VadOptions(sample_rate=1000, **options))


TALK = scores((0.99, 100), (0.01, 150), (0.99, 60), (0.01, 300), (0.99, 250), (0.01, 900), (0.99, 140))
"""19 s."""

SETTINGS: list[tuple[dict[str, Any], int | None]] = [
    ({}, None),
    ({}, 200),
    ({"dynamic_silence": True}, None),
    ({"decibel_thres": -30.0, "snr_thres": 3.0}, 60),
    ({"max_single_segment_time": 2000, "dynamic_silence": True}, 600),
]


def sound(seconds: float) -> Samples:
    """Noise whose loudness comes and goes."""
    rng = np.random.default_rng(7)
    count = int(seconds * 1000)
    loudness = np.repeat(rng.choice([0.001, 0.05, 0.3], count // 400 + 1), 400)[:count]
    return (loudness * rng.standard_normal(count)).astype(np.float32)


def straight(vad: SpeechDetector, samples: Samples, chunk_ms: int | None) -> list[Event]:
    stream = vad.stream(chunk_ms=chunk_ms)
    return stream.accept(samples) + stream.flush()


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(SETTINGS),
    st.lists(st.integers(0, 24_000), max_size=25),
    st.sets(st.integers(0, 25), max_size=6),
)
def test_a_stream_pickled_and_resumed_elsewhere_tells_the_same(
    setting: tuple[dict[str, Any], int | None], cuts: list[int], moves: set[int]
) -> None:
    options, chunk_ms = setting
    samples = sound(24)
    stream = detector(Scripted(TALK), **options).stream(chunk_ms=chunk_ms)

    events: list[Event] = []
    for turn, part in enumerate(np.split(samples, sorted(cuts))):
        if turn in moves:
            # As another process would: a detector of its own, and no options but those of the state.
            stream = detector(Scripted(TALK)).stream(state=pickle.loads(pickle.dumps(stream.state)))
        events += stream.accept(part)
    events += detector(Scripted(TALK)).stream(state=stream.state).flush()

    assert events == straight(detector(Scripted(TALK), **options), samples, chunk_ms)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from(SETTINGS),
    st.lists(st.integers(0, 24_000), max_size=15),
    st.sets(st.integers(1, 100), max_size=20),
)
def test_a_call_that_failed_may_be_made_again(
    setting: tuple[dict[str, Any], int | None], cuts: list[int], failures: set[int]
) -> None:
    options, chunk_ms = setting
    samples, calls = sound(24), iter(range(1, 10**6))
    vad = detector(Unreliable(Scripted(TALK), lambda: next(calls) in failures), **options)
    stream = vad.stream(chunk_ms=chunk_ms)

    def persistently(call: Callable[[], list[Event]]) -> list[Event]:
        while True:
            before = pickle.dumps(stream.state)
            try:
                return call()
            except RuntimeError:
                assert pickle.dumps(stream.state) == before

    events: list[Event] = []
    for part in np.split(samples, sorted(cuts)):
        events += persistently(lambda part=part: stream.accept(part))  # type: ignore[misc]
    events += persistently(stream.flush)

    assert events == straight(detector(Scripted(TALK), **options), samples, chunk_ms)


def test_a_state_stays_what_it_was_while_its_stream_goes_on() -> None:
    vad = detector(Scripted(TALK), decibel_thres=-30.0)
    stream = vad.stream(chunk_ms=200)
    stream.accept(sound(24)[:3333])
    kept = stream.state
    later = stream.accept(sound(24)[3333:]) + stream.flush()

    again = vad.stream(state=kept)

    assert again.accept(sound(24)[3333:]) + again.flush() == later
    assert not kept.flushed
    with pytest.raises(FrozenInstanceError):
        kept.flushed = True  # type: ignore[misc]
    for array in (kept.waiting, kept.unmeasured, kept.endpoint.recent, kept.frontend.samples):
        assert array.size
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_three_hours_of_sound_leave_no_trace() -> None:
    vad = detector(Scripted(TALK), decibel_thres=-60.0, dynamic_silence=True)
    stream = vad.stream(chunk_ms=7000)
    minute = sound(60)
    stream.accept(minute)
    sizes, pickles, segments = [], [], 0
    for number in range(180):
        segments += len(stream.accept(minute)) // 2
        if number % 6 == 0:
            sizes.append(stream.nbytes)
            pickles.append(len(pickle.dumps(stream.state)))

    assert stream.state.endpoint.frames > 3 * 3600 * 100
    assert segments > 900
    # A chunk of 7000 samples at most, a window, a few frames.
    assert max(sizes) < 7000 * 4 + 1000
    assert max(pickles) - min(pickles) < 7000 * 4 + 200


def test_a_thousand_streams_that_came_and_went_leave_no_memory() -> None:
    vad = detector(Scripted(TALK), dynamic_silence=True)
    samples = sound(0.15)

    def connect_and_flush(count: int) -> int:
        for _ in range(count):
            stream = vad.stream(chunk_ms=100)
            stream.accept(samples)
            stream.flush()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        held = [connect_and_flush(50), *(connect_and_flush(350) for _ in range(3))]
    finally:
        tracemalloc.stop()
    # Python and numpy now and then keep some for later; what leaks grows every time, by 16 bytes at least.
    assert min(after - before for before, after in itertools.pairwise(held)) < 350 * 16


class Strange(Scripted):
    """The same in another back end."""

    def initial_state(self, batch: int = 1) -> Any:
        return np.zeros(1)


def test_a_state_of_another_back_end_or_of_other_options_is_refused() -> None:
    state = detector(Scripted(TALK)).stream(chunk_ms=60).state

    with pytest.raises(InputError, match=r"Seen.*ndarray"):
        detector(Strange(TALK)).stream(state=state)
    with pytest.raises(InputError, match="other options"):
        detector(Scripted(TALK)).stream(VadOptions(max_end_silence_time=300), state=state)
    with pytest.raises(InputError, match="other options"):
        detector(Scripted(TALK)).stream(state=state, chunk_ms=600)


@pytest.mark.parametrize("chunk_ms", [None, 600])
def test_a_flushed_stream_takes_no_more(chunk_ms: int | None) -> None:
    def refused(streams: Sequence[VadStream]) -> None:
        for stream in streams:
            assert stream.flush() == []
            with pytest.raises(InputError, match="flushed"):
                stream.accept(sound(0.1))

    vad = detector(Scripted(TALK))
    stream = vad.stream(chunk_ms=chunk_ms)
    stream.accept(sound(3))
    stream.flush()

    refused([stream, vad.stream(state=stream.state)])


@pytest.mark.parametrize("chunk_ms", [None, 100])
@pytest.mark.parametrize("wrong", [np.full(400, np.nan, np.float32), np.ones(400, np.int16)])
def test_what_is_no_sound_is_refused_and_the_stream_goes_on(chunk_ms: int | None, wrong: Any) -> None:
    samples = sound(3)
    vad = detector(Scripted(TALK))
    stream = vad.stream(chunk_ms=chunk_ms)

    with pytest.raises(InputError, match="expected"):
        stream.accept(wrong)

    other = vad.stream(chunk_ms=chunk_ms)
    assert stream.accept(samples) + stream.flush() == other.accept(samples) + other.flush() != []


def test_the_last_call_of_generate_happens_as_a_whole_or_not_at_all() -> None:
    calls = iter(range(1, 100))
    # The third answer is that of the flush.
    network = Unreliable(Scripted(TALK), lambda: next(calls) == 3)
    cache: dict[str, Any] = {}
    samples = sound(12)
    records = [feed(detector(network), samples[:6000], CallOptions(cache=cache))]

    with pytest.raises(RuntimeError):
        feed(detector(network), samples[6000:], CallOptions(cache=cache, is_final=True))
    records.append(feed(detector(network), samples[6000:], CallOptions(cache=cache, is_final=True)))

    stream = detector(Scripted(TALK)).stream()
    expected = [stream.accept(samples[:6000]), stream.accept(samples[6000:]) + stream.flush()]
    assert [record["value"] for record in records] == [stream_pairs(events) for events in expected]
    assert cache == {}
