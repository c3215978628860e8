"""Whatever comes in: samples or an error of ours; no other exception, crash, hang, or flood of memory."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from funasr.audio.load import load_audio, load_channels, open_audio
from funasr.errors import FunASRError
from tests.audio.making import encoded, tone, wav_bytes
from tests.audio.memory import peak_mb, reset_peak

PEAK_MB = 200
"""What one malformed input of a few kilobytes may cost at the worst, decoders included."""

DEADLINE = timedelta(seconds=10)

EXTREMES = [0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 10**9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
RATES = [16_000, 16_000, 8_000, 44_100, 1_000, 384_000, 0, 1, 7, 999, 384_001, 10**9, -16_000]


@cache
def valid_files() -> list[bytes]:
    """Small files of many kinds, to be damaged."""
    short, wide = tone(0.2), tone(0.2, 44_100)
    stereo = np.stack([wide, wide], axis=1)
    kinds = [
        ("mp3", "libmp3lame", 44_100),
        ("ipod", "aac", 44_100),
        ("adts", "aac", 44_100),
        ("webm", "libopus", 48_000),
        ("matroska", "ac3", 48_000),
        ("mov", "alac", 44_100),
        ("amr", "libopencore_amrnb", 8_000),
        ("ogg", "libopus", 48_000),
        ("avi", "libmp3lame", 44_100),
        ("mpegts", "aac", 44_100),
        ("flv", "aac", 44_100),
        ("wv", "wavpack", 44_100),
        ("wav", "adpcm_ima_wav", 16_000),
        ("wav", "pcm_f32le", 16_000),
    ]
    return [
        wav_bytes(short),
        wav_bytes(stereo, 44_100),
        wav_bytes(short, subtype="FLOAT"),
        wav_bytes(stereo, 44_100, kind="FLAC"),
        wav_bytes(short, kind="OGG", subtype="VORBIS"),
        *(wav_bytes(short, kind=kind) for kind in ("AIFF", "AU", "CAF", "W64", "RF64", "NIST", "VOC")),
        *(encoded(tone(0.2, rate), rate, container, codec) for container, codec, rate in kinds),
    ]


@st.composite
def damaged_files(draw: st.DrawFn) -> bytes:
    """A valid file after a few accidents."""
    files = valid_files()
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 3))):
        # Half of the accidents happen to headers.
        end = draw(st.sampled_from([64, 512, len(data)]))
        place = draw(st.integers(0, max(0, min(end, len(data)) - 1)))
        kind = draw(
            st.sampled_from(["cut", "bytes", "number", "big-endian", "insert", "delete", "join", "repeat"])
        )
        if kind == "cut":
            del data[place:]
        elif kind == "bytes":
            data[place : place + 8] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "number":
            data[place : place + 4] = struct.pack("<I", draw(st.sampled_from(EXTREMES)))
        elif kind == "big-endian":
            data[place : place + 4] = struct.pack(">I", draw(st.sampled_from(EXTREMES)))
        elif kind == "insert":
            data[place:place] = draw(st.binary(max_size=64))
        elif kind == "delete":
            del data[place : place + draw(st.integers(1, 64))]
        elif kind == "join":
            data[place:] = draw(st.sampled_from(files))
        else:
            data += data[place:]
    return bytes(data)


@st.composite
def wav_headers(draw: st.DrawFn) -> bytes:
    """WAV as nobody should write it."""
    channels = draw(st.sampled_from([0, 1, 2, 3, 200, 1024, 1025, 65_535]))
    rate = draw(st.sampled_from([*[r for r in RATES if r >= 0], 0xFFFFFFFF]))
    bits = draw(st.sampled_from([0, 1, 7, 8, 12, 16, 24, 32, 64, 65_535]))
    tag = draw(st.sampled_from([0, 1, 2, 3, 6, 7, 0x11, 0x31, 0x55, 0x161, 0xFFFE, 0xFFFF]))
    align = draw(st.sampled_from([channels * bits // 8 & 0xFFFF, 0, 1, 65_535]))
    body = draw(st.binary(max_size=2000))
    size = draw(st.sampled_from([len(body), 0, 1, 10**9, 0x7FFFFFFF, 0xFFFFFFFF]))
    form = struct.pack("<HHIIHH", tag, channels, rate, draw(st.sampled_from([0, rate])), align, bits)
    form += draw(st.binary(max_size=24))
    form_size = draw(st.sampled_from([len(form), 16, 0, 0xFFFFFFFF]))
    total = draw(st.sampled_from([20 + len(form) + len(body), 0, 0xFFFFFFFF]))
    magic = draw(st.sampled_from([b"RIFF", b"RIFX", b"RF64"]))
    head = magic + struct.pack("<I", total) + b"WAVEfmt " + struct.pack("<I", form_size) + form
    return head + b"data" + struct.pack("<I", size) + body


MAGICS = [
    b"RIFF\xff\xff\xff\xffWAVEfmt ",
    b"OggS\x00\x02",
    b"fLaC\x00\x00\x00\x22",
    b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f",
    b"ID3\x03\x00\x80\x00\x00\x00\x0a",
    b"\xff\xfb\x90\x00",
    b"\xff\xf1\x50\x80",
    b"\x00\x00\x00\x20ftypisom",
    b"\x00\x00\x00\x18ftypM4A \x00\x00\x00\x00",
    b"\x1aE\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f",
    b"#!AMR\n",
    b"FORM\x7f\xff\xff\xffAIFFCOMM",
    b".snd\x00\x00\x00\x18\xff\xff\xff\xff",
    b"caff\x00\x01\x00\x00desc",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    b"wvpk\xff\xff\x00\x00",
    b"MAC \x96\x0f",
    b"TTA1\x01\x00",
    b"FLV\x01\x04",
    b"Creative Voice File\x1a",
    b"NIST_1A\n   1024\n",
    b"#EXTM3U\n",
    b"",
]
garbage = st.builds(bytes.__add__, st.sampled_from(MAGICS), st.binary(max_size=3000))
malformed_bytes = st.one_of(damaged_files(), damaged_files(), wav_headers(), garbage)


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Numbers of all types and shapes, the extreme ones too."""
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 7, 63, 65, 500]), max_size=3))
    dtype = draw(
        st.sampled_from(
            ["f4", "f8", "f2", "i2", ">i2", "i4", "i8", "u1", "i1", "u2", "u4", "?", "c8", "O", "U1", "M8[s]"]
        )
    )
    count = int(np.prod(shape))
    if count > 40_000:
        shape, count = [500], 500
    raw = np.resize(np.frombuffer(draw(st.binary(min_size=8, max_size=64)), np.uint8), count * 16)
    if dtype in ("O", "U1", "M8[s]"):
        return np.full(shape, draw(st.sampled_from([None, 1, "a"])) if dtype == "O" else 0).astype(dtype)
    array = raw.view(dtype)[:count].reshape(shape)
    if array.dtype.kind == "f" and count:
        array = array.copy()
        with np.errstate(over="ignore"):
            array.flat[0] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e30, -1e-30]))
    return array


odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=30),
    st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=2)), max_size=20),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(
        ["http://", "https://[::1", "http://127.0.0.1:1/a.wav", "\0.wav", "x" * 5000, "/", "~", "a|"]
    ),
)


class OnlyRead:
    """A stream of the simplest kind."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


def attempt(source: Any, rate: int, source_rate: int | None, call: str) -> None:
    """Read it as far as it goes. What comes out is sound, or a FunASRError."""
    before = reset_peak()
    try:
        if call == "load_audio":
            blocks = [load_audio(source, rate, source_rate=source_rate)]
            assert blocks[0].ndim == 1
        elif call == "load_channels":
            blocks = [load_channels(source, rate, source_rate=source_rate)]
            assert blocks[0].ndim == 2
        else:
            with open_audio(source, rate, source_rate=source_rate, channels="split") as stream:
                blocks = list(stream)
                assert all(len(block) == stream.channels for block in blocks)
    except FunASRError:
        return
    finally:
        after = peak_mb()
        if before is not None and after is not None:
            assert after - before < PEAK_MB, f"{after - before:.0f} MB for one malformed input"
    for block in blocks:
        assert block.dtype == np.float32
        assert np.isfinite(block).all()


def run(examples: int, folder: Path) -> None:
    """`examples` malformed inputs, the same every time."""

    def as_file(data: bytes, suffix: str) -> Path:
        path = folder / f"malformed{suffix}"
        path.write_bytes(data)
        return path

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=DEADLINE,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        source=st.one_of(malformed_bytes, malformed_bytes, malformed_bytes, arrays(), odd_values),
        suffix=st.sampled_from([".wav", ".mp3", ".flac", ".raw", ".pcm", ".m4a", ".ogg", ""]),
        how=st.sampled_from(["bytes", "file", "path", "stream"]),
        rate=st.sampled_from([*[16_000] * 30, 8_000, *RATES]),
        source_rate=st.sampled_from([*[None] * 30, *RATES]),
        call=st.sampled_from(["load_audio", "load_channels", "open_audio"]),
    )
    def check(source: Any, suffix: str, how: str, rate: int, source_rate: int | None, call: str) -> None:
        if isinstance(source, bytes):
            wrap: dict[str, Callable[[bytes], Any]] = {
                "bytes": bytes,
                "file": io.BytesIO,
                "path": lambda data: as_file(data, suffix),
                "stream": OnlyRead,
            }
            source = wrap[how](source)
        attempt(source, rate, source_rate, call)

    check()


def test_malformed_inputs_give_sound_or_an_error_of_ours(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(150, tmp_path)
    output = capfd.readouterr()
    assert output.out == output.err == ""


@pytest.mark.slow
def test_a_thousand_malformed_inputs_give_sound_or_an_error_of_ours(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(1000, tmp_path)
    output = capfd.readouterr()
    assert output.out == output.err == ""
