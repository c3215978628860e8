"""Sound in some form -> its rate, its channels, and blocks of float32 of bounded size.

Decoding never holds a file whole. n samples of a block (of each channel), C channels. Here are the parts all
decoders share, arrays, raw PCM and libsndfile; libav has a module of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from funasr.errors import AudioDecodeError, InputError

logger = logging.getLogger(__name__)

BLOCK_SECONDS = 10
MAX_BLOCK_VALUES = 1 << 22
"""n * C of one block, whatever a file claims about its channels: 16 MB of float32."""

MIN_RATE, MAX_RATE = 1_000, 384_000


class Decoder(Protocol):
    """Sound as it was stored, at its own rate."""

    rate: int
    channels: int
    duration: float | None
    """Seconds, as far as a header tells; None when it does not."""
    is_float_pcm: bool
    """Stored as plain floats, whose scale nobody guarantees."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """(n, C) blocks, in order, once."""
        ...

    def close(self) -> None:
        """Free what the decoder holds. A file object it was given stays open."""
        ...


def check_rate(rate: Any, name: str) -> int:
    """A sampling rate in Hz as an int. Raises InputError outside MIN_RATE..MAX_RATE."""
    number = isinstance(rate, (int, float, np.integer, np.floating)) and not isinstance(rate, bool)
    if not number or not MIN_RATE <= rate <= MAX_RATE or int(rate) != rate:
        raise InputError(f"{name} is {rate!r}: expected a whole number of Hz from {MIN_RATE} to {MAX_RATE}")
    return int(rate)


class QuietFile:
    """A binary file for the callbacks of C libraries, out of which no exception can be raised.

    Damaged headers ask for impossible places; a seek there fails as in C, with -1. A read that fails ends the
    file, with a warning.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, ValueError) as error:
            logger.warning("cannot read on in %s: %s", self._name, reason(error))
            return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def block_length(rate: int, channels: int) -> int:
    """n of one block: `BLOCK_SECONDS`, less for very many channels."""
    return max(1, min(BLOCK_SECONDS * rate, MAX_BLOCK_VALUES // channels))


def reason(error: BaseException) -> str:
    """The message of a library's error without the name of the file, which callers give themselves."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return f"{str(text).strip().rstrip('.')}" or type(error).__name__


def warn_if_short(name: str, seconds: float, claimed: float | None) -> None:
    """Cut off files end like whole ones. A tenth is allowed for: some headers only estimate."""
    if claimed is not None and seconds < 0.9 * claimed - 0.1:
        logger.warning("%s ends after %.1f s; its header claims %.1f s", name, seconds, claimed)


class ArrayDecoder:
    """Samples that are in memory already, (N, C)."""

    is_float_pcm = False

    def __init__(self, samples: NDArray[np.float32], rate: int) -> None:
        self._samples = samples
        self.rate = rate
        self.channels = samples.shape[1]
        self.duration: float | None = len(samples) / rate

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        step = block_length(self.rate, self.channels)
        for start in range(0, len(self._samples), step):
            yield self._samples[start : start + step]

    def close(self) -> None:
        self._samples = self._samples[:0]


class PcmDecoder:
    """Headerless int16 little-endian mono, from where `file` stands to its end."""

    is_float_pcm = False
    channels = 1

    def __init__(self, file: BinaryIO, name: str, rate: int) -> None:
        self._file = file
        self._name = name
        self.rate = rate
        here = file.tell()
        self.duration: float | None = (file.seek(0, 2) - here) // 2 / rate
        file.seek(here)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        step = 2 * block_length(self.rate, 1)
        odd = b""
        while data := self._file.read(step):
            data = odd + data
            odd = data[len(data) - len(data) % 2 :]
            values = np.frombuffer(data, dtype="<i2", count=len(data) // 2)
            yield values.astype(np.float32)[:, np.newaxis] / np.float32(32768.0)
        if odd:
            logger.warning("%s: raw PCM of an odd number of bytes; the last one is left out", self._name)

    def close(self) -> None:
        pass


class SoundfileDecoder:
    """wav, ogg, aiff, au, caf and their kin, through libsndfile.

    Raises AudioDecodeError when the file cannot be opened or damage comes before the first sample.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        import soundfile

        self._name = name
        try:
            self._file = soundfile.SoundFile(QuietFile(file, name))
        except Exception as error:
            raise AudioDecodeError(reason(error)) from error
        try:
            self.rate = int(self._file.samplerate)
            self.channels = int(self._file.channels)
            # Programs that write to a pipe leave a huge number here.
            claimed = int(self._file.frames)
            self._claimed = claimed if 0 <= claimed < 1 << 40 else None
            self.duration = self._claimed / self.rate if self._claimed is not None and self.rate else None
            self.is_float_pcm = self._file.subtype in ("FLOAT", "DOUBLE")
            self._first: NDArray[np.float32] | None = self._read()
            self.is_empty = len(self._first) == 0
        except Exception as error:
            self._file.close()
            raise AudioDecodeError(reason(error)) from error

    def _read(self) -> NDArray[np.float32]:
        length = block_length(min(max(self.rate, 1), MAX_RATE), max(1, self.channels))
        block: NDArray[np.float32] = self._file.read(length, dtype="float32", always_2d=True)
        return block

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        block, self._first = self._first, None
        assert block is not None, "a decoder's blocks are read once"
        seen = 0
        while len(block):
            seen += len(block)
            yield block
            try:
                block = self._read()
            except Exception as error:
                seconds = seen / self.rate
                logger.warning(
                    "%s is damaged at %.1f s, the rest is left out: %s", self._name, seconds, reason(error)
                )
                return
        warn_if_short(self._name, seen / self.rate, self.duration)

    def close(self) -> None:
        self._first = None
        self._file.close()
