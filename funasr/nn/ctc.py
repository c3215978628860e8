"""Connectionist temporal classification: the head, and its loss.

B batch, T frames, U tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CtcHead(nn.Module):
    """Frames -> a score for each vocabulary id, one level down, where the checkpoint has it."""

    def __init__(self, size: int, vocab_size: int) -> None:
        super().__init__()
        self.ctc_lo = nn.Linear(size, vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        scores: Tensor = self.ctc_lo(hidden)
        return scores


def ctc_loss(
    logits: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor, blank: int = 0
) -> Tensor:
    """logits (B, T, V), lengths (B,), targets (B, U) ids, target_lengths (B,) -> the mean over utterances.

    Those that have too few frames for their text teach nothing and are not counted.
    """
    with torch.autocast(logits.device.type, enabled=False):
        scores = logits.float().log_softmax(dim=-1).transpose(0, 1)
        # Padding must be a valid id even where it is not read.
        ids = targets.clamp(min=0)
        each = F.ctc_loss(
            scores, ids, lengths, target_lengths, blank=blank, reduction="none", zero_infinity=True
        )
    places = torch.arange(1, ids.shape[1], device=ids.device)
    repeats = (ids[:, 1:] == ids[:, :-1]) & (places < target_lengths[:, None])
    possible = lengths >= target_lengths + repeats.sum(dim=1)
    return (each * possible).sum() / possible.sum().clamp(min=1)
