"""ParaformerStreaming: Paraformer that hears a chunk at a time and decides each token once and for all.

How a stream walks is stages/stepping.py; here is what torch computes in it.
B streams, T frames of a window, N remembered frames, U tokens, D width, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from funasr.arrays import Features
from funasr.errors import ModelFilesError
from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.paraformer.network import Paraformer, best
from funasr.nn.layers import frame_mask
from funasr.nn.sanm import hide
from funasr.stages.protocols import Chunk, ChunkRow
from funasr.stages.stepping import Decoded, Encoded, History, ParaformerState, ParaformerSteps, StepSizes


class ParaformerStreaming(Paraformer, ParaformerSteps):
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

    @property
    def step_sizes(self) -> StepSizes:
        encoder, decoder = self.config.encoder, self.config.decoder
        return StepSizes(
            input=self.config.input_size,
            width=encoder.output_size,
            encoder_layers=encoder.num_blocks,
            decoder_layers=decoder.att_layer_num,
            encoder_heads=encoder.attention_heads,
            decoder_heads=decoder.attention_heads,
            remembered_tokens=decoder.kernel_size - 1,
            tail=self.config.predictor.tail_threshold,
        )

    @torch.inference_mode()
    def step(self, chunks: Sequence[Chunk]) -> list[tuple[ChunkRow, ParaformerState]]:
        return super().step(chunks)

    def _zeros(self, *shape: int) -> Tensor:
        return self.encoder.after_norm.weight.new_zeros(shape)

    def _array(self, values: Any, *, single: bool = False) -> Tensor:
        dtype = torch.float32 if single else self.encoder.after_norm.weight.dtype
        return torch.as_tensor(values, dtype=dtype, device=self.device)

    def _join(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(tuple(arrays), dim=axis)

    def _stack(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        return torch.stack(tuple(arrays), dim=axis)

    def _enter(self, features: Features, starts: NDArray[np.float32]) -> Tensor:
        new = torch.from_numpy(features).to(self.device)
        return self.encoder.enter(new, torch.from_numpy(starts).to(self.device))

    def _encode(self, window: Tensor, history: History) -> Encoded:
        memory, seen = self.encoder.step(window, history.past, self._hidden(history, window))
        wide = memory.float()
        lengths = torch.full((len(wide),), wide.shape[1], device=self.device)
        return Encoded(memory, self.predictor.weights(wide, lengths).cpu().numpy(), seen)

    def _decode(
        self, embeds: Tensor, counts: Sequence[int], memory: Tensor, spoken: Tensor, history: History
    ) -> Decoded:
        sizes = torch.tensor(counts, device=self.device)
        hidden, after, seen = self.decoder.step(
            embeds.to(memory.dtype),
            spoken.unbind(),
            sizes,
            memory,
            history.past,
            self._hidden(history, memory),
        )
        ids, confidences = best(self.decoder.logits(hidden[frame_mask(sizes, embeds.shape[1])]))
        cuts = np.cumsum(counts)[:-1]
        return Decoded(
            np.split(ids.cpu().numpy(), cuts),
            np.split(confidences.cpu().numpy(), cuts),
            torch.stack(after),
            seen,
        )

    def _hidden(self, history: History, window: Tensor) -> Tensor | None:
        """(B, 1, 1, N + T) where rows remember less than others; None where all remember as much."""
        past, size = history.past.shape[2], window.shape[1]
        if min(history.sizes) == past:
            return None
        sizes = torch.tensor(history.sizes, device=self.device)
        return hide(sizes, past, torch.full_like(sizes, size), size).to(window.dtype)
