"""The streaming front end: however the sound is cut, the rows are those of the whole."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.arrays import Features, Samples
from funasr.errors import InputError, OptionError
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.features.online import OnlineFrontend


def noise(count: int) -> Samples:
    return (np.random.default_rng(count).standard_normal(count) * 0.1).astype(np.float32)


def frontend(m: int, n: int, dither: float = 0.0, fs: int = 16000) -> WavFrontend:
    cmvn = np.full(80 * m, -10, np.float32), np.full(80 * m, 0.2, np.float32)
    return WavFrontend(FrontendConfig(fs=fs, dither=dither, lfr_m=m, lfr_n=n), cmvn)


def in_chunks(stream: OnlineFrontend, samples: Samples, sizes: list[int]) -> list[Features]:
    """Rows of each chunk; the sizes repeat until the sound is used up; the flush comes last."""
    rows, start, turn = [], 0, 0
    while start < len(samples):
        size = sizes[turn % len(sizes)]
        rows.append(stream.accept(samples[start : start + size]))
        start, turn = start + size, turn + 1
    return [*rows, stream.flush()]


def test_vad_rows_wait_for_two_frames_of_right_context() -> None:
    counts = [len(rows) for rows in in_chunks(frontend(5, 1).online(), noise(19200), [3200])]

    # 3200 samples are 18 frames, of which the last 2 wait; then 20 at a time; the flush gives the last 2.
    assert counts == [16, 20, 20, 20, 20, 20, 2]


def test_600_ms_are_ten_rows_for_paraformer_from_the_first_chunk_on() -> None:
    counts = [len(rows) for rows in in_chunks(frontend(7, 6).online(), noise(28800), [9600])]

    assert counts[:3] == [10, 10, 10]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(400, 12000),
    st.lists(st.integers(1, 2500), min_size=1, max_size=8),
    st.sampled_from([(7, 6), (5, 1), (1, 1), (4, 3), (2, 5), (1, 4)]),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([8000, 16000]),
)
def test_any_chunks_give_the_rows_of_the_whole(
    length: int, sizes: list[int], lfr: tuple[int, int], dither: float, fs: int
) -> None:
    one = frontend(*lfr, dither=dither, fs=fs)

    rows = in_chunks(one.online(), noise(length), sizes)

    np.testing.assert_allclose(np.concatenate(rows), one(noise(length)), atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 160, 16000])
def test_a_stream_remembers_little(chunk: int) -> None:
    stream = frontend(7, 6).online()
    samples = noise(3 * 16000)

    for start in range(0, 16000 if chunk == 1 else len(samples), chunk):
        stream.accept(samples[start : start + chunk])
        assert stream.nbytes <= 399 * 4 + 6 * 80 * 4


def test_a_stream_does_not_hold_on_to_the_callers_array() -> None:
    samples = noise(1000)
    stream = frontend(5, 1).online()
    first = stream.accept(samples)
    samples[:] = 0

    rest = [stream.accept(noise(2000)[1000:]), stream.flush()]

    expected = frontend(5, 1)(np.concatenate([noise(1000), noise(2000)[1000:]]))
    np.testing.assert_allclose(np.concatenate([first, *rest]), expected, atol=1e-4)


def test_streams_of_one_front_end_do_not_meet() -> None:
    one = frontend(5, 1)
    first, second = one.online(), one.online()
    rows = [], []
    for start in range(0, 8000, 700):
        rows[0].append(first.accept(noise(8000)[start : start + 700]))
        rows[1].append(second.accept(noise(8001)[start : start + 700]))

    np.testing.assert_allclose(np.concatenate([*rows[0], first.flush()]), one(noise(8000)), atol=1e-4)
    assert second.rows_out == sum(map(len, rows[1]))


@pytest.mark.parametrize("length", [0, 1, 399])
def test_sound_shorter_than_a_window_is_no_rows(length: int) -> None:
    stream = frontend(5, 1).online()

    assert stream.accept(noise(length)).shape == (0, 400)
    assert stream.flush().shape == (0, 400)


def test_empty_chunks_change_nothing() -> None:
    one = frontend(7, 6)

    rows = in_chunks(one.online(), noise(5000), [0, 700, 0])

    np.testing.assert_allclose(np.concatenate(rows), one(noise(5000)), atol=1e-4)


def test_a_flushed_stream_takes_no_more() -> None:
    stream = frontend(5, 1).online()
    stream.flush()

    with pytest.raises(InputError, match="flushed"):
        stream.accept(noise(160))
    with pytest.raises(InputError, match="flushed"):
        stream.flush()


def test_mirrored_edges_need_the_whole_sound() -> None:
    with pytest.raises(OptionError, match="snip_edges"):
        WavFrontend(FrontendConfig(snip_edges=False)).online()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 9000),
    st.lists(st.integers(0, 2500), min_size=1, max_size=6),
    st.sets(st.integers(0, 12)),
    st.sampled_from([(7, 6), (5, 1), (1, 1), (2, 5)]),
    st.sampled_from([0.0, 1.0]),
)
def test_a_stream_pickled_and_resumed_elsewhere_gives_the_same_rows(
    length: int, sizes: list[int], moves: set[int], lfr: tuple[int, int], dither: float
) -> None:
    samples, here = noise(length), frontend(*lfr, dither=dither)
    straight = in_chunks(here.online(), samples, [*sizes, 1000])

    stream, rows, start, turn = here.online(), [], 0, 0
    while start < length:
        if turn in moves:
            # As another process would: a front end of its own.
            stream = frontend(*lfr, dither=dither).online(pickle.loads(pickle.dumps(stream.state)))
        size = [*sizes, 1000][turn % (len(sizes) + 1)]
        rows.append(stream.accept(samples[start : start + size]))
        start, turn = start + size, turn + 1
    rows.append(here.online(stream.state).flush())

    assert [len(part) for part in rows] == [len(part) for part in straight]
    np.testing.assert_array_equal(np.concatenate(rows), np.concatenate(straight))


def test_a_state_stays_what_it_was_while_its_stream_goes_on() -> None:
    one = frontend(5, 1, dither=1.0)
    stream = one.online()
    stream.accept(noise(3000))
    kept = stream.state
    first = stream.accept(noise(5000)[3000:])

    np.testing.assert_array_equal(one.online(kept).accept(noise(5000)[3000:]), first)
    assert kept.nbytes < 400 * 4 + 5 * 80 * 4
    with pytest.raises(FrozenInstanceError):
        kept.rows_out = 0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        kept.frames[0] = 0


def test_a_call_that_fails_leaves_the_stream_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    one = frontend(5, 1, dither=1.0)
    stream, untouched = one.online(), one.online()
    stream.accept(noise(2000))
    untouched.accept(noise(2000))

    def fails(rows: Features) -> Features:
        raise MemoryError("no memory for the rows")

    with monkeypatch.context() as patch:
        patch.setattr(one, "normalize", fails)
        with pytest.raises(MemoryError):
            stream.accept(noise(3000))
        with pytest.raises(MemoryError):
            stream.flush()

    np.testing.assert_array_equal(stream.accept(noise(3000)), untouched.accept(noise(3000)))
    np.testing.assert_array_equal(stream.flush(), untouched.flush())


def test_a_state_of_another_model_is_refused() -> None:
    stream = frontend(7, 6).online()
    stream.accept(noise(1600))

    with pytest.raises(InputError, match="another model"):
        frontend(1, 1).online(stream.state)
    with pytest.raises(InputError, match="another model"):
        WavFrontend(FrontendConfig(n_mels=40, lfr_m=7, lfr_n=6)).online(stream.state)
