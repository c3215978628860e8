"""The filter bank against a pencil, a direct reading of Kaldi's rules, kaldi-native-fbank and upstream."""

from __future__ import annotations

import math
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.errors import InputError, OptionError
from funasr.features.fbank import BLOCK_FRAMES, Fbank
from funasr.features.frontend import FrontendConfig, WavFrontend

GOLDEN = Path(__file__).parents[1] / "golden"
FLOOR = math.log(np.finfo(np.float32).eps)


def noise(count: int, level: float = 0.1, seed: int = 0) -> Samples:
    return (np.random.default_rng(seed).standard_normal(count) * level).astype(np.float32)


def fbank(**conf: object) -> Fbank:
    return Fbank(FrontendConfig(**{"dither": 0.0, **conf}))  # type: ignore[arg-type]


def by_the_book(frame: Samples, window: NDArray[np.float64], fs: int, n_mels: int) -> NDArray[np.float64]:
    """One frame (W,) -> (n_mels,) in float64, rule by rule."""
    x = frame.astype(np.float64) * 32768
    x = x - x.mean()
    x = x - 0.97 * np.concatenate([x[:1], x[:-1]])
    fft = 1 << (len(x) - 1).bit_length()
    power = np.abs(np.fft.rfft(x * window, fft)) ** 2

    def mel(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    step = (mel(fs / 2) - mel(20)) / (n_mels + 1)
    energies = np.zeros(n_mels)
    for i in range(n_mels):
        left, centre, right = (mel(20) + (i + j) * step for j in range(3))
        for k in range(fft // 2):
            at = mel(k * fs / fft)
            if left < at < right:
                weight = (at - left) / step if at <= centre else (right - at) / step
                energies[i] += weight * power[k]
    return np.log(np.maximum(energies, np.finfo(np.float32).eps))


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (1, 1), (399, 1), (400, 1), (559, 1), (560, 2), (160000, 998)]
)
def test_a_frame_every_10_ms_where_25_ms_fit_and_one_for_anything_shorter(samples: int, frames: int) -> None:
    assert fbank()(noise(samples)).shape == (frames, 80)


@pytest.mark.parametrize("value", [0.0, 0.5, -1.0])
def test_silence_and_any_other_constant_are_the_logarithm_of_float_epsilon(value: float) -> None:
    features = fbank()(np.full(3000, value, dtype=np.float32))

    np.testing.assert_allclose(features, np.full((17, 80), FLOOR), rtol=1e-6)


def test_sound_twice_as_loud_is_ln_4_higher() -> None:
    quiet, loud = fbank()(noise(8000)), fbank()(2 * noise(8000))

    np.testing.assert_allclose(loud - quiet, math.log(4), atol=1e-5)


def test_a_tone_of_1000_hz_is_loudest_in_filter_27() -> None:
    # mel(1000) = 1000; filters are (2840.0 - 31.7) / 81 = 34.67 apart, so 1000 = 31.7 + (27 + 1) * 34.6 - 2.5
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 16000).astype(np.float32)

    assert set(fbank()(tone).argmax(axis=1)) == {27}


@pytest.mark.parametrize("window", ["hamming", "hanning", "povey", "rectangular", "blackman"])
@pytest.mark.parametrize("fs", [8000, 16000])
def test_a_frame_is_what_the_rules_say(window: str, fs: int) -> None:
    size = fs // 40
    phase = 2 * np.pi * np.arange(size) / (size - 1)
    windows = {
        "hamming": 0.54 - 0.46 * np.cos(phase),
        "hanning": 0.5 - 0.5 * np.cos(phase),
        "povey": (0.5 - 0.5 * np.cos(phase)) ** 0.85,
        "rectangular": np.ones(size),
        "blackman": 0.42 - 0.5 * np.cos(phase) + 0.08 * np.cos(2 * phase),
    }
    samples = noise(size) + np.float32(0.3)

    features = fbank(window=window, fs=fs)(samples)

    np.testing.assert_allclose(features[0], by_the_book(samples, windows[window], fs, 80), atol=1e-3)


