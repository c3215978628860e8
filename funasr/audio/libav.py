"""Whatever libav can read -> blocks of float32: mp3, m4a, aac, flac, mp4, webm, mkv, wma, amr, video, ...

n samples of a block (of each channel), C channels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from funasr.audio.decoders import QuietFile, block_length, reason, warn_if_short
from funasr.errors import AudioDecodeError

if TYPE_CHECKING:
    import av

logger = logging.getLogger(__name__)

MAX_PATCH_SECONDS = 60.0
"""Silence that may stand for unreadable packets, in all: a few bytes must not claim hours."""


class AvDecoder:
    """The best audio track of a file.

    A packet that does not decode becomes silence of its length, so that what follows keeps its time; a
    warning tells how many there were. Raises AudioDecodeError when nothing decodes.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        import av

        self._name = name
        self._unreadable = 0
        self._patched_seconds = 0.0
        self._stopped = ""
        try:
            # Playlists and the like name other files and hosts: whoever sends a file must not choose what
            # else is opened here.
            self._container = av.open(
                QuietFile(file, name), mode="r", container_options={"protocol_whitelist": "none"}
            )
        except Exception as error:
            raise AudioDecodeError(reason(error)) from error
        try:
            self._open_track()
        except AudioDecodeError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise AudioDecodeError(reason(error)) from error

    def _open_track(self) -> None:
        container = self._container
        file_format = container.format.name
        track: Any = container.streams.best("audio")
        if track is None:
            others = sorted({str(stream.type) for stream in container.streams})
            raise AudioDecodeError(
                f"{file_format} file without an audio track (it has: {', '.join(others) or 'none'})"
            )
        codec = getattr(track.codec_context, "name", None)
        if codec is None:
            raise AudioDecodeError(f"no decoder for the audio codec of this {file_format} file")
        self.is_float_pcm = codec.startswith("pcm_f")
        self._pieces = self._decoded(track)
        self._silence_before = 0.0
        first = next(self._pieces, None)
        while isinstance(first, float):
            self._silence_before += first
            first = next(self._pieces, None)
        if first is None:
            cause = self._stopped or f"{self._unreadable} unreadable packets"
            raise AudioDecodeError(
                f"no sound could be decoded from this {file_format} file ({codec}: {cause})"
            )
        self._first: av.AudioFrame | None = first
        # Of the decoded frame, not of the header: HE-AAC announces half its rate.
        self.rate = int(first.sample_rate)
        self.channels = int(first.layout.nb_channels)
        self.duration = _duration(container, track)

    def _decoded(self, track: Any) -> Iterator[av.AudioFrame | float]:
        """Frames, and the seconds of packets that do not decode; an error of the file itself ends it all."""
        packets: Iterator[Any] = self._container.demux(track)
        while True:
            try:
                packet = next(packets, None)
            except Exception as error:
                self._stopped = reason(error)
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except Exception:
                self._unreadable += 1
                seconds = (
                    float(packet.duration * packet.time_base) if packet.duration and packet.time_base else 0.0
                )
                # No codec has packets of half a second.
                if 0 < seconds < 0.5 and self._patched_seconds + seconds < MAX_PATCH_SECONDS:
                    self._patched_seconds += seconds
                    yield seconds

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        first, self._first = self._first, None
        assert first is not None, "a decoder's blocks are read once"
        wanted = block_length(self.rate, self.channels)
        convert = _FrameConverter(self.rate, self.channels)
        held = [self._silence(self._silence_before), convert(first)]
        held_length = len(held[0]) + len(held[1])
        seen = 0
        for piece in self._pieces:
            held.append(self._silence(piece) if isinstance(piece, float) else convert(piece))
            held_length += len(held[-1])
            if held_length >= wanted:
                yield np.concatenate(held)
                seen += held_length
                held, held_length = [], 0
        if held:
            yield np.concatenate(held)
            seen += held_length
        if self._unreadable or self._stopped:
            logger.warning(
                "%s is damaged: %d packets could not be decoded%s",
                self._name,
                self._unreadable,
                f", and nothing after {seen / self.rate:.1f} s: {self._stopped}" if self._stopped else "",
            )
        else:
            warn_if_short(self._name, seen / self.rate, self.duration)

    def _silence(self, seconds: float) -> NDArray[np.float32]:
        return np.zeros((round(seconds * self.rate), self.channels), np.float32)

    def close(self) -> None:
        self._first = None
        self._container.close()


class _FrameConverter:
    """libav frames -> (n, C) float32, all at the rate and with the channels of the first one."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._channels = channels
        self._resampler: tuple[int, Any] | None = None

    def __call__(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        if frame.format.name in ("s64", "s64p"):  # the one kind PyAV has no array for
            import av

            [frame] = av.AudioResampler(format="dblp").resample(frame)
        values: NDArray[Any] = frame.to_ndarray()
        if not frame.format.is_planar:
            values = values.reshape(-1, int(frame.layout.nb_channels)).T
        samples: NDArray[np.float32]
        if values.dtype == np.uint8:
            samples = (values.astype(np.float32) - 128.0) / np.float32(128.0)
        elif values.dtype.kind == "i":
            full_scale = 2.0 ** (8 * values.dtype.itemsize - 1)
            samples = values.astype(np.float32) / np.float32(full_scale)
        else:
            with np.errstate(all="ignore"):  # damage can be larger than a float32
                samples = values.astype(np.float32)
        if len(samples) != self._channels:  # changed within the file: each channel hears the mix
            samples = np.repeat(samples.mean(axis=0, keepdims=True), self._channels, axis=0)
        block = np.ascontiguousarray(samples.T)
        if frame.sample_rate == self._rate:
            return block
        import soxr

        # Joined broadcasts change their rate on the way; the first one's is kept.
        if self._resampler is None or self._resampler[0] != frame.sample_rate:
            stream = soxr.ResampleStream(frame.sample_rate, self._rate, self._channels, dtype="float32")
            self._resampler = frame.sample_rate, stream
        resampled: NDArray[np.float32] = self._resampler[1].resample_chunk(block)
        return resampled


def _duration(container: Any, track: Any) -> float | None:
    if track.duration and track.time_base:
        return float(track.duration * track.time_base)
    # AV_TIME_BASE: microseconds.
    return container.duration / 1e6 if container.duration and container.duration > 0 else None
