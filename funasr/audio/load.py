"""A path, URL, bytes, file object or array -> float32 samples at the rate asked for, in blocks or whole."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Samples
from funasr.audio.decoders import check_rate, reason
from funasr.audio.samples import LOUDEST_FLOAT, float_scale
from funasr.audio.sources import name_of, open_decoder
from funasr.errors import AudioDecodeError, OptionError

logger = logging.getLogger(__name__)

Channels = Literal["mix", "split"]


class AudioStream:
    """Sound as an iterator over blocks, read once, in memory that does not grow with its length.

    A context manager; a stream read to its end has closed itself. Not for several threads at once.
    """

    def __init__(
        self, source: Any, rate: int = 16_000, *, source_rate: int | None = None, channels: Channels = "mix"
    ) -> None:
        if channels not in ("mix", "split"):
            raise OptionError(f"channels is {channels!r}: expected 'mix' or 'split'")
        self.rate = check_rate(rate, "rate")
        """Hz of the blocks."""
        self.name = name_of(source)
        self._decoder, self._close_file = open_decoder(source, source_rate)
        self.source_rate: int = self._decoder.rate
        self.source_channels: int = self._decoder.channels
        self.channels: int = 1 if channels == "mix" else self.source_channels
        self.duration: float | None = self._decoder.duration
        """Seconds, as far as the header tells: an estimate, and None when it does not."""
        self._blocks = self._converted()

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Blocks (channels, n) of about ten seconds at `rate`, finite numbers only."""
        return self._blocks

    def _converted(self) -> Iterator[NDArray[np.float32]]:
        try:
            resampler = None
            scale: float | None = None
            repaired = 0
            for block in self._decoded():
                if scale is None:
                    scale = float_scale(block, self.name) if self._decoder.is_float_pcm else 1.0
                block, bad = _repaired(block, scale)
                repaired += bad
                if self.channels == 1 and self.source_channels > 1:
                    block = block.mean(axis=1, keepdims=True, dtype=np.float32)
                if self.source_rate != self.rate:
                    resampler = resampler or self._resampler()
                    block = resampler.resample_chunk(np.ascontiguousarray(block))
                if len(block):
                    yield np.ascontiguousarray(block.T)
            if resampler is not None:
                block = resampler.resample_chunk(np.zeros((0, self.channels), np.float32), last=True)
                if len(block):
                    yield np.ascontiguousarray(block.T)
            if repaired:
                logger.warning(
                    "%s has %d samples that are no sound (NaN, infinite or far too loud)", self.name, repaired
                )
        finally:
            self.close()

    def _decoded(self) -> Iterator[NDArray[np.float32]]:
        try:
            yield from self._decoder.blocks()
        except Exception as error:  # the libraries' own: whatever a damaged file makes them raise
            raise AudioDecodeError(f"cannot decode {self.name}: {reason(error)}") from error

    def _resampler(self) -> Any:
        import soxr

        return soxr.ResampleStream(self.source_rate, self.rate, self.channels, dtype="float32")

    def close(self) -> None:
        """Free the file and the decoder; a file object given by the caller stays open."""
        self._decoder.close()
        self._close_file()

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _repaired(block: NDArray[np.float32], scale: float) -> tuple[NDArray[np.float32], int]:
    """Times `scale`; NaN and infinity -> 0, louder than any sound -> the limit; and how many there were."""
    with np.errstate(all="ignore"):  # NaN is what this is about
        if scale != 1.0:
            block = block * np.float32(scale)
        if block.size == 0 or max(-block.min(), block.max()) <= LOUDEST_FLOAT:  # False for NaN
            return block, 0
        finite = np.isfinite(block)
        bad = int(block.size - np.count_nonzero(finite & (np.abs(block) <= LOUDEST_FLOAT)))
        return np.clip(np.where(finite, block, np.float32(0)), -LOUDEST_FLOAT, LOUDEST_FLOAT), bad


def open_audio(
    source: Any, rate: int = 16_000, *, source_rate: int | None = None, channels: Channels = "mix"
) -> AudioStream:
    """Open sound for reading in blocks.

    `source` is a path, an http(s) URL, bytes (a container, else int16 little-endian PCM), a binary file
    object (read from where it stands), an array or torch tensor (N,), (N, C) or (C, N), or a list of numbers.
    `source_rate` is the rate of what does not say its own: arrays and raw PCM (16 kHz when left out).
    `channels`: "mix" averages them, "split" keeps them apart.

    Damage after the first sample is logged, and what can be read is returned. Raises AudioDecodeError when
    nothing can be read, InputError when `source` or a rate is none of the above; both name the source.
    """
    return AudioStream(source, rate, source_rate=source_rate, channels=channels)


def load_audio(source: Any, rate: int = 16_000, *, source_rate: int | None = None) -> Samples:
    """All of it, mono, as (N,) at `rate`; arguments as `open_audio` has them. Empty sound is zero samples."""
    samples: Samples = load_channels(source, rate, source_rate=source_rate, channels="mix")[0]
    return samples


def load_channels(
    source: Any, rate: int = 16_000, *, source_rate: int | None = None, channels: Channels = "split"
) -> NDArray[np.float32]:
    """All of it as (C, N) at `rate`, channels apart; arguments as `open_audio` has them."""
    with open_audio(source, rate, source_rate=source_rate, channels=channels) as stream:
        blocks = list(stream)
        if not blocks:
            return np.zeros((stream.channels, 0), np.float32)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
