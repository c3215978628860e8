"""DynamicStreamingVAD over a network that says what it was told to; upstream's: test_upstream_streams.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from funasr.errors import InputError, OptionError
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.models.fsmn_vad_streaming.dynamic_vad import DynamicStreamingVAD
from funasr.stages.silero import SileroDetector
from funasr.stages.vad import SpeechDetector
from tests.vad.test_silero import Loudness
from tests.vad.test_states import Scripted, Unreliable, scores

FRONTEND = WavFrontend(FrontendConfig(n_mels=2, lfr_m=5, lfr_n=1, dither=0.0))

TALK = scores((0.99, 100), (0.01, 300), (0.99, 120), (0.01, 400), (0.99, 500))
"""1 s of silence, 3 s of speech, 1.2 s of silence, 4 s of speech, 5 s of silence."""


def wrapper(**options: Any) -> DynamicStreamingVAD:
    return DynamicStreamingVAD(SpeechDetector(Scripted(TALK), FRONTEND), **options)


def second() -> Any:
    return np.zeros(16000, np.float32)


def test_a_pause_that_would_end_long_speech_does_not_end_short_speech() -> None:
    # Silence of 2 s ends up to 5 s of speech, 1.5 s up to 10 s: the pause of 1.2 s ends neither.
    assert wrapper().process(np.zeros(14 * 16000, np.float32)) == [[740, 9360]]
    # From 2 s of speech on, 1 s does.
    rows = [(2000, 2000), (60_000, 1000)]
    expected = [[740, 4160], [4940, 9360]]
    assert wrapper(silence_schedule=rows).process(torch.zeros(14 * 16000)) == expected


def test_its_properties_follow_the_stream() -> None:
    one = wrapper(silence_schedule=[(2000, 2000), (60_000, 1000)])
    seen = []
    for _ in range(7):
        ended = one.feed(second())
        seen.append(
            (one.is_speaking, one.current_speech_start, one.current_duration_ms, one.current_threshold_ms)
        )

    assert seen[:3] == [(False, None, 0, 2000), (True, 740, 1260, 2000), (True, 740, 2260, 1000)]
    # The second speech was noticed in the sixth second; the first ended in that call too.
    assert seen[5] == (True, 4940, 1060, 2000)
    assert ended == []
    assert one.confirmed_segments == [[740, 4160]]
    assert one.cache


def test_what_is_open_ends_with_the_stream_and_the_next_call_begins_another() -> None:
    one = wrapper()
    for _ in range(3):
        one.feed(second())

    assert one.finalize() == [[740, 2990]]
    assert one.finalize() == []
    assert one.confirmed_segments == [[740, 2990]]
    assert one.feed(second()) == []
    assert one.confirmed_segments == []
    assert wrapper().finalize() == []
    assert wrapper().process(np.zeros(0, np.float32)) == []


def test_the_same_sound_in_other_hands_is_the_same() -> None:
    for piece in (torch.zeros(16000), torch.zeros(1, 16000), [0.0] * 16000, np.zeros(16000, np.int16)):
        one = wrapper()
        one.feed(piece)
        one.feed(piece)
        assert one.current_speech_start == 740


def test_a_call_that_failed_may_be_made_again() -> None:
    calls = iter(range(1000))
    network = Unreliable(Scripted(TALK), lambda: next(calls) % 4 == 3)
    one = DynamicStreamingVAD(SpeechDetector(network, FRONTEND), chunk_size_ms=500)
    expected, ended = wrapper(chunk_size_ms=500), []
    failures = 0
    for last in [False] * 13 + [True]:
        while True:
            try:
                ended += one.feed(second(), is_final=last)
                break
            except RuntimeError:
                failures += 1
        expected.feed(second(), is_final=last)

    assert failures > 3
    assert ended == expected.confirmed_segments == one.confirmed_segments == [[740, 9360]]


def test_several_share_a_model_and_leave_it_as_it_was() -> None:
    detector = SpeechDetector(Scripted(TALK), FRONTEND)
    before = detector.options
    first, other = (
        DynamicStreamingVAD(detector),
        DynamicStreamingVAD(detector, silence_schedule=[(1, 300)]),
    )
    for _ in range(14):
        first.feed(second())
        other.feed(second())

    assert detector.options is before
    assert first.confirmed_segments == [[740, 9360]]
    assert other.confirmed_segments == [[740, 4160], [4940, 9360]]


@pytest.mark.parametrize(
    "wrong",
    [{"sample_rate": 8000}, {"chunk_size_ms": 0}, {"silence_schedule": []}, {"silence_schedule": "x"}],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        wrapper(**wrong)


def test_another_kind_of_model_is_refused() -> None:
    with pytest.raises(InputError, match="SileroDetector"):
        DynamicStreamingVAD(SileroDetector(Loudness()))
