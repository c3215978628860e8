"""Live streams on recorded speech, by a detector that hears it and a small network that hears all of it."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funasr import AutoModel
from funasr.arrays import Samples
from funasr.audio.load import load_audio
from funasr.pipeline.events import LiveEvent, Partial, Stable
from funasr.pipeline.stream import RecognitionStream
from tests.audio.memory import resident_mb
from tests.tiny_models import make_paraformer

ANY_SIZE = st.one_of(st.integers(16, 400), st.integers(400, 10_000), st.integers(10_000, 160_000))
SIZES = st.lists(ANY_SIZE, min_size=1, max_size=12)
"""Sizes of pieces, taken in turn."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AutoModel:
    folder = make_paraformer(tmp_path_factory.mktemp("model"), "ParaformerStreaming", seed=5)
    # The detector's calls are small and many, and take a quarter of torch's time in onnxruntime.
    detector = {"vad_model": "bundled-vad", "vad_kwargs": {"engine": "onnx", "ncpu": 1}}
    return AutoModel(model=str(folder), device="cpu", disable_pbar=True, **detector)


@pytest.fixture(scope="module")
def clip(bundled_dir: Path) -> Samples:
    """Words with pauses of more than a second between some of them."""
    return load_audio(bundled_dir / "samples" / "pauses.flac")[: 16000 * 6]


@pytest.fixture(scope="module")
def expected(model: AutoModel, clip: Samples) -> list[LiveEvent]:
    """Of the clip in one piece."""
    return heard(model.stream(), clip, [len(clip)])


def heard(stream: RecognitionStream, samples: Samples, sizes: Sequence[int]) -> list[LiveEvent]:
    events: list[LiveEvent] = []
    at = turn = 0
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        events += stream.accept(samples[at : at + size])
        at, turn = at + size, turn + 1
    return [*events, *stream.flush()]


def test_the_clip_has_something_of_everything(expected: list[LiveEvent]) -> None:
    assert {type(event) for event in expected} >= {Partial, Stable}
    assert expected[-1].id >= 1
    assert len({word.text for event in expected for word in event.words}) > 5


@settings(deadline=None, max_examples=4, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(sizes=SIZES)
def test_pieces_of_any_size_tell_the_same(
    model: AutoModel, clip: Samples, expected: list[LiveEvent], sizes: list[int]
) -> None:
    assert heard(model.stream(), clip, sizes) == expected


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("detector", [True, False])
def test_pieces_of_any_size_tell_the_same_of_real_speech(
    model: AutoModel, shared: Path, detector: bool
) -> None:
    """200 ways of cutting it; texts, times, confidences, and the order of events are equal."""
    path = shared / "data" / "vad" / "fsmn_example" / "wavs" / "vad_example.wav"
    samples = load_audio(path)[16000 * 8 : 16000 * 20]

    def new() -> RecognitionStream:
        return model.stream() if detector else RecognitionStream(model.model)

    whole = heard(new(), samples, [len(samples)])
    assert len(whole) > 20

    @settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(sizes=SIZES)
    def cut(sizes: list[int]) -> None:
        assert heard(new(), samples, sizes) == whole

    cut()


@pytest.mark.parametrize("place", [31_313, 70_000])
def test_a_stream_of_speech_goes_on_from_its_pickled_state(
    model: AutoModel, clip: Samples, expected: list[LiveEvent], place: int
) -> None:
    first = model.stream()
    events = [*first.accept(clip[:place])]

    state = pickle.loads(pickle.dumps(first.state))
    events += heard(model.stream(state=state), clip[place:], [1600])

    assert events == expected


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_10000_streams_leave_no_memory_behind(model: AutoModel, clip: Samples) -> None:
    loud = clip[16000 * 1 : 16000 * 1 + 9000]

    def cycle(number: int) -> None:
        stream = model.stream()
        stream.accept(loud[: 3000 + number % 7 * 1000])
        stream.flush()

    for number in range(1000):
        cycle(number)
    gc.collect()
    before = resident_mb()
    for number in range(10_000):
        cycle(number)
    gc.collect()
    after = resident_mb()

    if before is None or after is None:
        pytest.skip("this system does not tell how much memory a process has")
    assert after - before < 5
