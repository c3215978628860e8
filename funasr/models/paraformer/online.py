"""ParaformerStreaming: Paraformer that hears a chunk at a time and decides each token once and for all.

A chunk's window is what it remembers of the sound (left + right frames of its shape) and its new frames:

    [ left: encoded again | new ones and look-ahead of the chunk before: decided now | right: look-ahead ]

B streams, T frames of a window, N remembered frames, U tokens, D width, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from funasr.errors import InputError, ModelFilesError
from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.paraformer.network import Paraformer, best
from funasr.models.paraformer.online_state import ParaformerState, Pasts
from funasr.nn.cif import Fired, fire
from funasr.nn.layers import frame_mask
from funasr.stages.protocols import Chunk, ChunkRow, ChunkShape


@dataclass(frozen=True, slots=True)
class Said:
    """What a row's tokens are, and what its decoder remembers then."""

    ids: NDArray[np.int64]
    confidences: NDArray[np.float32]
    spoken: Tensor
    heard: Tensor


class ParaformerStreaming(Paraformer):
    """The network of `model: ParaformerStreaming`; a `StreamingAcousticNetwork`.

    `infer` hears a whole utterance at once, each frame all others, which is not how it was trained.
    """

    def __init__(self, config: ParaformerConfig) -> None:
        super().__init__(config)
        extra = config.decoder.num_blocks - config.decoder.att_layer_num
        if extra > 0:
            raise ModelFilesError(
                f"decoder_conf has {extra} layers without cross attention (num_blocks "
                f"{config.decoder.num_blocks}, att_layer_num {config.decoder.att_layer_num}): they look "
                "ahead, and a stream cannot. A ParaformerStreaming has as many of one as of the other"
            )

    def initial_state(self, shape: ChunkShape) -> ParaformerState:
        """The memory of a stream that has heard nothing. Raises InputError for a shape that is none."""
        sizes = (shape.left, shape.right, shape.size - 1, shape.encoder_look_back + 1)
        if min(sizes) < 0:
            raise InputError(
                f"{shape}: size must be 1 or more, left and right 0 or more, encoder_look_back -1 or more"
            )
        like = self.encoder.after_norm.weight
        width, decoder = like.shape[0], self.config.decoder
        layers = self.config.encoder.num_blocks
        zeros = like.new_zeros
        return ParaformerState(
            shape=shape,
            frames=0,
            window=zeros(shape.left + shape.right, self.config.input_size),
            encoder=zeros(layers, 2, 0, width),
            weight=0.0,
            token=zeros(width, dtype=torch.float32),
            spoken=zeros(decoder.att_layer_num, decoder.kernel_size - 1, width),
            heard=zeros(decoder.att_layer_num, 2, 0, width),
        )

    @torch.inference_mode()
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
        state, like = chunk.state, self.encoder.after_norm.weight
        sizes = (self.config.encoder.num_blocks, self.config.decoder.att_layer_num, like.shape[0], like.dtype)
        if not isinstance(state, ParaformerState) or sizes != (
            len(state.encoder),
            len(state.heard),
            len(state.token),
            state.heard.dtype,
        ):
            raise InputError(
                f"a chunk comes with the state of another network than this {type(self).__name__}: give what "
                "the step before gave, or initial_state(shape) at the beginning of a stream"
            )
        shape, found = state.shape, chunk.features.shape
        fits = len(found) == 2 and found[1] == self.config.input_size
        if not fits or found[0] > shape.size or (found[0] < shape.size and not chunk.final):
            raise InputError(
                f"a chunk of shape {found}: this stream takes ({shape.size}, {self.config.input_size}), and "
                "fewer rows only in its last chunk"
            )

    def _advance(self, shape: ChunkShape, chunks: Sequence[Chunk]) -> list[tuple[ChunkRow, ParaformerState]]:
        """Chunks of one shape and length."""
        states: list[ParaformerState] = [chunk.state.to(self.device) for chunk in chunks]
        window = self._window(chunks, states)
        past = Pasts.gather([state.encoder for state in states], window.shape[1])
        memory = self.encoder.step(window, past.room, past.hidden)
        fired, tokens = self._fire(chunks, states, memory)
        said = self._say(states, fired, tokens, memory)
        done = []
        for i, (chunk, state, one) in enumerate(zip(chunks, states, fired, strict=True)):
            answer = said.get(i)
            heard = state.frames + len(chunk.features)
            # The first weight is what was left over, the next are the window's frames, then comes the tail.
            ends = state.frames - len(state.window) - 1 + one.ends.astype(np.float64)
            row = ChunkRow(
                ids=answer.ids if answer else np.zeros(0, dtype=np.int64),
                confidences=answer.confidences if answer else np.zeros(0, dtype=np.float32),
                ends=ends.clip(0, heard).astype(np.float32),
            )
            if chunk.final:
                done.append((row, self.initial_state(shape)))
                continue
            left = tokens[i, len(one.ends)]
            after = ParaformerState(
                shape=shape,
                frames=heard,
                window=window[i, window.shape[1] - len(state.window) :].clone(),
                encoder=past.remember(i, _look_back(state), ahead=shape.right),
                weight=one.rest,
                token=left / one.rest if one.rest else left.clone(),
                spoken=answer.spoken if answer else state.spoken,
                heard=answer.heard if answer else state.heard,
            )
            done.append((row, after))
        return done

    def _window(self, chunks: Sequence[Chunk], states: Sequence[ParaformerState]) -> Tensor:
        """-> (B, T, input): what is remembered of the sound and what is new, scaled, with positions."""
        new = torch.from_numpy(np.stack([chunk.features for chunk in chunks])).to(self.device)
        starts = torch.tensor([state.frames + 1.0 for state in states], device=self.device)
        window = torch.cat([torch.stack([s.window for s in states]), self.encoder.enter(new, starts)], dim=1)
        # A last chunk of a shape that remembers no frames may have none at all, but layers want one.
        return window if window.shape[1] else torch.nn.functional.pad(window, (0, 0, 0, 1))

    def _fire(
        self, chunks: Sequence[Chunk], states: Sequence[ParaformerState], memory: Tensor
    ) -> tuple[list[Fired], Tensor]:
        """memory (B, T, D) -> where each row fires, and (B, U + 1, D) its tokens.

        The one behind a row's last token is what is left for the next.
        """
        shape = states[0].shape
        memory = memory.float()
        size = memory.shape[1]
        weights = self.predictor.weights(memory, torch.full((len(memory),), size, device=self.device))
        known = shape.left if shape.left + shape.right + len(chunks[0].features) else size
        weights[:, :known] = 0.0
        fired = []
        for chunk, state, row in zip(chunks, states, weights.cpu().numpy(), strict=True):
            decided = size if chunk.final else shape.left + shape.size
            tail = [self.config.predictor.tail_threshold] if chunk.final else []
            fired.append(fire(np.array([state.weight, *row[:decided], *tail], dtype=np.float32)))
        shares = np.zeros((len(fired), max(len(one.shares) for one in fired), size + 2), dtype=np.float32)
        for i, one in enumerate(fired):
            shares[i, : one.shares.shape[0], : one.shares.shape[1]] = one.shares
        left = torch.stack([state.token for state in states])[:, None]
        frames = torch.cat([left, memory, torch.zeros_like(left)], dim=1)
        return fired, torch.from_numpy(shares).to(self.device) @ frames

    def _say(
        self,
        states: Sequence[ParaformerState],
        fired: Sequence[Fired],
        tokens: Tensor,
        memory: Tensor,
    ) -> dict[int, Said]:
        """What the rows say in which tokens fired. As upstream: for the others the decoder has not looked."""
        rows = [i for i, one in enumerate(fired) if len(one.ends)]
        if not rows:
            return {}
        sizes = [len(fired[i].ends) for i in rows]
        counts = torch.tensor(sizes, device=self.device)
        past = Pasts.gather([states[i].heard for i in rows], memory.shape[1])
        embeds = tokens[rows, : max(sizes)].to(memory.dtype)
        spoken = torch.stack([states[i].spoken for i in rows], dim=1)
        hidden, spoken = self.decoder.step(embeds, spoken, counts, memory[rows], past.room, past.hidden)
        ids, confidences = best(self.decoder.logits(hidden[frame_mask(counts, max(sizes))]))
        shape = states[0].shape
        limit = shape.size * max(shape.decoder_look_back, 0)  # as upstream: -1 is none here
        cuts = np.cumsum(sizes)[:-1]
        return {
            row: Said(some_ids, some_confidences, spoken[:, i].clone(), past.remember(i, limit))
            for i, (row, some_ids, some_confidences) in enumerate(
                zip(
                    rows,
                    np.split(ids.cpu().numpy(), cuts),
                    np.split(confidences.cpu().numpy(), cuts),
                    strict=True,
                )
            )
        }


def _look_back(state: ParaformerState) -> int:
    """Frames that the encoder remembers after a chunk; below 0 all of them."""
    # As upstream: the frames left of a stream's first chunk are remembered beyond that.
    if state.frames == 0 and state.shape.encoder_look_back:
        return -1
    return state.shape.size * state.shape.encoder_look_back
