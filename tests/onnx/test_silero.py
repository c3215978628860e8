"""The real network of the package silero-vad; skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from funasr.errors import MissingDependencyError, OptionError
from funasr.stages.silero import SileroOptions
from funasr_onnx.session import OnnxSession
from funasr_onnx.silero import SileroSequence, SileroWindows, _graphs, load_silero

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("silero_vad") is None, reason="silero-vad is not installed"
)


@pytest.fixture(scope="module")
def samples(shared: Path) -> NDArray[np.float32]:
    import soundfile

    path = shared / "data" / "vad" / "fsmn_example" / "wavs" / "vad_example.wav"
    read: NDArray[np.float32] = soundfile.read(path, dtype="float32")[0]
    return read


@needs_package
def test_many_windows_in_a_call_score_as_one_by_one(samples: NDArray[np.float32]) -> None:
    windows = samples[: 512 * 200].reshape(200, 512)
    together = SileroSequence(OnnxSession(_graphs() / "silero_vad_16k_sequence.onnx", intra_op_num_threads=1))
    single = SileroWindows(OnnxSession(_graphs() / "silero_vad.onnx", intra_op_num_threads=1), 16000)

    first, state = together.score(windows[:77], together.initial_state())
    second, _ = together.score(windows[77:], state)
    expected, _ = single.score(windows, single.initial_state())

    np.testing.assert_allclose(np.concatenate([first, second]), expected, atol=1e-4)


@needs_package
@pytest.mark.parametrize("rate", [16000, 8000])
def test_speech_of_a_real_recording_is_found(samples: NDArray[np.float32], rate: int) -> None:
    detector = load_silero(SileroOptions(silero_sampling_rate=rate))

    found = detector.segments(samples[: 16000 * 24][:: 16000 // rate])

    spoken = sum(segment.end_ms - segment.start_ms for segment in found)
    assert 15_000 < spoken < 23_500  # the released fsmn-vad finds 22.6 s, shorter pauses included
    assert load_silero(SileroOptions(silero_sampling_rate=rate)).segments(np.zeros(rate, np.float32)) == []


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(MissingDependencyError, match="pip install --no-deps silero-vad"):
        load_silero()


@needs_package
def test_automodel_knows_it_by_name(samples: NDArray[np.float32]) -> None:
    from funasr import AutoModel

    model = AutoModel(model="silero-vad", silero_min_silence_duration_ms=300)
    expected = load_silero(SileroOptions(silero_min_silence_duration_ms=300)).segments(samples[: 16000 * 10])

    (record,) = model.generate(input=samples[: 16000 * 10], fs=16000)

    assert record["value"] == [[segment.start_ms, segment.end_ms] for segment in expected]
    with pytest.raises(OptionError, match="silero-vad has no option 'max_end_silence_time'"):
        model.generate(input=samples[:16000], fs=16000, max_end_silence_time=300)


@needs_package
@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_stream_moves_between_processes_with_the_memory_of_the_network(
    samples: NDArray[np.float32], rate: int
) -> None:
    detector = load_silero(SileroOptions(silero_sampling_rate=rate))
    sound = samples[: 16000 * 12][:: 16000 // rate]
    straight = detector.stream()
    expected = straight.accept(sound) + straight.flush()

    stream, events = detector.stream(), []
    for piece in np.split(sound, np.sort(np.random.default_rng(1).integers(0, len(sound), 30))):
        stream = detector.stream(state=pickle.loads(pickle.dumps(stream.state)))
        events += stream.accept(piece)
        assert len(pickle.dumps(stream.state)) < 20_000
    events += stream.flush()

    assert len(events) > 2
    assert events == expected
