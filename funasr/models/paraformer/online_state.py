"""What a stream of ParaformerStreaming remembers between chunks, and several of them as one batch.

B streams, L layers, N remembered frames, K taps of the decoder's convolution, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from funasr.stages.protocols import ChunkShape

TENSORS = ("window", "encoder", "token", "spoken", "heard")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ParaformerState:
    """The memory of one stream. Bounded by its shape, except where `encoder_look_back` is -1.

    Every tensor is its own: none keeps a batch or an older state alive. A state can be pickled on one device
    and go on on another.
    """

    shape: ChunkShape
    frames: int
    """Feature frames heard so far."""
    window: Tensor
    """(left + right, input) the last frames, scaled and with their positions; zeros before the stream."""
    encoder: Tensor
    """(L, 2, N, D) keys and values of the chunks before the window."""
    weight: float
    """What the frames since the last token weigh, 0..1."""
    token: Tensor
    """(D,) float32 mean of these frames, as they weigh."""
    spoken: Tensor
    """(L, K - 1, D) what the decoder's convolutions last saw: one entry a token, zeros before the first."""
    heard: Tensor
    """(L, 2, N, D) keys and values of the frames that the decoder last looked at."""

    @property
    def nbytes(self) -> int:
        return sum(getattr(self, name).nbytes for name in TENSORS)

    def to(self, device: torch.device) -> ParaformerState:
        """The same state there; itself where it is there."""
        if self.window.device == device:
            return self
        return replace(self, **{name: getattr(self, name).to(device) for name in TENSORS})

    def __reduce__(self) -> tuple[Any, ...]:
        at_home = self.to(torch.device("cpu"))
        return _rebuilt, ({field.name: getattr(at_home, field.name) for field in fields(self)},)


def _rebuilt(values: dict[str, Any]) -> ParaformerState:
    return ParaformerState(**values)


@dataclass(frozen=True, slots=True)
class Pasts:
    """Keys and values of several streams, with room for those of the window that comes."""

    room: Tensor
    """(L, 2, B, N + T, D) the N end where the window begins; its T are not written yet."""
    sizes: tuple[int, ...]
    """(B,) frames that each row remembers, N at most."""
    window: int
    """T."""
    hidden: Tensor | None
    """(B, 1, 1, N + T) -inf where a row has no history yet; None where all have N frames of it."""

    @classmethod
    def gather(cls, pasts: Sequence[Tensor], window: int) -> Pasts:
        """(L, 2, up to N, D) of each stream -> one batch."""
        first = pasts[0]
        layers, _, _, width = first.shape
        sizes = tuple(past.shape[2] for past in pasts)
        longest = max(sizes)
        room = first.new_empty(layers, 2, len(pasts), longest + window, width)
        hidden = None
        if min(sizes) < longest:
            hidden = first.new_zeros(len(pasts), 1, 1, longest + window)
        for row, (past, size) in enumerate(zip(pasts, sizes, strict=True)):
            room[:, :, row, longest - size : longest] = past
            if hidden is not None:
                room[:, :, row, : longest - size] = 0.0
                hidden[row, ..., : longest - size] = -math.inf
        return cls(room, sizes, window, hidden)

    def remember(self, row: int, limit: int, ahead: int = 0) -> Tensor:
        """A row's next history (L, 2, up to `limit`, D): its last frames but `ahead`. Below 0 is no limit."""
        size = self.sizes[row]
        stop = self.room.shape[3] - ahead
        start = self.room.shape[3] - self.window - size
        if limit >= 0:
            start = max(start, stop - limit)
        return self.room[:, :, row, start:stop].clone()
