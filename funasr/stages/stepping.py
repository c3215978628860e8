"""A ParaformerStreaming chunk by chunk, whatever computes it: what a stream remembers, many as one batch.

A chunk's window is what is remembered of the sound (left + right frames of its shape) and its new frames:

    [ left: encoded again | new ones and look-ahead of the chunk before: decided now | right: look-ahead ]

Arrays are numpy's, or tensors: those of the back end, which supplies what is done with them.
B streams, T frames of a window, N remembered frames, U tokens, D width, L layers, H heads, K taps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.decode.cif import Fired, fire
from funasr.errors import InputError
from funasr.stages.protocols import Chunk, ChunkRow, ChunkShape

Array: TypeAlias = Any
"""Of the back end; a state that was pickled has numpy's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParaformerState:
    """The memory of one stream. Bounded by its shape, except where `encoder_look_back` is -1.

    Every array is its own: none keeps a batch or an older state alive. A state can be pickled on one device,
    or back end, and go on on another.
    """

    shape: ChunkShape
    frames: int
    """Feature frames heard so far."""
    window: Array
    """(left + right, input) the last frames, scaled and with their positions; zeros before the stream."""
    encoder: Array
    """(L * 2 H, N, D / H) of each layer the keys, then the values, of the chunks before the window."""
    weight: float
    """What the frames since the last token weigh, 0..1."""
    token: Array
    """(D,) float32 mean of these frames, as they weigh."""
    spoken: Array
    """(L, K - 1, D) what the decoder's convolutions last saw: one entry a token, zeros before the first."""
    heard: Array
    """(L * 2 H, N, D / H) keys and values of the frames that the decoder last looked at."""

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, name).nbytes for name in ("window", "encoder", "token", "spoken", "heard"))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, ({field.name: _plain(getattr(self, field.name)) for field in fields(self)},)


def _rebuilt(values: dict[str, Any]) -> ParaformerState:
    return ParaformerState(**values)


def _plain(value: Any) -> Any:
    """A tensor, on whatever device, as numpy's array; all else as it is."""
    return value.float().cpu().numpy() if hasattr(value, "cpu") else value


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSizes:
    """What a network's states have to fit."""

    input: int
    width: int
    encoder_layers: int
    decoder_layers: int
    encoder_heads: int
    decoder_heads: int
    remembered_tokens: int
    """K - 1."""
    tail: float
    """Weight of the frame that follows the last one."""


@dataclass(frozen=True, slots=True)
class History:
    """Keys and values of several streams."""

    past: Array
    """(B, L * 2 H, N, D / H) zeros before the beginning of those that are shorter."""
    sizes: tuple[int, ...]
    """(B,) how many of the N are a row's own: the last ones."""

    def remember(self, row: int, seen: Array, limit: int, ahead: int = 0) -> tuple[Array, Array]:
        """A row's next history in two parts, to be joined along their axis 1: of the old, of the new.

        seen (B, L * 2 H, T, D / H) of the window, of which the last `ahead` are left out; `limit` frames at
        most are remembered, below 0 all.
        """
        old, new = self.past[row], seen[row]
        kept = new[:, : new.shape[1] - ahead]
        size = self.sizes[row]
        if limit >= 0:
            size = min(size, max(limit - kept.shape[1], 0))
            kept = kept[:, max(kept.shape[1] - limit, 0) :]
        return old[:, old.shape[1] - size :], kept


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a network hears in windows."""

    memory: Array
    """(B, T, D)"""
    weights: NDArray[np.float32]
    """(B, T) of the predictor."""
    seen: Array
    """(B, L * 2 H, T, D / H) keys and values."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a network says to acoustic embeddings."""

    ids: Sequence[NDArray[np.int64]]
    """(count,) of each row."""
    confidences: Sequence[NDArray[np.float32]]
    spoken: Array
    """(L, B, K - 1, D)"""
    seen: Array
    """(B, L * 2 H, T, D / H)"""


