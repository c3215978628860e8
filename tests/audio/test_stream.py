"""Sound in blocks: bounded memory, and the same samples as all at once."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from funasr.audio.load import load_audio, load_channels, open_audio
from tests.audio.making import RATE, encoded, tone, wav_bytes
from tests.audio.memory import peak_mb, reset_peak


def write_long(path: Path, seconds: int, rate: int, channels: int = 1) -> None:
    """The same second of noise again and again."""
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (rate, channels))
    with soundfile.SoundFile(path, "w", rate, channels) as file:
        for _ in range(seconds):
            file.write(noise)


def read_all(path: Path, channels: str = "mix") -> tuple[int, int, float]:
    """Samples, the longest block, and how many MB the process grew."""
    before = reset_peak()
    total = longest = 0
    with open_audio(path, channels=channels) as stream:  # type: ignore[arg-type]
        for block in stream:
            total += block.shape[1]
            longest = max(longest, block.shape[1])
    after = peak_mb()
    return total, longest, 0.0 if before is None or after is None else after - before


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_memory_does_not_grow_with_the_length_of_a_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"long.{suffix}"
    write_long(path, 300, 44_100)
    with open_audio(tone()) as warm:
        list(warm)

    total, longest, grown = read_all(path)

    assert total == 300 * RATE  # 19 MB of float32, from 53 MB at the rate of the file
    assert longest <= 11 * RATE
    assert grown < 25


@pytest.mark.slow
def test_a_file_of_ten_hours_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    write_long(path, 36_000, RATE, channels=2)

    total, longest, grown = read_all(path, "split")

    assert total == 36_000 * RATE  # 4.6 GB of float32
    assert longest <= 11 * RATE
    assert grown < 50


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (8_000, 1), (RATE, 2)])
def test_blocks_are_the_whole(rate: int, channels: int, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    write_long(path, 35, rate, channels)

    with open_audio(path, channels="split") as stream:
        blocks = list(stream)

    assert len(blocks) >= 4
    joined = np.concatenate(blocks, axis=1)
    assert joined.shape == (channels, 35 * RATE)
    np.testing.assert_array_equal(load_channels(path), joined)
    stored, _ = soundfile.read(path, dtype="float32", always_2d=True)
    at_once = stored if rate == RATE else soxr.resample(stored, rate, RATE)
    np.testing.assert_allclose(joined.T, at_once, atol=1e-6)


def test_arrays_come_in_blocks_too() -> None:
    samples = tone(35.0)
    with open_audio(samples) as stream:
        blocks = [block.shape for block in stream]
    assert blocks == [(1, 160_000)] * 3 + [(1, 80_000)]


def test_a_stream_knows_its_length_before_it_is_read(tmp_path: Path) -> None:
    for suffix, data in {
        "wav": wav_bytes(tone(2.0)),
        "flac": wav_bytes(tone(2.0), kind="FLAC"),
        "mp3": encoded(tone(2.0), RATE, "mp3", "libmp3lame"),
        "m4a": encoded(tone(2.0, 44_100), 44_100, "ipod", "aac"),
        "webm": encoded(tone(2.0, 48_000), 48_000, "webm", "libopus"),
    }.items():
        path = tmp_path / f"tone.{suffix}"
        path.write_bytes(data)
        with open_audio(path) as stream:
            assert stream.duration == pytest.approx(2.0, abs=0.1), suffix
            assert stream.rate == RATE


def test_many_channels_come_in_smaller_blocks(tmp_path: Path) -> None:
    path = tmp_path / "array.wav"
    soundfile.write(path, np.full((5 * RATE, 128), 0.25, np.float32), RATE)
    with open_audio(path, channels="split") as stream:
        shapes = [block.shape for block in stream]
    assert {channels for channels, _ in shapes} == {128}
    assert max(length for _, length in shapes) == 2**22 // 128
    np.testing.assert_array_equal(load_audio(path), np.full(5 * RATE, 0.25, np.float32))


def test_sound_is_read_by_many_threads_at_once(tmp_path: Path) -> None:
    data = {
        "a.wav": wav_bytes(tone(3.0, 44_100), 44_100),
        "b.mp3": encoded(tone(3.0), RATE, "mp3", "libmp3lame"),
        "c.flac": wav_bytes(tone(3.0), kind="FLAC"),
        "d.m4a": encoded(tone(3.0, 44_100), 44_100, "ipod", "aac"),
    }
    for name, content in data.items():
        (tmp_path / name).write_bytes(content)
    serial = {name: load_audio(tmp_path / name) for name in data}
    wrong: list[str] = []

    def work() -> None:
        for name, expected in serial.items():
            if not np.array_equal(load_audio(tmp_path / name), expected):
                wrong.append(name)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