def test_sound_shorter_than_a_window_gets_a_window_of_its_own_length() -> None:
    samples = noise(100)

    features = fbank()(samples)

    # 16 kHz with a 128-point transform: the lowest filters hold no bin at all and stay at the floor.
    np.testing.assert_allclose(features[0], by_the_book(samples, np.hamming(100), 16000, 80), atol=1e-3)
    assert features[0, 0] == np.float32(FLOOR)


def test_each_frame_depends_on_its_own_window_alone() -> None:
    samples = noise(400 + 160 * (2 * BLOCK_FRAMES + 5))
    bank = fbank()

    together = bank(samples)

    one_by_one = np.concatenate([bank(samples[i * 160 : i * 160 + 400]) for i in range(len(together))])
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 4000),
    st.sampled_from([0.0, 1e-30, 1e-6, 1e-3, 1.0, 30.0, 1e37, float("inf")]),
    st.sampled_from([8000, 16000, 22050]),
    st.booleans(),
)
def test_no_length_or_loudness_gives_a_nan(length: int, level: float, fs: int, snip_edges: bool) -> None:
    samples = noise(length, min(level, 1e37))
    samples[::100] = level

    features = fbank(fs=fs, snip_edges=snip_edges)(samples)

    assert (len(features) == 0) == (length == 0)
    assert np.isfinite(features).all()
    assert (features >= np.float32(FLOOR)).all()


def test_without_snip_edges_there_is_a_frame_for_each_shift_of_mirrored_sound() -> None:
    samples = noise(1600)
    before, after = samples[:120][::-1], samples[-120:][::-1]

    features = fbank(snip_edges=False)(samples)

    assert len(features) == 10
    np.testing.assert_allclose(features, fbank()(np.concatenate([before, samples, after])), atol=1e-5)


def test_samples_in_16_bit_units_are_not_scaled_again() -> None:
    scaled = fbank(upsacle_samples=False)(noise(4000) * 32768)

    np.testing.assert_array_equal(scaled, fbank()(noise(4000)))


def test_dither_lifts_silence_off_the_floor_and_repeats() -> None:
    bank = fbank(dither=1.0)

    first = bank(np.zeros(4000, dtype=np.float32))

    assert first.mean() > FLOOR + 5
    np.testing.assert_array_equal(first, bank(np.zeros(4000, dtype=np.float32)))
    assert len(np.unique(first[:, 40])) == len(first)  # noise of its own in every frame


def test_small_dither_hardly_changes_loud_sound() -> None:
    difference = fbank(dither=0.01)(noise(4000)) - fbank()(noise(4000))

    assert 0 < np.abs(difference).mean() < 1e-3


def test_threads_share_one_filter_bank() -> None:
    bank = fbank()
    sounds = [noise(300 + 2000 * i, seed=i) for i in range(8)]

    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(bank, sounds * 4))

    for got, samples in zip(parallel, sounds * 4, strict=True):
        np.testing.assert_array_equal(got, bank(samples))