class ParaformerSteps(ABC):
    """A `StreamingAcousticNetwork`, for the back end to complete."""

    supports_look_back = True
    """False of graphs that do not give away their keys and values, as upstream's."""

    @property
    @abstractmethod
    def step_sizes(self) -> StepSizes: ...

    @abstractmethod
    def _zeros(self, *shape: int) -> Array: ...

    @abstractmethod
    def _array(self, values: Array, *, single: bool = False) -> Array:
        """An array of either kind as one of the back end's, in its precision, or else in single."""

    @abstractmethod
    def _join(self, arrays: Sequence[Array], axis: int) -> Array:
        """Always a copy."""

    @abstractmethod
    def _stack(self, arrays: Sequence[Array], axis: int) -> Array:
        """Always a copy."""

    @abstractmethod
    def _enter(self, features: Features, starts: NDArray[np.float32]) -> Array:
        """features (B, T, input) -> scaled, with positions from `starts` (B,) on."""

    @abstractmethod
    def _encode(self, window: Array, history: History) -> Encoded:
        """window (B, T, input), T >= 1."""

    @abstractmethod
    def _decode(
        self, embeds: Array, counts: Sequence[int], memory: Array, spoken: Array, history: History
    ) -> Decoded:
        """embeds (B, U, D) float32, counts (B,) of them real, memory (B, T, D), spoken (L, B, K - 1, D)."""

    def initial_state(self, shape: ChunkShape) -> ParaformerState:
        """The memory of a stream that has heard nothing. Raises InputError for a shape that is none."""
        least = (shape.left, shape.right, shape.size - 1, shape.encoder_look_back + 1)
        if min(least) < 0:
            raise InputError(
                f"{shape}: size must be 1 or more, left and right 0 or more, encoder_look_back -1 or more"
            )
        if not self.supports_look_back and (shape.encoder_look_back or shape.decoder_look_back > 0):
            raise InputError(
                f"{shape}: these ONNX graphs do not look back, as upstream exports them. Export the model "
                "with funasr-export for graphs that do, use engine='torch', or set encoder_chunk_look_back=0 "
                "and decoder_chunk_look_back=0"
            )
        sizes = self.step_sizes
        width = sizes.width
        heads = sizes.encoder_heads, sizes.decoder_heads
        return ParaformerState(
            shape=shape,
            frames=0,
            window=self._zeros(shape.left + shape.right, sizes.input),
            encoder=self._zeros(sizes.encoder_layers * 2 * heads[0], 0, width // heads[0]),
            weight=0.0,
            token=self._array(np.zeros(width, dtype=np.float32), single=True),
            spoken=self._zeros(sizes.decoder_layers, sizes.remembered_tokens, width),
            heard=self._zeros(sizes.decoder_layers * 2 * heads[1], 0, width // heads[1]),
        )

    def step(self, chunks: Sequence[Chunk]) -> list[tuple[ChunkRow, ParaformerState]]:
        """One chunk of each of any streams -> what each says, and its next state.

        Streams of the same shape share one pass through the network, however old each is; a last chunk of
        other length than the rest has a pass of its own. After a final chunk the state is an initial one.
        Raises InputError for features that are not (rows, input) of as many rows as the shape wants.
        """
        groups: dict[tuple[ChunkShape, int], list[int]] = {}
        for index, chunk in enumerate(chunks):
            self._check(chunk)
            groups.setdefault((chunk.state.shape, len(chunk.features)), []).append(index)
        done: dict[int, tuple[ChunkRow, ParaformerState]] = {}
        for (shape, _), indices in groups.items():
            done.update(zip(indices, self._advance(shape, [chunks[i] for i in indices]), strict=True))
        return [done[index] for index in range(len(chunks))]

    def _check(self, chunk: Chunk) -> None:
        state, sizes = chunk.state, self.step_sizes
        if not isinstance(state, ParaformerState) or (
            len(state.encoder) != sizes.encoder_layers * 2 * sizes.encoder_heads
            or len(state.heard) != sizes.decoder_layers * 2 * sizes.decoder_heads
            or len(state.token) != sizes.width
        ):
            raise InputError(
                f"a chunk comes with the state of another network than this {type(self).__name__}: give what "
                "the step before gave, or initial_state(shape) at the beginning of a stream"
            )
        shape, found = state.shape, chunk.features.shape
        fits = len(found) == 2 and found[1] == sizes.input
        if not fits or found[0] > shape.size or (found[0] < shape.size and not chunk.final):
            raise InputError(
                f"a chunk of shape {found}: this stream takes ({shape.size}, {sizes.input}), and "
                "fewer rows only in its last chunk"
            )

    def _advance(self, shape: ChunkShape, chunks: Sequence[Chunk]) -> list[tuple[ChunkRow, ParaformerState]]:
        """Chunks of one shape and length."""
        states: list[ParaformerState] = [chunk.state for chunk in chunks]
        window = self._window(chunks, states)
        history = self._history([state.encoder for state in states])
        heard = self._encode(window, history)
        fired, tokens = self._fire(chunks, states, heard)
        said = self._say(states, fired, tokens, heard.memory)
        done = []
        for i, (chunk, state, one) in enumerate(zip(chunks, states, fired, strict=True)):
            answer = said.get(i)
            frames = state.frames + len(chunk.features)
            # The first weight is what was left over, the next are the window's frames, then comes the tail.
            ends = state.frames - len(state.window) - 1 + one.ends.astype(np.float64)
            row = ChunkRow(
                ids=answer.ids if answer else np.zeros(0, dtype=np.int64),
                confidences=answer.confidences if answer else np.zeros(0, dtype=np.float32),
                ends=ends.clip(0, frames).astype(np.float32),
            )
            if chunk.final:
                done.append((row, self.initial_state(shape)))
                continue
            left = tokens[i, len(one.ends)]
            after = ParaformerState(
                shape=shape,
                frames=frames,
                window=self._join([window[i, window.shape[1] - len(state.window) :]], 0),
                encoder=self._join(history.remember(i, heard.seen, _look_back(state), ahead=shape.right), 1),
                weight=one.rest,
                token=left / one.rest if one.rest else self._join([left], 0),
                spoken=answer.spoken if answer else state.spoken,
                heard=answer.heard if answer else state.heard,
            )
            done.append((row, after))
        return done

    def _window(self, chunks: Sequence[Chunk], states: Sequence[ParaformerState]) -> Array:
        """-> (B, T, input): what is remembered of the sound and what is new, scaled, with positions."""
        new = np.stack([chunk.features for chunk in chunks])
        starts = np.array([state.frames + 1.0 for state in states], dtype=np.float32)
        before = self._stack([self._array(state.window) for state in states], 0)
        window = self._join([before, self._enter(new, starts)], 1)
        # A last chunk of a shape that remembers no frames may have none at all, but layers want one.
        return window if window.shape[1] else self._zeros(len(window), 1, window.shape[2])

    def _history(self, pasts: Sequence[Array]) -> History:
        """(L * 2 H, up to N, D / H) of each stream -> one batch."""
        pasts = [self._array(past) for past in pasts]
        sizes = tuple(int(past.shape[1]) for past in pasts)
        longest = max(sizes)
        if len(pasts) == 1:
            return History(pasts[0][None], sizes)
        if min(sizes) == longest:
            return History(self._stack(pasts, 0), sizes)
        keys, _, width = pasts[0].shape
        room = self._zeros(len(pasts), keys, longest, width)
        for row, (past, size) in enumerate(zip(pasts, sizes, strict=True)):
            room[row, :, longest - size :] = past
        return History(room, sizes)

    def _fire(
        self, chunks: Sequence[Chunk], states: Sequence[ParaformerState], heard: Encoded
    ) -> tuple[list[Fired], Array]:
        """-> where each row fires, and (B, U + 1, D) float32 its tokens.

        The one behind a row's last token is what is left for the next.
        """
        shape = states[0].shape
        memory = self._array(heard.memory, single=True)
        size = memory.shape[1]
        known = shape.left if shape.left + shape.right + len(chunks[0].features) else size
        fired = []
        for chunk, state, row in zip(chunks, states, heard.weights, strict=True):
            decided = size if chunk.final else shape.left + shape.size
            weights = np.zeros(1 + decided + chunk.final, dtype=np.float32)
            weights[0] = state.weight
            weights[1 + known : 1 + decided] = row[known:decided]
            if chunk.final:
                weights[-1] = self.step_sizes.tail
            fired.append(fire(weights))
        shares = np.zeros((len(fired), max(len(one.shares) for one in fired), size + 2), dtype=np.float32)
        for i, one in enumerate(fired):
            shares[i, : one.shares.shape[0], : one.shares.shape[1]] = one.shares
        left = self._stack([self._array(state.token, single=True) for state in states], 0)[:, None]
        frames = self._join([left, memory, 0.0 * left], 1)
        return fired, self._array(shares, single=True) @ frames

    def _say(
        self,
        states: Sequence[ParaformerState],
        fired: Sequence[Fired],
        tokens: Array,
        memory: Array,
    ) -> dict[int, _Said]:
        """What the rows say in which tokens fired. As upstream: for the others the decoder has not looked."""
        rows = [i for i, one in enumerate(fired) if len(one.ends)]
        if not rows:
            return {}
        counts = [len(fired[i].ends) for i in rows]
        every = len(rows) == len(fired)
        history = self._history([states[i].heard for i in rows])
        spoken = self._stack([self._array(states[i].spoken) for i in rows], 1)
        embeds = (tokens if every else tokens[rows])[:, : max(counts)]
        found = self._decode(embeds, counts, memory if every else memory[rows], spoken, history)
        shape = states[0].shape
        limit = shape.size * max(shape.decoder_look_back, 0)  # as upstream: -1 is none here
        return {
            row: _Said(
                ids=found.ids[i],
                confidences=found.confidences[i],
                spoken=self._join([found.spoken[:, i]], 0),
                heard=self._join(history.remember(i, found.seen, limit), 1),
            )
            for i, row in enumerate(rows)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What a row's tokens are, and what its decoder remembers then."""

    ids: NDArray[np.int64]
    confidences: NDArray[np.float32]
    spoken: Array
    heard: Array


def _look_back(state: ParaformerState) -> int:
    """Frames that the encoder remembers after a chunk; below 0 all of them."""
    # As upstream: the frames left of a stream's first chunk are remembered beyond that.
    if state.frames == 0 and state.shape.encoder_look_back:
        return -1
    return state.shape.size * state.shape.encoder_look_back
