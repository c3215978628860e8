"""Sound for the tests: tones, and the files that hold them."""

from __future__ import annotations

import io

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000


def tone(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> NDArray[np.float32]:
    """(N,) a quarter of full scale."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.25 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def wav_bytes(
    samples: NDArray[np.float32], rate: int = RATE, kind: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    """(N,) or (N, C) samples in a format of libsndfile's."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def encoded(
    samples: NDArray[np.float32],
    rate: int,
    container: str,
    codec: str,
    *,
    options: dict[str, str] | None = None,
) -> bytes:
    """(N,) or (N, C) samples in a format of libav's."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=options or {}) as output:
        track = output.add_stream(codec, rate=rate, layout="mono" if channels == 1 else "stereo")
        pcm = (samples.reshape(1, -1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono" if channels == 1 else "stereo")
        frame.sample_rate = rate
        frame.pts = 0
        output.mux(track.encode(frame))
        output.mux(track.encode(None))
    return buffer.getvalue()