def test_the_caller_keeps_his_samples() -> None:
    samples = noise(4000)
    samples.setflags(write=False)

    fbank()(samples)

    np.testing.assert_array_equal(samples, noise(4000))


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros((2, 4000), dtype=np.float32), r"shape \(2, 4000\)"),
        (np.zeros(4000, dtype=np.int16), "int16"),
    ],
)
def test_other_shapes_and_integers_are_refused(samples: Samples, said: str) -> None:
    with pytest.raises(InputError, match=said):
        fbank()(samples)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"window": "haming"}, r"Did you mean 'hamming'\? It knows"),
        ({"n_mels": 0}, "n_mels=0"),
        ({"n_mels": 10**9}, "expected 1 to 1024"),
        ({"fs": 10**9}, "expected 2 to 65536 samples"),
        ({"dither": -1.0}, "dither=-1.0"),
        ({"frame_shift": 30}, "no gap between windows"),
        ({"frame_length": 0}, "expected 2 to 65536 samples"),
    ],
)
def test_settings_that_describe_no_filter_bank_are_refused(conf: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        FrontendConfig(**conf)  # type: ignore[arg-type]


@pytest.mark.parametrize("window", ["hamming", "hanning", "povey", "rectangular", "blackman"])
@pytest.mark.parametrize("fs", [8000, 16000])
def test_kaldi_native_fbank_agrees(window: str, fs: int) -> None:
    import kaldi_native_fbank as knf

    options = knf.FbankOptions()
    options.frame_opts.samp_freq = fs
    options.frame_opts.window_type = window
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 80
    theirs = knf.OnlineFbank(options)
    samples = noise(2 * fs)
    theirs.accept_waveform(fs, samples * 32768)
    theirs.input_finished()
    expected = np.stack([theirs.get_frame(i) for i in range(theirs.num_frames_ready)])

    features = fbank(window=window, fs=fs)(samples)

    assert features.shape == expected.shape
    assert np.abs(features - expected).mean() < 1e-4
    assert np.abs(features - expected).max() < 0.02


def assert_equal_to_reference(ours: Features, reference: Features, what: str) -> None:
    """The limits that float rounding near the floor leaves."""
    assert ours.shape == reference.shape, what
    difference = np.abs(ours - reference)
    assert difference.mean() < 1e-4, what
    assert difference.max() < 0.02, what


def frontends() -> dict[str, WavFrontend]:
    """The front ends of tests/golden/make_features.py."""
    rng = np.random.default_rng(8)
    cmvn = rng.uniform(-14, -8, 560).astype(np.float32), rng.uniform(0.1, 0.3, 560).astype(np.float32)
    return {
        "fbank": WavFrontend(FrontendConfig(dither=0.0)),
        "telephone": WavFrontend(FrontendConfig(dither=0.0, fs=8000)),
        "asr": WavFrontend(FrontendConfig(dither=0.0, lfr_m=7, lfr_n=6), cmvn),
        "vad": WavFrontend(FrontendConfig(dither=0.0, lfr_m=5, lfr_n=1), cmvn),
    }


def test_upstreams_features_of_a_made_up_sound() -> None:
    with np.load(GOLDEN / "features" / "reference.npz") as file:
        golden = dict(file)
    samples = golden["samples"].astype(np.float32) / 32768
    ours = frontends()

    assert_equal_to_reference(ours["fbank"](samples)[::4], golden["fbank"], "fbank")
    assert_equal_to_reference(ours["telephone"](samples)[::8], golden["telephone"], "telephone")
    assert_equal_to_reference(ours["asr"](samples), golden["asr"], "asr")
    assert_equal_to_reference(ours["vad"](samples)[::16], golden["vad"], "vad")
    for length in (100, 200, 399):
        assert_equal_to_reference(
            ours["asr"](samples[:length]), golden[f"short{length}"], f"{length} samples"
        )


def test_upstreams_chunks_give_as_many_rows_at_a_time() -> None:
    with np.load(GOLDEN / "features" / "reference.npz") as file:
        golden = dict(file)
    samples = golden["samples"].astype(np.float32) / 32768

    for name, chunk in (("vad", 3200), ("asr", 9600)):
        stream = frontends()[name].online()
        counts = [len(stream.accept(samples[i : i + chunk])) for i in range(0, len(samples), chunk)]
        counts[-1] += len(stream.flush())
        assert counts == golden[f"{name}_counts"].tolist()


@pytest.mark.reference
def test_upstreams_features_of_real_speech(shared: Path, reference_python: str, tmp_path: Path) -> None:
    import soundfile

    sounds = {}
    for path in sorted((shared / "data/asr/aishell_sample/wavs").glob("*.ogg"))[:12]:
        sounds[path.stem] = soundfile.read(path, dtype="int16")[0]
    np.savez(tmp_path / "in.npz", **sounds)
    script = GOLDEN / "make_features.py"
    command = [reference_python, str(script), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run(command, check=True, capture_output=True)

    with np.load(tmp_path / "out.npz") as file:
        reference = dict(file)
    for key, samples in sounds.items():
        floats = samples.astype(np.float32) / 32768
        for name, frontend in frontends().items():
            assert_equal_to_reference(frontend(floats), reference[f"{key}/{name}"], f"{key} {name}")
        for name, chunk in (("vad", 3200), ("asr", 9600)):
            stream = frontends()[name].online()
            rows = [stream.accept(floats[i : i + chunk]) for i in range(0, len(floats), chunk)]
            rows.append(stream.flush())
            assert_equal_to_reference(
                np.concatenate(rows), reference[f"{key}/{name}_chunks"], f"{key} {name}"
            )
