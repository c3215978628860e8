"""Sound as it is spoken: a microphone, or a file that is played. Both give mono samples, piece by piece."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from funasr.arrays import Samples
from funasr.errors import InputError, MissingDependencyError, install_extra

PIECE_MS = 60
PATIENCE_S = 1.0
"""How long the silence of a broken device is waited for before looking whether it is still there."""


def play(path: str, rate: int, stop: threading.Event, *, speed: float) -> Iterator[Samples]:
    """The sound of a file at `rate`, each piece when its time has come, `speed` times as fast as spoken.

    Up to its end, or until `stop` is set. Raises AudioDecodeError, InputError.
    """
    from funasr.audio.load import open_audio

    began = time.monotonic()
    played = 0
    with open_audio(path, rate) as sound:
        for block in sound:
            samples = block[0]
            for start in range(0, len(samples), rate * PIECE_MS // 1000):
                if stop.is_set():
                    return
                piece = samples[start : start + rate * PIECE_MS // 1000]
                played += len(piece)
                time.sleep(max(began + played / rate / speed - time.monotonic(), 0))
                yield piece


@contextmanager
def listen(rate: int, stop: threading.Event, device: int | str | None = None) -> Iterator[Iterator[Samples]]:
    """What a microphone hears, at `rate`, until `stop` is set: all that was said before is still handed out.

    `device`: its number or a part of its name; None for the system's own choice. Sound is gathered beside the
    caller's work, so nothing is lost while that takes long. Raises InputError for a microphone that is not
    there or fails, MissingDependencyError without the library that reads it.
    """
    sounddevice = require_sounddevice()
    gathered: queue.SimpleQueue[Samples] = queue.SimpleQueue()

    def gather(samples: Any, frames: int, when: Any, status: Any) -> None:
        if status:
            print(f"funasr-live: the microphone lost some sound ({status})", file=sys.stderr)
        gathered.put(samples[:, 0].copy())

    try:
        own = _own_rate(sounddevice, device, rate)
        stream = sounddevice.InputStream(
            samplerate=own,
            blocksize=own * PIECE_MS // 1000,
            device=device,
            channels=1,
            dtype="float32",
            callback=gather,
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise InputError(
            f"the microphone{'' if device is None else f' {device!r}'} cannot be used: {error}. "
            "funasr-live --list-devices shows those that are there"
        ) from error
    try:
        yield _resampled(_pieces(gathered, stream, stop), own, rate)
    finally:
        stream.close()


def devices() -> list[tuple[int, str, bool]]:
    """(number, name, whether it is the system's choice) of each device that hears.

    Raises MissingDependencyError.
    """
    sounddevice = require_sounddevice()
    chosen = sounddevice.default.device[0]
    return [
        (number, str(device["name"]), number == chosen)
        for number, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]


def require_sounddevice() -> Any:
    """The package that reads microphones. Raises MissingDependencyError."""
    try:
        import sounddevice
    except ImportError as error:
        raise MissingDependencyError("sounddevice", "the microphone", install_extra("live")) from error
    except OSError as error:  # on Linux it does not bring the library that it is made for
        raise MissingDependencyError(
            "libportaudio2",
            "the microphone",
            "apt install libportaudio2, or what your system calls PortAudio",
        ) from error
    return sounddevice


def _own_rate(sounddevice: Any, device: int | str | None, rate: int) -> int:
    """`rate`, if the device knows it; else its own."""
    try:
        sounddevice.check_input_settings(device=device, channels=1, dtype="float32", samplerate=rate)
    except sounddevice.PortAudioError:
        return int(sounddevice.query_devices(device, "input")["default_samplerate"])
    return rate


def _pieces(gathered: queue.SimpleQueue[Samples], stream: Any, stop: threading.Event) -> Iterator[Samples]:
    while not stop.is_set():
        try:
            yield gathered.get(timeout=PATIENCE_S)
        except queue.Empty:
            if not stream.active:
                raise InputError("the microphone stopped: was it unplugged?") from None
    stream.stop()
    while not gathered.empty():
        yield gathered.get()


def _resampled(pieces: Iterator[Samples], own: int, rate: int) -> Iterator[Samples]:
    if own == rate:
        yield from pieces
        return
    import soxr

    resampler = soxr.ResampleStream(own, rate, 1, dtype="float32")
    for piece in pieces:
        yield np.asarray(resampler.resample_chunk(piece), dtype=np.float32)
    yield np.asarray(resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True), dtype=np.float32)
