"""OnlineFrontend: chunks of samples -> the rows of features that the whole sound gives, as they come up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from funasr.arrays import Features, Samples
from funasr.errors import InputError, OptionError
from funasr.features.fbank import mono
from funasr.features.lfr import extended, stacked

if TYPE_CHECKING:
    from funasr.features.frontend import WavFrontend


class OnlineFrontend:
    """One stream. How the sound is cut into chunks never changes the rows.

    Remembers less than a window of samples and at most lfr_m - 1 frames. Sound shorter than one window gives
    no rows at all, unlike the whole-utterance front end, which shrinks the window.
    """

    def __init__(self, frontend: WavFrontend) -> None:
        """Raises OptionError for a front end with snip_edges=False: it needs to know where the sound ends."""
        config = frontend.config
        if not config.snip_edges:
            raise OptionError(
                "snip_edges=False cannot be used on a stream: expected a model with snip_edges=True"
            )
        self.rows_out = 0
        """Rows handed out so far."""
        self._frontend = frontend
        self._noise = frontend.fbank.new_noise()
        self._samples: Samples = np.empty(0, dtype=np.float32)
        self._frames: Features = np.empty((0, config.n_mels), dtype=np.float32)
        self._frames_in = 0
        self._flushed = False

    @property
    def nbytes(self) -> int:
        """Memory held between calls, in bytes."""
        return self._samples.nbytes + self._frames.nbytes

    def accept(self, samples: Samples) -> Features:
        """Any number of samples (N,) -> the rows (T, D) that they complete; often T = 0."""
        if self._flushed:
            raise InputError("this stream was flushed and takes no more sound: make a new one with online()")
        self._take(mono(samples))
        m, n = self._frontend.config.lfr_m, self._frontend.config.lfr_n
        return self._emit((len(self._frames) - max(m, n)) // n + 1)

    def flush(self) -> Features:
        """No more sound will come: the last rows (T, D), the last frame standing for what is missing."""
        if self._flushed:
            raise InputError("this stream was flushed before: make a new one with online()")
        self._flushed = True
        return self._emit(self._left())

    def _take(self, samples: Samples) -> None:
        """Turn samples into frames; keep what no whole window covers yet."""
        fbank, config = self._frontend.fbank, self._frontend.config
        joined = np.concatenate([self._samples, samples]) if self._samples.size else samples
        frames = fbank.frames(joined, self._noise)
        # Copies: a view would keep the whole chunk, or the caller's array, alive.
        self._samples = joined[len(frames) * config.hop_samples :].copy()
        if len(frames) == 0:
            return
        if self._frames_in == 0:
            self._frames = extended(frames, (config.lfr_m - 1) // 2, 0)
        else:
            self._frames = np.concatenate([self._frames, frames])
        self._frames_in += len(frames)

    def _left(self) -> int:
        """Rows still to come once the number of frames is known: of ceil(F / n) in all."""
        return -(-self._frames_in // self._frontend.config.lfr_n) - self.rows_out

    def _emit(self, rows: int) -> Features:
        """The next rows from the frames at hand, padded on the right with the last frame."""
        config = self._frontend.config
        m, n = config.lfr_m, config.lfr_n
        if rows <= 0:
            return np.empty((0, self._frontend.output_size), dtype=np.float32)
        short = (rows - 1) * n + m - len(self._frames)
        frames = extended(self._frames, 0, short) if short > 0 else self._frames
        out = self._frontend.normalize(stacked(frames, rows, m, n))
        self.rows_out += rows
        self._frames = self._frames[rows * n :].copy()
        return out
