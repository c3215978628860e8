"""Training a streaming encoder: whole utterances -> blocks that hear what a stream hears, all in one pass.

The frames of an utterance are written down block after block, with rows of zeros between the blocks so that
the convolutions of one cannot reach the next; attention masks do the rest. The ordinary layers run over that.

B batch, T frames, N rows of the layout, D width, U tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from funasr.errors import ModelFilesError
from funasr.nn.layers import Padding, frame_mask
from funasr.nn.sanm import SanmEncoder
from funasr.stages.protocols import ChunkShape

_LISTS = (
    "chunk_size",
    "stride",
    "pad_left",
    "encoder_att_look_back_factor",
    "decoder_att_look_back_factor",
)


@dataclass(frozen=True, kw_only=True)
class ChunkRecipe:
    """One column of the lists in the official `encoder_conf`: how a batch is cut into blocks. In frames."""

    size: int
    """`chunk_size`: frames in a block."""
    stride: int
    """Frames from one block to the next."""
    pad_left: int = 0
    """Frames of a block that lie before its own ones."""
    encoder_look_back: int = 0
    """`encoder_att_look_back_factor`: blocks before its own that a frame hears."""
    decoder_look_back: int = 0
    """`decoder_att_look_back_factor`: blocks before its own that a token hears."""

    def __post_init__(self) -> None:
        if not 0 < self.stride <= self.size - self.pad_left or self.pad_left < 0:
            raise ModelFilesError(
                f"encoder_conf: blocks of chunk_size {self.size} with stride {self.stride} and pad_left "
                f"{self.pad_left}; pad_left + stride must fit into chunk_size"
            )

    @classmethod
    def from_official(cls, encoder_conf: Mapping[str, Any]) -> tuple[ChunkRecipe, ...]:
        """All columns. Raises ModelFilesError where the lists are missing or differ in length."""
        lists = {name: encoder_conf.get(name) for name in _LISTS}
        columns = {
            name: [some] if isinstance(some, int) else list(some or ()) for name, some in lists.items()
        }
        if len({len(some) for some in columns.values()}) != 1 or not columns["stride"]:
            raise ModelFilesError(
                f"encoder_conf: {lists}; chunk training needs all of {', '.join(_LISTS)}, equally long"
            )
        return tuple(
            cls(size=size, stride=stride, pad_left=pad, encoder_look_back=ears, decoder_look_back=eyes)
            for size, stride, pad, ears, eyes in zip(*columns.values(), strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkLayout:
    """Where each frame of a batch is written, and who hears whom. Made by `trained` or `streamed`."""

    frames: Tensor
    """(B, N) the frame in each row; -1 for a row of zeros."""
    real: Tensor
    """(B, N) False between the blocks and behind the last."""
    hears: Tensor
    """(B, N, N) [b, i, j]: does row i hear row j. Rows that are not real hear themselves."""
    own: Tensor
    """(B, T) the row in which each frame is counted, with what precedes the first (`lead`)."""
    counted: Tensor
    """(B, T) False behind the end."""
    lead: int
    """Rows of zeros that are counted before frame 0."""
    stride: int
    block: Tensor
    """(N,) the block of each row."""
    place: Tensor
    """(N,) its place there; negative between blocks."""
    blocks: Tensor
    """(B,) how many."""
    history: tuple[int, int]
    """First and last + 1 place of a block that later tokens hear."""
    decoder_look_back: int
    remembers: bool
    """Tokens hear the blocks of the tokens before them (a stream), not the blocks before theirs."""

    @classmethod
    def trained(cls, lengths: Tensor, recipe: ChunkRecipe, kernel_size: int) -> ChunkLayout:
        """As upstream trains: what is ahead of a block's own frames hears no history.

        lengths (B,) >= 1; kernel_size of the encoder's convolutions. A block that reaches past the end of its
        utterance is filled with zeros, except for the last one, which stops there.
        """
        size, stride, pad = recipe.size, recipe.stride, recipe.pad_left
        gap = (kernel_size - 1) // 2
        blocks = (lengths + stride - 1) // stride
        rows = (blocks - 1) * (size + gap) + gap + pad + lengths - (blocks - 1) * stride
        block, place = _rows(int(rows.max()), size, gap, lengths.device)
        real = frame_mask(rows, len(block)) & (place >= 0)
        frames = block * stride - pad + place
        written = real & (frames >= 0) & (frames < lengths[:, None])
        frames = torch.where(written, frames, -1)
        ago = block[:, None] - block[None, :]
        history = (ago > 0) & (ago <= recipe.encoder_look_back) & (place < stride) & (place < stride)[:, None]
        steps = torch.arange(int(lengths.max()), device=lengths.device)
        own = (steps // stride) * (size + gap) + gap + pad + steps % stride
        return cls(
            frames=frames,
            real=real,
            hears=_heard((ago == 0) | history, real),
            own=own.expand(len(lengths), -1).clamp(max=len(block) - 1),
            counted=frame_mask(lengths, len(steps)),
            lead=0,
            stride=stride,
            block=block,
            place=place,
            blocks=blocks,
            history=(pad, pad + stride),
            decoder_look_back=recipe.decoder_look_back,
            remembers=False,
        )

    @classmethod
    def streamed(cls, lengths: Tensor, shape: ChunkShape, kernel_size: int) -> ChunkLayout:
        """Exactly what a stream of that shape hears, chunk by chunk, of utterances of (B,) frames.

        The first chunk begins with `right` rows of zeros, which are counted too; the last one is what is
        left, looked ahead at or new.
        """
        fits = shape.decoder_look_back * shape.size <= shape.size + shape.right
        if shape.left or shape.encoder_look_back < 0 or not fits:
            raise ModelFilesError(
                f"{shape}: the layout is for left = 0, a bounded encoder_look_back and a "
                "decoder_look_back that fits into one window"
            )
        size, ahead = shape.size, shape.right
        gap = (kernel_size - 1) // 2
        blocks = lengths // size + 1
        total = lengths + ahead
        width = int(blocks.max()) * (size + ahead + gap)
        block, place = _rows(width, size + ahead, gap, lengths.device)
        frames = block * size + place
        real = (place >= 0) & (frames < total[:, None]) & (block < blocks[:, None])
        ago = block[:, None] - block[None, :]
        history = (ago > 0) & (ago <= shape.encoder_look_back) & (place < size)
        steps = torch.arange(int(total.max()), device=lengths.device)
        at = torch.minimum(steps // size, blocks[:, None] - 1)
        own = at * (size + ahead + gap) + gap + steps - at * size
        return cls(
            frames=torch.where(real & (frames >= ahead), frames - ahead, -1),
            real=real,
            hears=_heard((ago == 0) | history, real),
            own=own.clamp(max=width - 1),
            counted=frame_mask(total, len(steps)),
            lead=ahead,
            stride=size,
            block=block,
            place=place,
            blocks=blocks,
            # Of a whole window of size + ahead rows, the last `look_back * size`.
            history=(max(0, size + ahead - size * shape.decoder_look_back), size + ahead),
            decoder_look_back=shape.decoder_look_back,
            remembers=True,
        )

    def spread(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, N, D), zeros where no frame stands."""
        at = self.frames.masked_fill(self.frames < 0, x.shape[1])
        return F.pad(x, (0, 0, 0, 1)).gather(1, at[:, :, None].expand(-1, -1, x.shape[2]))

    def collect(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, T, D): the rows that count, in order; zero behind the end."""
        return x.gather(1, self.own[:, :, None].expand(-1, -1, x.shape[2])) * self.counted[:, :, None]

    def rows(self, dtype: torch.dtype) -> Padding:
        """For encoder layers."""
        return Padding(self.real[:, :, None].to(dtype), _additive(self.hears, dtype))

    def for_tokens(self, fired: Tensor, dtype: torch.dtype) -> Padding:
        """For decoder layers: the rows each token hears. fired (B, U): the counted frame it fired in."""
        of_token = torch.minimum(fired // self.stride, self.blocks[:, None] - 1)  # (B, U)
        own = self.block == of_token[:, :, None]
        first, behind = self.history
        older = (self.place >= first) & (self.place < behind)
        if self.remembers:
            # A decoder remembers nothing of chunks in which no token fired.
            fell = F.pad(of_token, (1, 0), value=-1)
            fresh = fell[:, 1:] > fell[:, :-1]
            before = torch.where(fresh, fell[:, :-1], -1).cummax(dim=1).values
            past = (self.block == before[:, :, None]) & bool(self.decoder_look_back)
        else:
            ago = of_token[:, :, None] - self.block
            past = (ago > 0) & (ago <= self.decoder_look_back)
        seen = (own | (past & older)) & self.real[:, None, :]
        return Padding(self.real[:, :, None].to(dtype), _additive(seen, dtype))


def encode(encoder: SanmEncoder, features: Tensor, layout: ChunkLayout, start: int = 1) -> Tensor:
    """features (B, T, input) -> (B, N, D), zero where `layout` has no rows. `start`: position of frame 0."""
    x = layout.spread(encoder.enter(features, start))
    rows = layout.rows(x.dtype)
    for layer in (*encoder.encoders0, *encoder.encoders):
        x = layer(x, rows)
    out: Tensor = encoder.after_norm(x) * rows.frames
    return out


def _rows(count: int, size: int, gap: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows 0..count -> the block of each, and its place in it: -gap..-1 are the zeros before the block."""
    rows = torch.arange(count, device=device)
    return rows // (size + gap), rows % (size + gap) - gap


def _heard(allowed: Tensor, real: Tensor) -> Tensor:
    """allowed (N, N), real (B, N) -> (B, N, N). Every row hears something, or its softmax has no sum."""
    seen = allowed & real[:, None, :] & real[:, :, None]
    return seen | torch.eye(real.shape[1], dtype=torch.bool, device=real.device)


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, Q, N) bool -> (B, 1, Q, N): 0 where heard, -inf elsewhere."""
    out = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return out.masked_fill(~seen, float("-inf"))[:, None]
