"""Upstream's events on scripted scores (tests/golden/make_vad.py), whole and call by call; exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.stages.vad import OFFLINE_CHUNK_MS, SpeechDetector
from funasr.vad.options import VadOptions
from funasr.vad.segments import finished, stream_pairs

CASES = json.loads((Path(__file__).parent.parent / "golden" / "vad" / "automaton.json").read_text())
FRONTEND = WavFrontend(FrontendConfig(n_mels=4, lfr_m=5, lfr_n=1, dither=0.0))


class Scripted:
    """A network that says what it was told to say; its memory is a position."""

    def __init__(self, p_silence: NDArray[np.float32]) -> None:
        self._p_silence = p_silence

    def initial_state(self, batch: int = 1) -> Any:
        return np.zeros((), dtype=np.int64)

    def score(self, features: Features, state: Any) -> tuple[NDArray[np.float32], Any]:
        count = features.shape[1]
        return self._p_silence[None, state : state + count], state + count


def expand(runs: list[list[float]]) -> NDArray[np.float32]:
    return np.concatenate([np.full(int(count), value, np.float32) for value, count in runs])


def sound(case: dict[str, Any], frames: int) -> Samples:
    samples = np.zeros(400 + 160 * (frames - 1), dtype=np.float32)
    if case["levels"]:
        levels = np.repeat(expand(case["levels"]), 160)
        samples[: len(levels)] = levels[: len(samples)]
    return samples


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_events_are_upstreams(case: dict[str, Any]) -> None:
    p_silence = expand(case["scores"])
    samples = sound(case, len(p_silence))
    options = VadOptions().override({**case["options"], **case["call"]})
    detector = SpeechDetector(Scripted(p_silence), FRONTEND, options)

    if case["chunk_ms"] is None:
        got = [[segment.start_ms, segment.end_ms] for segment in detector.segments(samples)]
    else:
        stream = detector.stream(chunk_ms=case["chunk_ms"])
        chunks = np.split(samples, range(case["chunk_ms"] * 16, len(samples), case["chunk_ms"] * 16))
        calls = [stream.accept(chunk) for chunk in chunks]
        calls[-1] += stream.flush()
        got = [stream_pairs(events) for events in calls]

    assert got == case["value"]


def test_the_schedule_is_consulted_once_a_chunk() -> None:
    """30 s of speech, 0.9 s of silence, 31 s, 0.9 s, 10 s: upstream's default in one minute blocks."""
    runs = [[0.99, 100], [0.01, 3000], [0.99, 90], [0.01, 3100], [0.99, 90], [0.01, 1000], [0.99, 300]]
    p_silence = expand(runs)
    samples = np.zeros(400 + 160 * (len(p_silence) - 1), dtype=np.float32)
    detector = SpeechDetector(Scripted(p_silence), FRONTEND)

    dynamic = VadOptions(dynamic_silence=True)
    stream = detector.stream(dynamic, chunk_ms=OFFLINE_CHUNK_MS)
    events = finished(stream.accept(samples) + stream.flush())

    expected = [[740, 60750], [60750, 63000], [63540, 73900]]
    assert [[s.start_ms, s.end_ms] for s in events] == expected
    assert [[s.start_ms, s.end_ms] for s in detector.segments(samples, dynamic)] == expected
    assert [[s.start_ms, s.end_ms] for s in detector.segments(samples)] == [
        [740, 31160],
        [31640, 63060],
        [63540, 73960],
    ]
