"""Anything with a read() that returns bytes."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from funasr.audio.load import load_audio, open_audio
from funasr.errors import AudioDecodeError
from tests.audio.making import RATE, encoded, tone, wav_bytes

SAMPLES = np.round(tone() * 32768) / np.float32(32768)


class OnlyRead:
    """A stream as small libraries make them: nothing but read()."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


class Failing(OnlyRead):
    """Breaks in the middle, like a network stream."""

    def read(self, size: int = -1) -> bytes:
        if self._data.tell() > 500:
            raise ConnectionResetError("peer went away")
        return super().read(100)


def test_an_open_file_is_read_and_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(SAMPLES))
    with path.open("rb") as file:
        np.testing.assert_array_equal(load_audio(file), SAMPLES)
        assert not file.closed


def test_objects_that_only_read_are_enough() -> None:
    np.testing.assert_array_equal(load_audio(OnlyRead(wav_bytes(SAMPLES))), SAMPLES)
    assert len(load_audio(OnlyRead(encoded(tone(0.5, 44_100), 44_100, "mp4", "aac")))) >= RATE // 2


def test_a_pipe_can_be_read() -> None:
    data = wav_bytes(SAMPLES)
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(reader, "rb") as file:
        np.testing.assert_array_equal(load_audio(file), SAMPLES)
    thread.join()


def test_a_named_pipe_is_a_file_like_any_other_of_a_batch(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "empty")

    def write() -> None:
        (tmp_path / "pipe.wav").write_bytes(wav_bytes(SAMPLES))
        (tmp_path / "empty").write_bytes(b"")

    thread = threading.Thread(target=write)
    thread.start()
    np.testing.assert_array_equal(load_audio(tmp_path / "pipe.wav"), SAMPLES)
    with pytest.raises(AudioDecodeError, match=r"empty is empty \(0 bytes\)"):
        load_audio(str(tmp_path / "empty"))
    thread.join()


def test_a_stream_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("funasr.audio.sources.MAX_STREAM_BYTES", 1 << 21)

    class Endless:
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    with pytest.raises(AudioDecodeError, match="more than 2097152 bytes"):
        load_audio(Endless())


def test_a_member_of_an_archive_can_be_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.wav", wav_bytes(SAMPLES))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("a.wav") as member:
        np.testing.assert_array_equal(load_audio(member), SAMPLES)


def test_a_file_object_is_read_from_where_it_stands() -> None:
    buffer = io.BytesIO(b"12345" + wav_bytes(SAMPLES))
    buffer.seek(5)
    np.testing.assert_array_equal(load_audio(buffer), SAMPLES)


def test_a_buffer_that_was_written_and_not_rewound_is_read_from_its_start() -> None:
    buffer = io.BytesIO()
    buffer.write(wav_bytes(SAMPLES))
    np.testing.assert_array_equal(load_audio(buffer), SAMPLES)


def test_a_named_pcm_file_object_is_pcm(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"
    path.write_bytes(b"\x00\x40\x00\xc0")
    with path.open("rb") as file:
        assert load_audio(file).tolist() == [0.5, -0.5]


def test_an_error_while_reading_is_named() -> None:
    with pytest.raises(AudioDecodeError, match="cannot read Failing: peer went away"):
        load_audio(Failing(wav_bytes(SAMPLES)))


def test_a_closed_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_bytes(SAMPLES))
    with (tmp_path / "a.wav").open("rb") as file:
        pass
    with pytest.raises(AudioDecodeError, match=r"cannot read .*a\.wav: "):
        load_audio(file)


def test_files_are_closed_when_a_stream_is_left_early(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(tone(30.0)))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(20):
        with open_audio(path) as stream:
            next(iter(stream))
    for _ in range(20):
        with pytest.raises(AudioDecodeError):
            open_audio(__file__)
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 1
