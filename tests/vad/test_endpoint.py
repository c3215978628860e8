from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.errors import InputError
from funasr.vad.endpoint import Endpointer, SpeechEnd, SpeechStart
from funasr.vad.options import VadOptions
from funasr.vad.segments import finished, stream_pairs
from tests.vad import frame_by_frame


def scores(runs: str) -> NDArray[np.float32]:
    """ "S100 V30" -> 100 frames of silence, 30 of speech."""
    parts = [np.full(int(run[1:]), 0.01 if run[0] == "V" else 0.99, np.float32) for run in runs.split()]
    return np.concatenate(parts)


def detect(
    p_silence: NDArray[np.float32], options: VadOptions, cuts: list[int] | None = None
) -> list[list[int]]:
    endpoint = Endpointer(options)
    events = [event for part in np.split(p_silence, cuts or []) for event in endpoint.accept(part)]
    return [[segment.start_ms, segment.end_ms] for segment in finished(events + endpoint.flush())]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ("S100 V100 S300", [[740, 2160]]),  # starts 260 ms early, ends 160 ms late
        ("S100 V100 S69 V100 S300", [[740, 2160], [2440, 3850]]),
        ("S100 V100 S71 V100 S300", [[740, 2160], [2450, 3870]]),
        ("S100 V100 S80 V100 S300", [[740, 2160], [2540, 3960]]),
        ("S100 V100 S50 V100 S300", [[740, 3660]]),
        ("V100 S300", [[0, 1160]]),
        ("S10 V100 S300", [[0, 1260]]),
        ("S100 V14 S300", []),  # 15 frames of the window are needed
        ("S100 V15 S300", [[740, 1310]]),
        ("S100 V16 S300", [[740, 1320]]),
        ("S100 V100", [[740, 2000]]),
        ("S100 V100 S20", [[740, 2200]]),
        ("S100 " + "V1 S1 " * 50, []),
        ("S100 " + "V3 S1 " * 30 + "S300", [[780, 2310]]),
        ("S300", []),
    ],
)
def test_segments_of_scripted_speech(runs: str, expected: list[list[int]]) -> None:
    assert detect(scores(runs), VadOptions()) == expected


def test_long_speech_is_cut_and_the_pieces_touch() -> None:
    options = VadOptions(max_single_segment_time=2000)

    assert detect(scores("S100 V500 S300"), options) == [[740, 2750], [2750, 4760], [4760, 6160]]


def test_detect_mode_0_stops_after_the_first_utterance() -> None:
    assert detect(scores("S100 V100 S300 V100 S300"), VadOptions(detect_mode=0)) == [[740, 2160]]


def test_detect_mode_0_gives_up_after_three_seconds_of_silence() -> None:
    assert detect(scores("S400 V100 S300"), VadOptions(detect_mode=0)) == []
    assert detect(scores("S285 V100 S300"), VadOptions(detect_mode=0)) == [[2590, 4010]]


def test_a_start_is_told_fifteen_frames_after_the_onset_and_an_end_seventy_after() -> None:
    endpoint = Endpointer(VadOptions())
    told = [
        (frame, event)
        for frame, p in enumerate(scores("S100 V100 S300"))
        for event in endpoint.accept(np.array([p]))
    ]

    assert told == [(114, SpeechStart(740)), (269, SpeechEnd(740, 2160))]


def test_certain_scores_are_labels_too() -> None:
    """Upstream takes the logarithm of 0 here."""
    certain = np.concatenate([np.ones(100), np.zeros(100), np.ones(300)]).astype(np.float32)

    assert detect(certain, VadOptions()) == [[740, 2160]]


def test_the_four_streaming_forms() -> None:
    start, end = SpeechStart(740), SpeechEnd(740, 2160)

    assert stream_pairs([]) == []
    assert stream_pairs([start]) == [[740, -1]]
    assert stream_pairs([end]) == [[-1, 2160]]
    assert stream_pairs([start, end]) == [[740, 2160]]
    assert stream_pairs([end, SpeechStart(2440), SpeechEnd(2440, 3000), SpeechStart(4000)]) == [
        [-1, 2160],
        [2440, 3000],
        [4000, -1],
    ]


def test_speech_noticed_in_the_last_frame_gets_an_end() -> None:
    endpoint = Endpointer(VadOptions())

    assert endpoint.accept(scores("S100 V15")) == [SpeechStart(740)]
    assert endpoint.flush() == [SpeechEnd(740, 1150)]


