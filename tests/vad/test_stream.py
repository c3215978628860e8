"""The stage: sound in, segments out, whatever the network. The one here hears loudness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.stages.vad import SpeechDetector
from funasr.vad.endpoint import SpeechStart
from funasr.vad.options import VadOptions
from funasr.vad.segments import finished

FRONTEND = WavFrontend(FrontendConfig(n_mels=8, lfr_m=5, lfr_n=1, dither=0.0))


class Loudness:
    """A frame with energy is speech; the memory counts frames."""

    def initial_state(self, batch: int = 1) -> Any:
        return np.zeros(batch, dtype=np.int64)

    def score(self, features: Features, state: Any) -> tuple[NDArray[np.float32], Any]:
        loud = features.mean(-1) > 0
        return np.where(loud, np.float32(0.01), np.float32(0.99)), state + features.shape[1]


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector(Loudness(), FRONTEND)


def sound(*runs: tuple[float, float]) -> Samples:
    """(amplitude, seconds) runs of noise."""
    rng = np.random.default_rng(0)
    parts = [amplitude * rng.standard_normal(int(seconds * 16000)) for amplitude, seconds in runs]
    return np.concatenate(parts).astype(np.float32)


def test_a_sound_between_silences_is_a_segment(detector: SpeechDetector) -> None:
    (segment,) = detector.segments(sound((0, 1), (0.1, 1), (0, 3)))

    # As frames 100..199, less the window of 25 ms and the two frames on each side that LFR stacks.
    assert 700 <= segment.start_ms <= 740
    assert 2160 <= segment.end_ms <= 2180


@pytest.mark.parametrize("length", [0, 1, 399, 400, 720])
def test_sound_too_short_to_hold_speech_has_none(detector: SpeechDetector, length: int) -> None:
    assert detector.segments(0.1 * np.ones(length, np.float32)) == []
    assert detector.segments([]) == []


def test_segments_come_while_the_sound_is_still_being_read(detector: SpeechDetector) -> None:
    read = 0

    def blocks() -> Iterator[Samples]:
        nonlocal read
        for _ in range(10):
            read += 1
            yield sound((0, 1), (0.1, 1), (0, 3))

    for count, _ in enumerate(detector.iter_segments(blocks()), start=1):
        assert read == count


lengths = st.lists(st.tuples(st.sampled_from([0.0, 0.1]), st.floats(0.05, 2)), min_size=1, max_size=8)


@settings(deadline=None, max_examples=40)
@given(lengths, st.lists(st.integers(0, 200_000), max_size=30), st.sampled_from([None, 60, 600]))
def test_how_a_stream_is_cut_changes_nothing(
    runs: list[tuple[float, float]], cuts: list[int], chunk_ms: int | None
) -> None:
    samples = sound(*runs)
    detector = SpeechDetector(Loudness(), FRONTEND)
    stream = detector.stream(chunk_ms=chunk_ms)

    events = [event for part in np.split(samples, sorted(cuts)) for event in stream.accept(part)]

    assert finished(events + stream.flush()) == detector.segments(samples)


def test_options_of_a_call_leave_the_detector_as_it_was(detector: SpeechDetector) -> None:
    samples = sound((0, 1), (0.1, 1), (0, 0.5), (0.1, 1), (0, 3))

    assert len(detector.segments(samples, VadOptions(max_end_silence_time=300))) == 2
    assert len(detector.segments(samples)) == 1


def test_an_energy_gate_drops_what_is_too_quiet(detector: SpeechDetector) -> None:
    samples = sound((0, 1), (0.001, 1), (0, 2), (0.1, 1), (0, 2))  # -34 dB and 6 dB

    assert len(detector.segments(samples)) == 2
    (loud,) = detector.segments(samples, VadOptions(decibel_thres=-20))
    assert loud.start_ms > 3000


def test_a_stream_tells_of_speech_before_it_ends(detector: SpeechDetector) -> None:
    stream = detector.stream()

    assert [type(event) for event in stream.accept(sound((0, 1), (0.1, 1)))] == [SpeechStart]
    assert stream.in_speech
    assert len(finished(stream.flush())) == 1
    assert stream.flush() == []


def test_what_a_stream_remembers_does_not_grow(detector: SpeechDetector) -> None:
    options = VadOptions(decibel_thres=-30, dynamic_silence=True)
    stream = detector.stream(options, chunk_ms=200)
    minute = sound((0, 1), (0.1, 20), (0, 3), (0.1, 30), (0, 6.001))
    sizes = []
    for _ in range(5):
        stream.accept(minute)
        sizes.append(stream.nbytes)

    assert max(sizes) < 30_000  # a chunk, a window, a few frames
