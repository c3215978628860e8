"""Sound in every form -> samples."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from funasr.audio.load import load_audio, load_channels, open_audio
from funasr.errors import AudioDecodeError, InputError, OptionError
from tests.audio.making import RATE, tone, wav_bytes


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (np.int16, [0, 16384, -32768], [0.0, 0.5, -1.0]),
        (np.int32, [0, 2**30, -(2**31)], [0.0, 0.5, -1.0]),
        (np.uint8, [128, 192, 0], [0.0, 0.5, -1.0]),
        (np.int8, [0, 64, -128], [0.0, 0.5, -1.0]),
        (np.int64, [0, 16384, -32768], [0.0, 0.5, -1.0]),
        (np.float64, [0.0, 0.5, -1.0], [0.0, 0.5, -1.0]),
        (np.float16, [0.0, 0.5, -1.0], [0.0, 0.5, -1.0]),
        (">i2", [0, 16384, -32768], [0.0, 0.5, -1.0]),
    ],
)
def test_arrays_become_floats_of_full_scale_one(
    dtype: str, values: list[float], expected: list[float]
) -> None:
    samples = load_audio(np.array(values, dtype=dtype))

    assert samples.dtype == np.float32
    assert samples.tolist() == expected


def test_lists_of_numbers_are_samples() -> None:
    assert load_audio([0.0, 0.5, -0.25]).tolist() == [0.0, 0.5, -0.25]
    assert load_audio([0, 16384, -32768]).tolist() == [0.0, 0.5, -1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_torch_tensors_are_arrays(dtype: torch.dtype) -> None:
    tensor = torch.tensor([0.0, 0.5, -0.25], dtype=dtype, requires_grad=True)
    assert load_audio(tensor).tolist() == [0.0, 0.5, -0.25]


def test_the_shorter_axis_of_an_array_is_its_channels() -> None:
    left_right = np.array([[0.5, 0.25, 0.0, 0.5], [0.0, 0.25, 0.5, 0.0]], np.float32)

    assert load_audio(left_right).tolist() == [0.25, 0.25, 0.25, 0.25]
    assert load_audio(left_right.T).tolist() == [0.25, 0.25, 0.25, 0.25]
    np.testing.assert_array_equal(load_channels(left_right), left_right)
    np.testing.assert_array_equal(load_channels(left_right.T), left_right)


def test_a_mono_array_may_have_a_channel_or_a_batch_axis() -> None:
    assert load_audio(np.zeros((1, 7), np.float32)).shape == (7,)
    assert load_audio(np.zeros((7, 1), np.float32)).shape == (7,)
    assert load_audio(np.zeros((1, 1, 7), np.float32)).shape == (7,)


def test_int16_values_in_a_float_array_are_scaled_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert load_audio(np.array([16384.0, -32768.0])).tolist() == [0.5, -1.0]
    assert "taking them for int16 values" in caplog.text


def test_float_sound_a_little_over_full_scale_is_kept() -> None:
    assert load_audio(np.array([1.5, -2.0], np.float32)).tolist() == [1.5, -2.0]


def test_samples_that_are_no_numbers_become_silence_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    samples = np.array([0.5, np.nan, np.inf, -np.inf, -0.5] * 40_000, np.float32)

    assert load_audio(samples)[:5].tolist() == [0.5, 0.0, 0.0, 0.0, -0.5]
    assert len(caplog.records) == 1
    assert "120000 samples" in caplog.text


@pytest.mark.parametrize(
    "empty",
    [b"", [], (), np.zeros(0, np.int16), np.zeros((2, 0)), io.BytesIO(wav_bytes(np.zeros(0, np.float32)))],
)
def test_empty_sound_is_zero_samples(empty: object) -> None:
    samples = load_audio(empty)
    assert samples.shape == (0,)
    assert samples.dtype == np.float32


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "NoneType"),
        ({}, "dict"),
        (["a.wav"], "list of length 1"),
        (np.zeros(3, bool), "type bool"),
        (np.zeros(3, complex), "type complex128"),
        (np.array(["a"]), "type <U1"),
        (np.zeros((2, 3, 4)), r"\(2, 3, 4\)"),
        (np.zeros((100, 80)), "80 channels"),
        (np.array(0.5), r"shape \(\)"),
        (np.array([40_000]), "reach 40000"),
        ([0.5, "a"], "type <U"),
        ([1.0, [2.0, 3.0]], "list of length 2"),
        (io.StringIO("a"), "rb"),
    ],
)
def test_what_is_no_sound_is_an_input_error_that_names_it(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_audio(value)


@pytest.mark.parametrize("rate", [0, -1, 1, 999, 384_001, 10**9, 16_000.5, True, "16000"])
def test_rates_out_of_range_are_input_errors_with_the_value(rate: object) -> None:
    with pytest.raises(InputError, match="expected a whole number of Hz from 1000 to 384000"):
        load_audio(tone(), rate)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the rate of the source is "):
        load_audio(tone(), source_rate=rate)  # type: ignore[arg-type]


def test_channels_is_mix_or_split() -> None:
    with pytest.raises(OptionError, match="'stereo': expected 'mix' or 'split'"):
        open_audio(tone(), channels="stereo")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64"])
def test_lossless_files_give_their_samples_back(kind: str, tmp_path: Path) -> None:
    samples = np.round(tone() * 32768) / np.float32(32768)
    path = tmp_path / f"tone.{kind.lower()}"
    path.write_bytes(wav_bytes(samples, kind=kind))

    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(load_audio(source), samples)


@pytest.mark.parametrize(
    ("source_rate", "rate"), [(8000, 16000), (44100, 16000), (48000, 8000), (22050, 16000)]
)
def test_a_tone_keeps_its_pitch_loudness_and_length_when_resampled(source_rate: int, rate: int) -> None:
    samples = load_audio(tone(2.0, source_rate), rate, source_rate=source_rate)

    assert len(samples) == 2 * rate
    inner = slice(rate // 10, -rate // 10)  # the ends of a tone ring
    np.testing.assert_allclose(samples[inner], tone(2.0, rate)[inner], atol=1e-3)


def test_channels_are_mixed_or_kept_apart(tmp_path: Path) -> None:
    left, right = tone(hertz=300.0), tone(hertz=500.0)
    path = tmp_path / "stereo.flac"
    soundfile.write(path, np.stack([left, right], axis=1), RATE)

    with open_audio(path, channels="split") as stream:
        assert stream.channels == 2
        assert stream.duration == 0.5
        apart = np.concatenate(list(stream), axis=1)
    np.testing.assert_allclose(apart, [left, right], atol=1e-4)
    np.testing.assert_allclose(load_audio(path), (left + right) / 2, atol=1e-4)


def test_a_missing_file_is_named_with_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "meeting.wav").write_bytes(wav_bytes(tone()))

    with pytest.raises(AudioDecodeError, match=r"no file '.*meting\.wav'\. Did you mean 'meeting\.wav'\?"):
        load_audio(tmp_path / "meting.wav")
    with pytest.raises(AudioDecodeError, match=r"Did you mean 'meeting\.wav'"):
        load_audio(tmp_path / "Meeting.mp3")
    with pytest.raises(AudioDecodeError, match=r"no file '.*greeting7\.wav'$"):
        load_audio(tmp_path / "greeting7.wav")  # of the same suffix, and that is all
    with pytest.raises(AudioDecodeError, match="there is no folder"):
        load_audio(tmp_path / "nowhere" / "meeting.wav")
    with pytest.raises(AudioDecodeError, match="is a folder"):
        load_audio(tmp_path)
