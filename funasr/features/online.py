"""OnlineFrontend: chunks of samples -> the rows of features that the whole sound gives, as they come up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from funasr.arrays import NO_SAMPLES, Features, Samples, read_only
from funasr.errors import InputError, OptionError
from funasr.features.config import FrontendConfig
from funasr.features.fbank import Fbank, mono
from funasr.features.lfr import extended, stacked


class RowMaker(Protocol):
    """What a stream needs of its front end (`WavFrontend`)."""

    config: FrontendConfig
    fbank: Fbank

    @property
    def output_size(self) -> int:
        """D."""
        ...

    def normalize(self, rows: Features) -> Features:
        """CMVN of stacked rows (T, D)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnlineState:
    """What one stream remembers between calls. Picklable; its arrays are its own, and read-only."""

    samples: Samples
    """(N,) what no whole window has covered yet: less than a window."""
    frames: Features
    """(F, n_mels) what the coming rows are made of."""
    frames_in: int = 0
    """Frames that the sound has had so far."""
    rows_out: int = 0
    """Rows handed out so far."""
    noise: Mapping[str, Any] | None = None
    """Where the generator of the dither stands; None without dither."""
    flushed: bool = False

    @property
    def nbytes(self) -> int:
        """Size in bytes; bounded by a window of samples and lfr_m frames."""
        return self.samples.nbytes + self.frames.nbytes


class OnlineFrontend:
    """One stream. How the sound is cut into chunks never changes the rows.

    Remembers less than a window of samples and at most lfr_m - 1 frames. Sound shorter than one window gives
    no rows at all, unlike the whole-utterance front end, which shrinks the window. A call that raises leaves
    the stream as it was.
    """

    def __init__(self, frontend: RowMaker, state: OnlineState | None = None) -> None:
        """`state` is that of a stream of the same model, to go on where that one stood.

        Raises OptionError for a front end with snip_edges=False: it needs to know where the sound ends;
        InputError for a state that another front end left.
        """
        config = frontend.config
        if not config.snip_edges:
            raise OptionError(
                "snip_edges=False cannot be used on a stream: expected a model with snip_edges=True"
            )
        self._frontend = frontend
        self._state = _initial(frontend) if state is None else _fitting(state, frontend)

    @property
    def state(self) -> OnlineState:
        """What is remembered now; `WavFrontend.online(state)` goes on from there, here or elsewhere."""
        return self._state

    @property
    def rows_out(self) -> int:
        """Rows handed out so far."""
        return self._state.rows_out

    @property
    def nbytes(self) -> int:
        """Memory held between calls, in bytes."""
        return self._state.nbytes

    def accept(self, samples: Samples) -> Features:
        """Any number of samples (N,) -> the rows (T, D) that they complete; often T = 0."""
        if self._state.flushed:
            raise InputError("this stream was flushed and takes no more sound: make a new one with online()")
        state = self._taken(mono(samples))
        m, n = self._frontend.config.lfr_m, self._frontend.config.lfr_n
        rows, self._state = self._emitted(state, (len(state.frames) - max(m, n)) // n + 1)
        return rows

    def flush(self) -> Features:
        """No more sound will come: the last rows (T, D), the last frame standing for what is missing."""
        if self._state.flushed:
            raise InputError("this stream was flushed before: make a new one with online()")
        # Of ceil(F / n) rows in all.
        left = -(-self._state.frames_in // self._frontend.config.lfr_n) - self._state.rows_out
        rows, self._state = self._emitted(replace(self._state, flushed=True), left)
        return rows

    def _taken(self, samples: Samples) -> OnlineState:
        """The state with samples turned into frames, less what no whole window covers yet."""
        before, config = self._state, self._frontend.config
        joined = np.concatenate([before.samples, samples]) if before.samples.size else samples
        noise = self._frontend.fbank.new_noise()
        if noise is not None and before.noise is not None:
            noise.bit_generator.state = before.noise
        frames = self._frontend.fbank.frames(joined, noise)
        # Copies: a view would keep the whole chunk, or the caller's array, alive.
        rest = read_only(joined[len(frames) * config.hop_samples :].copy())
        if len(frames) == 0:
            return replace(before, samples=rest)
        if before.frames_in == 0:
            waiting = extended(frames, (config.lfr_m - 1) // 2, 0)
        else:
            waiting = np.concatenate([before.frames, frames])
        return replace(
            before,
            samples=rest,
            frames=read_only(waiting),
            frames_in=before.frames_in + len(frames),
            noise=None if noise is None else noise.bit_generator.state,
        )

    def _emitted(self, state: OnlineState, rows: int) -> tuple[Features, OnlineState]:
        """The next rows from the frames at hand, padded on the right with the last frame."""
        config = self._frontend.config
        m, n = config.lfr_m, config.lfr_n
        if rows <= 0:
            return np.empty((0, self._frontend.output_size), dtype=np.float32), state
        short = (rows - 1) * n + m - len(state.frames)
        frames = extended(state.frames, 0, short) if short > 0 else state.frames
        out = self._frontend.normalize(stacked(frames, rows, m, n))
        rest = read_only(state.frames[rows * n :].copy())
        return out, replace(state, frames=rest, rows_out=state.rows_out + rows)


def _initial(frontend: RowMaker) -> OnlineState:
    return OnlineState(
        samples=NO_SAMPLES,
        frames=read_only(np.empty((0, frontend.config.n_mels), dtype=np.float32)),
    )


def _fitting(state: OnlineState, frontend: RowMaker) -> OnlineState:
    """The same state. Raises InputError for one that this front end cannot have left."""
    config = frontend.config
    longest = max(config.lfr_m, config.lfr_n) - 1
    if (
        state.frames.shape[1] != config.n_mels
        or len(state.frames) > longest
        or len(state.samples) >= config.window_samples
    ):
        raise InputError(
            f"this state holds {len(state.samples)} samples and {len(state.frames)} frames of "
            f"{state.frames.shape[1]} bands; this front end leaves fewer than {config.window_samples} "
            f"samples and at most {longest} frames of {config.n_mels}: it is of another model. Begin a new "
            "stream"
        )
    return state
