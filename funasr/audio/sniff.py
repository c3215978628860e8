"""The first bytes of something -> does it look like an audio container, or is it raw PCM?"""

from __future__ import annotations

_MAGICS = (
    b"OggS",
    b"fLaC",
    b"ID3",
    b"\x1aE\xdf\xa3",  # EBML: webm, mkv
    b"#!AMR",
    b"FORM",  # aiff
    b"caff",
    b".snd",
    b"riff\x2e\x91\xcf\x11",  # Wave64
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: wma, wmv
    b"FLV\x01",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"wvpk",
    b"MAC ",
    b"TTA1",
)
_RIFF_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64")

SNIFF_BYTES = 4096
"""How much of the start `looks_like_container` wants to see: two of the longest MPEG audio frames."""


def looks_like_container(head: bytes) -> bool:
    """True when `head` starts a file that says what it is; otherwise bytes are int16 little-endian PCM.

    WAVE in its RIFF forms, MP3 (an ID3 tag or two consecutive frames), AAC (two consecutive ADTS frames),
    Ogg, FLAC, MP4 (`ftyp`), Matroska, AMR, AIFF, CAF, AU, Wave64, ASF, AVI, MPEG streams, FLV and a few more.
    """
    if head[:4] in _RIFF_MAGICS:
        return head[8:12] in (b"WAVE", b"AVI ")
    if head.startswith(_MAGICS) or head[4:8] == b"ftyp":
        return True
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:  # MPEG transport stream
        return True
    # A sync word is eleven set bits, which quiet PCM has too: the next frame must be where the first says.
    first = _mpeg_frame_bytes(head)
    if first and _mpeg_frame_bytes(head[first:]):
        return True
    first = _adts_frame_bytes(head)
    return bool(first and _adts_frame_bytes(head[first:]))


def may_be_mpeg(head: bytes) -> bool:
    """Starts like MPEG audio, with the tag that MP3 files have, or is a WAV that says it holds MPEG.

    Cheap, and true for some other files.
    """
    if head[:4] in _RIFF_MAGICS:
        place = head.find(b"fmt ", 12)
        # WAVE_FORMAT_MPEG and WAVE_FORMAT_MPEGLAYER3
        return place >= 0 and head[place + 8 : place + 10] in (b"\x50\0", b"\x55\0", b"\0\x50", b"\0\x55")
    return head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


_BIT_RATES_V1 = {
    3: (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),  # layer I, kbit/s
    2: (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_BIT_RATES_V2 = {
    3: (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    1: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def _mpeg_frame_bytes(head: bytes) -> int:
    """Length of the MPEG audio frame (ISO 11172-3) that starts here, 0 when none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3  # version 3 = MPEG-1, layer 3 = I
    rate_index, bit_index, padding = head[2] >> 2 & 3, head[2] >> 4, head[2] >> 1 & 1
    if version == 1 or layer == 0 or rate_index == 3 or bit_index in (0, 15):
        return 0
    rate = _MPEG_RATES[version][rate_index]
    bit_rate = 1000 * (_BIT_RATES_V1 if version == 3 else _BIT_RATES_V2)[layer][bit_index]
    if layer == 3:
        return (12 * bit_rate // rate + padding) * 4
    return (72 if version != 3 and layer == 1 else 144) * bit_rate // rate + padding


def _adts_frame_bytes(head: bytes) -> int:
    """Length of the ADTS frame (ISO 13818-7) that starts here, 0 when none does."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0
