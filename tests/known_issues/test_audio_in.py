"""Ways in which sound used to be lost, in upstream or in ours: each stays fixed."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from funasr.audio.inputs import expand_input
from funasr.audio.load import load_audio
from tests.audio.making import RATE, encoded, tone, wav_bytes


def test_m4a_needs_no_ffmpeg_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(encoded(tone(0.5, 44_100), 44_100, "ipod", "aac"))
    monkeypatch.setenv("PATH", "")
    assert len(load_audio(path)) >= RATE // 2


def test_speech_on_the_right_channel_alone_is_heard() -> None:
    right_only = np.stack([np.zeros(RATE, np.float32), tone(1.0)], axis=1)
    np.testing.assert_allclose(load_audio(wav_bytes(right_only)), tone(1.0) / 2, atol=1e-4)


def test_keys_are_the_same_in_every_run() -> None:
    assert [item.key for item in expand_input([b"", b""])] == ["utt_1", "utt_2"]


def test_a_json_list_is_not_read_as_lines_of_words(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text('[{"key": "a", "source": "/a.wav"}]')
    assert [(item.key, item.source) for item in expand_input(path)] == [("a", "/a.wav")]


def test_pairs_of_lists_in_another_order_do_not_get_each_others_texts(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("a /a.wav\nb /b.wav\n")
    (tmp_path / "text.txt").write_text("b second\na first\n")
    items = expand_input((tmp_path / "wav.scp", tmp_path / "text.txt"), data_type=("sound", "text"))
    assert [(item.source, item.text) for item in items] == [("/a.wav", "first"), ("/b.wav", "second")]


def test_a_seek_before_the_start_of_a_damaged_file_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(wav_bytes(tone(), kind="AIFF"))
    for place in range(0, 60, 4):
        for number in (b"\xff\xff\xff\xff", b"\x80\x00\x00\x00"):
            damaged = data[:place] + number + data[place + 4 :]
            try:
                load_audio(io.BytesIO(bytes(damaged)))
            except ValueError:
                continue
    output = capfd.readouterr()
    assert output.out == output.err == ""


def test_importing_the_package_of_sound_loads_no_decoder() -> None:
    code = (
        "import sys; import funasr.audio.load, funasr.audio.inputs; "
        "print([m for m in ('av', 'soundfile', 'soxr', 'torch', 'urllib.request') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_an_mp3_of_more_than_an_hour_is_read_to_its_end(tmp_path: Path) -> None:
    seconds = 4_000
    sound = np.tile(tone(1.0), seconds)
    sound[-RATE:] = tone(1.0, hertz=1000.0)
    path = tmp_path / "long.mp3"
    path.write_bytes(encoded(sound, RATE, "mp3", "libmp3lame"))

    heard = load_audio(path)

    assert len(heard) == seconds * RATE
    spectrum = np.abs(np.fft.rfft(heard[-RATE // 2 :]))
    assert np.argmax(spectrum) * 2 == pytest.approx(1000, abs=4)
