"""FsmnVad: features -> probability of silence, frame by frame, with memory. Official checkpoint names.

B batch, T frames, D feature size, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from funasr.arrays import Features
from funasr.models.fsmn_vad.config import FsmnVadConfig
from funasr.nn.fsmn import FsmnEncoder, FsmnState

# Activations of this many frames stay in the cache; longer input is a stream of blocks.
BLOCK_FRAMES = 1000


class FsmnVad(nn.Module):
    """The network of `model: FsmnVADStreaming`; a `FrameScorer`."""

    Config = FsmnVadConfig

    def __init__(self, config: FsmnVadConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = FsmnEncoder(config.encoder)

    @classmethod
    def from_official(cls, raw: Mapping[str, Any], vocab_size: int = 0, input_size: int = 0) -> FsmnVad:
        return cls(FsmnVadConfig.from_official(raw, vocab_size, input_size))

    def forward(self, features: Tensor, state: FsmnState) -> tuple[Tensor, FsmnState]:
        """features (B, T, D) -> logits (B, T, C), and the next state."""
        logits, state = self.encoder(features, state)
        return logits, state

    def initial_state(self, batch: int = 1) -> FsmnState:
        """The memory of `batch` streams that have heard nothing."""
        return FsmnState.initial(self.config.encoder, batch, like=self._example())

    def score(self, features: Features, state: FsmnState) -> tuple[NDArray[np.float32], FsmnState]:
        """features (B, T, D) -> probability of silence (B, T), and the next state."""
        example = self._example()
        scores = np.empty(features.shape[:2], dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, features.shape[1], BLOCK_FRAMES):
                block = slice(start, start + BLOCK_FRAMES)
                # A copy where the array is read-only, which torch does not take.
                chunk = np.require(features[:, block], np.float32, ["C", "W"])
                logits, state = self(torch.from_numpy(chunk).to(example), state)
                scores[:, block] = self.silence(logits).float().cpu().numpy()
            # Copies: views would keep all of the block's activations alive.
            state = FsmnState(tuple(past.clone() for past in state.pasts))
        return scores, state

    def silence(self, logits: Tensor) -> Tensor:
        """logits (B, T, C) -> probability of silence (B, T)."""
        # One column of the softmax is wanted, not all of it.
        ids = list(self.config.sil_pdf_ids)
        total = logits.logsumexp(-1)
        if len(ids) == 1:
            return (logits[..., ids[0]] - total).exp()
        return (logits[..., ids].logsumexp(-1) - total).exp()

    def _example(self) -> Tensor:
        """Any weight, for its device and dtype."""
        return self.encoder.fsmn[0].fsmn_block.conv_left.weight  # type: ignore[union-attr,return-value]