def test_a_second_flush_says_nothing() -> None:
    endpoint = Endpointer(VadOptions())
    endpoint.accept(scores("S100 V100"))
    endpoint.flush()

    assert endpoint.flush() == []
    assert endpoint.accept(scores("V100")) == []


option_sets = st.builds(
    VadOptions,
    max_single_segment_time=st.sampled_from([60_000, 3000, 1000, 500, 100]),
    max_end_silence_time=st.sampled_from([800, 2000, 300, 255, 155, 150, 100, 0]),
    detect_mode=st.sampled_from([1, 1, 0]),
    do_extend=st.sampled_from([1, 1, 0]),
    speech_2_noise_ratio=st.sampled_from([1.0, 0.5, 2.0]),
    sil_to_speech_time_thres=st.sampled_from([150, 100, 180]),
    speech_to_sil_time_thres=st.sampled_from([150, 100, 50]),
    lookahead_time_end_point=st.sampled_from([100, 0, 300]),
    window_size_ms=st.sampled_from([200, 300]),
)
run_lists = st.lists(
    st.tuples(st.sampled_from([0.0, 0.01, 0.19, 0.21, 0.3, 0.99, 1.0]), st.integers(1, 120)),
    min_size=1,
    max_size=30,
)


@settings(deadline=None, max_examples=300)
@given(run_lists, option_sets)
def test_runs_and_frames_give_the_same_segments(runs: list[tuple[float, int]], options: VadOptions) -> None:
    p_silence = np.concatenate([np.full(count, value) for value, count in runs])

    got = [tuple(pair) for pair in detect(p_silence, options)]

    assert got == frame_by_frame.segments(p_silence.tolist(), options)


def test_runs_and_frames_give_the_same_segments_on_two_thousand_random_recordings() -> None:
    rng = np.random.default_rng(7)
    for _ in range(2000):
        lengths = rng.integers(1, rng.choice([3, 8, 25, 120]), size=rng.integers(1, 40))
        values = np.tile([0.99, 0.01], 20)[: len(lengths)]
        p_silence = np.repeat(values, lengths)
        options = VadOptions(
            max_end_silence_time=int(rng.choice([800, 300, 200, 150])),
            max_single_segment_time=int(rng.choice([60_000, 2000, 700])),
        )

        got = [tuple(pair) for pair in detect(p_silence, options)]

        assert got == frame_by_frame.segments(p_silence.tolist(), options)


@settings(deadline=None)
@given(run_lists, option_sets, st.lists(st.integers(0, 1500), max_size=20))
def test_chunks_and_the_whole_give_the_same_events(
    runs: list[tuple[float, int]], options: VadOptions, cuts: list[int]
) -> None:
    p_silence = np.concatenate([np.full(count, value) for value, count in runs])
    whole, chunked = Endpointer(options), Endpointer(options)

    expected = whole.accept(p_silence) + whole.flush()
    got = [
        event for part in np.split(p_silence, sorted(cuts)) for event in chunked.accept(part)
    ] + chunked.flush()

    assert got == expected


def test_a_pickled_endpointer_goes_on_where_it_was() -> None:
    p_silence = scores("S100 V100 S69 V100 S300")
    endpoint = Endpointer(VadOptions())
    first = endpoint.accept(p_silence[:250])

    resumed = pickle.loads(pickle.dumps(endpoint))

    assert first + resumed.accept(p_silence[250:]) == Endpointer(VadOptions()).accept(p_silence)


def test_a_day_of_sound_leaves_no_trace() -> None:
    endpoint = Endpointer(VadOptions())
    minute = scores("S100 V1000 S80 V2000 S200 V1500 S1120")
    before = len(pickle.dumps(endpoint))
    size = endpoint.nbytes
    for _ in range(24 * 60):
        endpoint.accept(minute)

    assert endpoint.state.frames == 24 * 60 * 6000
    assert endpoint.nbytes == size
    assert len(pickle.dumps(endpoint)) < before + 50  # larger numbers, no more of them


def test_an_energy_gate_needs_energies() -> None:
    with pytest.raises(InputError, match="decibels"):
        Endpointer(VadOptions(decibel_thres=-30)).accept(scores("V10"))


def test_quiet_speech_is_silence_to_the_decibel_gate() -> None:
    endpoint = Endpointer(VadOptions(decibel_thres=-30))
    p_silence = scores("S100 V100 S300 V100 S300")
    levels = np.where(np.arange(len(p_silence)) < 400, -40.0, -10.0)

    events = endpoint.accept(p_silence, levels)

    assert [segment.start_ms for segment in finished(events)] == [4740]
