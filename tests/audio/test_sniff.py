"""Containers are known by their first bytes; all other bytes are PCM."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funasr.audio.sniff import looks_like_container
from tests.audio.making import encoded, tone, wav_bytes


@pytest.mark.parametrize(
    "head",
    [
        b"RIFF\x00\x00\x00\x00WAVE",
        b"RIFX\x00\x00\x00\x00WAVE",
        b"RF64\x00\x00\x00\x00WAVE",
        b"BW64\x00\x00\x00\x00WAVE",
        b"ID3\x04",
        b"OggS",
        b"fLaC",
        b"\x00\x00\x00\x20ftypisom",
        b"\x1aE\xdf\xa3",
        b"#!AMR\n",
        b"#!AMR-WB\n",
        # MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 144 * 128000 / 44100 = 417 bytes, one more when padded
        (b"\xff\xfb\x90\x00" + bytes(413)) * 2,
        (b"\xff\xfb\x92\x00" + bytes(414)) * 2,
        # MPEG-2 layer III, 64 kbit/s, 16 kHz: 72 * 64000 / 16000 = 288 bytes
        (b"\xff\xf3\x88\x00" + bytes(284)) * 2,
        # AAC in ADTS frames of 9 bytes
        b"\xff\xf1\x50\x80\x01\x3f\xfc\x00\x00" * 2,
        (b"\x47" + bytes(187)) * 3,
    ],
)
def test_containers_are_recognised(head: bytes) -> None:
    assert looks_like_container(head)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"RIFF\x00\x00\x00\x00ABCD",
        b"\xff\xfb\x90\x00" + bytes(1000),  # one MPEG header, and no second where it should be
        b"\xff\xff" * 2000,  # quiet PCM: every sample is -1
        b"\xfb\xff" * 2000,
        b"\xff\xf1\x50\x80\x01\x3f\xfc\x00\x00" + bytes(100),
        bytes(4096),
    ],
)
def test_other_bytes_are_pcm(head: bytes) -> None:
    assert not looks_like_container(head)


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=500))
def test_quiet_pcm_is_never_taken_for_mpeg(values: list[int]) -> None:
    # Small numbers have the bytes 0xFF and 0xE0..0xFF everywhere, but not a whole valid header twice.
    assert not looks_like_container(np.array([*values, *values], "<i2").tobytes())


def test_real_encoders_output_is_recognised() -> None:
    assert looks_like_container(encoded(tone(), 16_000, "mp3", "libmp3lame", options={"id3v2_version": "0"}))
    assert looks_like_container(encoded(tone(), 16_000, "adts", "aac"))
    assert looks_like_container(wav_bytes(tone(), kind="W64"))
