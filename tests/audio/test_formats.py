"""What libav decodes, damage in files, and raw PCM."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from funasr.audio.load import load_audio, load_channels, open_audio
from funasr.errors import AudioDecodeError
from tests.audio.making import RATE, encoded, tone, wav_bytes


def alike(heard: np.ndarray, played: np.ndarray) -> float:
    """Correlation of the middles of two sounds, at the best shift within 50 ms (codecs delay)."""
    middle = played[2000:-2000]
    shifts = range(1200, 2801, 8)
    return max(float(np.corrcoef(heard[s : s + len(middle)], middle)[0, 1]) for s in shifts)


FORMATS = [
    ("m4a", "ipod", "aac", 44_100),
    ("aac", "adts", "aac", 44_100),
    ("mp4", "mp4", "aac", 48_000),
    ("webm", "webm", "libopus", 48_000),
    ("mkv", "matroska", "ac3", 48_000),
    ("mov", "mov", "alac", 44_100),
    ("mp3", "mp3", "libmp3lame", 44_100),
    ("mp3", "mp3", "libmp3lame", 16_000),
    ("mp2", "mp2", "mp2", 44_100),
    ("amr", "amr", "libopencore_amrnb", 8_000),
    ("3gp", "3gp", "libopencore_amrnb", 8_000),
    ("opus", "ogg", "libopus", 48_000),
    ("avi", "avi", "libmp3lame", 44_100),
    ("ts", "mpegts", "aac", 44_100),
    ("flv", "flv", "aac", 44_100),
    ("wv", "wv", "wavpack", 44_100),
    ("wav", "wav", "adpcm_ima_wav", 16_000),
    ("wav", "wav", "pcm_mulaw", 8_000),
    ("wav", "wav", "pcm_f32le", 16_000),
]


@pytest.mark.parametrize(("suffix", "container", "codec", "rate"), FORMATS)
def test_formats_sound_as_what_was_encoded(
    suffix: str, container: str, codec: str, rate: int, tmp_path: Path
) -> None:
    data = encoded(tone(1.0, rate), rate, container, codec)
    path = tmp_path / f"tone.{suffix}"
    path.write_bytes(data)

    heard = load_audio(path)

    assert len(heard) == pytest.approx(RATE, abs=0.05 * RATE)  # codecs add a frame or two
    assert alike(heard, tone(1.0)) > 0.98
    np.testing.assert_array_equal(load_audio(data), heard)
    np.testing.assert_array_equal(load_audio(io.BytesIO(data)), heard)


def test_mp3_has_exactly_the_length_of_what_was_encoded() -> None:
    assert len(load_audio(encoded(tone(1.0), RATE, "mp3", "libmp3lame"))) == RATE


def test_stereo_of_libav_is_mixed_or_kept_apart() -> None:
    left, right = tone(1.0, 44_100, 300.0), np.zeros(44_100, np.float32)
    data = encoded(np.stack([left, right], axis=1), 44_100, "ipod", "alac")

    apart = load_channels(data)

    assert apart.shape[0] == 2
    assert alike(apart[0], tone(1.0, hertz=300.0)) > 0.999
    assert np.abs(apart[1]).max() == 0.0
    np.testing.assert_allclose(load_audio(data), apart[0] / 2, atol=1e-6)


def test_the_name_of_a_file_does_not_decide_what_is_in_it(tmp_path: Path) -> None:
    data = wav_bytes(tone())
    for name in ("tone.mp3", "tone.raw", "tone.pcm", "tone", "tone.txt"):
        (tmp_path / name).write_bytes(data)
        assert len(load_audio(tmp_path / name)) == RATE // 2


def test_raw_pcm_is_int16_at_the_rate_given(tmp_path: Path) -> None:
    pcm = np.array([0, 16384, -32768, 8192], "<i2").tobytes()
    for name in ("a.pcm", "b.raw", "c.PCM"):
        path = tmp_path / name
        path.write_bytes(pcm)
        assert load_audio(path).tolist() == [0.0, 0.5, -1.0, 0.25]
        assert len(load_audio(path, source_rate=8000)) == 8
    assert load_audio(pcm).tolist() == [0.0, 0.5, -1.0, 0.25]
    assert load_audio(bytearray(pcm)).tolist() == [0.0, 0.5, -1.0, 0.25]
    assert load_audio(memoryview(pcm)).tolist() == [0.0, 0.5, -1.0, 0.25]
    assert open_audio(pcm, source_rate=8000).duration == 4 / 8000


def test_half_a_sample_at_the_end_of_pcm_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert load_audio(b"\x00\x40\x00").tolist() == [0.5]
    assert "odd number of bytes" in caplog.text


def test_a_file_of_no_bytes_is_an_error_and_pcm_of_none_is_silence(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.pcm").touch()
    with pytest.raises(AudioDecodeError, match=r"a\.wav is empty \(0 bytes\)"):
        load_audio(tmp_path / "a.wav")
    assert load_audio(tmp_path / "a.pcm").shape == (0,)


def test_what_is_no_sound_is_named_with_the_cause(tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_text("These are notes, not sound.\n" * 40)
    with pytest.raises(AudioDecodeError, match=r"cannot decode .*notes\.wav: .*\(libsndfile\); .*\(libav\)"):
        load_audio(path)


def test_video_without_sound_says_so(tmp_path: Path) -> None:
    import av

    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as output:
        track = output.add_stream("mpeg4", rate=10)
        track.width = track.height = 32
        track.pix_fmt = "yuv420p"
        output.mux(track.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        output.mux(track.encode(None))
    with pytest.raises(AudioDecodeError, match=r"file without an audio track \(it has: video\)"):
        load_audio(path)


def test_a_playlist_cannot_make_us_open_other_files(tmp_path: Path) -> None:
    (tmp_path / "secret.aac").write_bytes(encoded(tone(), 44_100, "adts", "aac"))
    entry = f"file://{tmp_path}/secret.aac"
    lists = {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:3,\n{entry}\n#EXT-X-ENDLIST\n",
        "list.ffconcat": f"ffconcat version 1.0\nfile '{tmp_path}/secret.aac'\n",
    }
    for name, content in lists.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(AudioDecodeError):
            load_audio(tmp_path / name)


def test_wav_that_was_cut_off_gives_what_is_there(tmp_path: Path) -> None:
    samples = np.round(tone(1.0) * 32768) / np.float32(32768)
    data = wav_bytes(samples)
    assert load_audio(io.BytesIO(data[: 44 + 2 * 5000])).tolist() == samples[:5000].tolist()


@pytest.mark.parametrize("claim", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_wav_written_to_a_pipe_has_no_length_in_its_header(claim: int) -> None:
    samples = np.round(tone(1.0) * 32768) / np.float32(32768)
    data = bytearray(wav_bytes(samples))
    assert data[36:40] == b"data"
    data[4:8] = data[40:44] = struct.pack("<I", claim)
    np.testing.assert_array_equal(load_audio(bytes(data)), samples)


def test_flac_that_was_cut_off_gives_what_is_there_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 60 * RATE).astype(np.float32)
    path = tmp_path / "noise.flac"
    data = wav_bytes(noise, kind="FLAC")
    path.write_bytes(data[: len(data) // 2])

    heard = load_audio(path)

    assert 29 * RATE < len(heard) < 31 * RATE
    whole = slice(len(heard) - 4608)  # the frame that was cut is silence
    np.testing.assert_allclose(heard[whole], noise[: len(heard)][whole], atol=1e-4)
    assert "noise.flac" in caplog.text


def test_flac_goes_on_after_damage(caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 60 * RATE).astype(np.float32)
    data = bytearray(wav_bytes(noise, kind="FLAC"))
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(range(250)) * 12

    heard = load_audio(bytes(data))

    assert len(heard) > 58 * RATE  # some blocks are lost: how many depends on the release of libav
    np.testing.assert_allclose(heard[-20 * RATE :], noise[-20 * RATE :], atol=1e-4)


def test_damage_in_the_middle_of_mp3_keeps_what_follows_in_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    clicks = np.zeros(10 * RATE, np.float32)
    clicks[8 * RATE : 8 * RATE + 1600] = tone(0.1)
    data = bytearray(encoded(clicks, RATE, "mp3", "libmp3lame"))
    middle = slice(len(data) * 3 // 10, len(data) * 4 // 10)
    data[middle] = np.random.default_rng(1).integers(0, 256, middle.stop - middle.start, np.uint8).tobytes()
    path = tmp_path / "damaged.mp3"
    path.write_bytes(data)

    heard = load_audio(path)

    loud = np.flatnonzero(np.abs(heard) > 0.15)
    assert len(heard) > 8 * RATE
    assert loud[-1] > 7 * RATE
    assert "damaged.mp3 is damaged" in caplog.text
    output = capfd.readouterr()
    assert output.out == output.err == ""


def test_float_files_of_int16_values_are_scaled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.array([16384.0, -32768.0, 0.0]), RATE, subtype="FLOAT")
    assert load_audio(path).tolist() == [0.5, -1.0, 0.0]
    assert "loud.wav has float samples up to" in caplog.text


def test_nan_in_a_float_file_becomes_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0.5, np.nan, np.inf, -0.5], np.float32), RATE, subtype="FLOAT")
    assert load_audio(path).tolist() == [0.5, 0.0, 0.0, -0.5]
    assert "nan.wav has 2 samples" in caplog.text


@pytest.mark.parametrize("rate", [1, 500, 999, 400_000, 2**31 - 1])
def test_rates_that_no_sound_has_are_decode_errors(rate: int) -> None:
    data = bytearray(wav_bytes(tone()))
    data[24:28] = struct.pack("<I", rate)
    with pytest.raises(AudioDecodeError, match=f"the rate in its header is {rate}: expected"):
        load_audio(bytes(data))


def test_mp3_inside_wav_is_decoded_without_noise_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded(tone(1.0), RATE, "wav", "libmp3lame"))
    assert len(load_audio(bytes(data))) == pytest.approx(RATE, abs=2000)
    data[1500:2500] = bytes(1000)
    load_audio(bytes(data))
    output = capfd.readouterr()
    assert output.out == output.err == ""


@pytest.mark.parametrize(
    ("container", "codec", "tolerance"),
    [
        ("wav", "pcm_u8", 1 / 128),
        ("wav", "pcm_s24le", 1e-4),
        ("wav", "pcm_s64le", 1e-4),
        ("mov", "pcm_f64le", 1e-4),
        ("matroska", "pcm_f32le", 1e-4),
    ],
)
def test_pcm_of_every_width_is_read(container: str, codec: str, tolerance: float) -> None:
    heard = load_audio(encoded(tone(), RATE, container, codec))
    np.testing.assert_allclose(heard, tone(), atol=tolerance)


def test_a_recording_that_changes_its_rate_and_channels_goes_on() -> None:
    low = encoded(tone(1.0, 22_050), 22_050, "adts", "aac")
    high = encoded(np.stack([tone(1.0, 44_100)] * 2, axis=1), 44_100, "adts", "aac")

    for data in (low + high, high + low):
        heard = load_audio(data)
        assert len(heard) == pytest.approx(2 * RATE, rel=0.1)
        for half in (heard[4000:12_000], heard[-12_000:-4000]):
            spectrum = np.abs(np.fft.rfft(half * np.hanning(len(half))))
            assert np.argmax(spectrum) * RATE / len(half) == pytest.approx(440.0, abs=3.0)
    assert load_channels(low + high).shape[0] == 1
    assert load_channels(high + low).shape[0] == 2
