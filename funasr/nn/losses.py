"""Training losses. B batch, U tokens, V vocabulary."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def label_smoothing_loss(
    logits: Tensor, targets: Tensor, *, smoothing: float, ignore_id: int = -1, normalize_length: bool = True
) -> Tensor:
    """KL divergence from smoothed targets: 1 - e on the label, e / (V - 1) on each other entry.

    logits (B, U, V), targets (B, U) with `ignore_id` where there is none -> the sum over targets, divided by
    their number (or by B). As upstream it holds the entropy of the smoothed target too, so that a perfect
    model reaches 0.
    """
    logp = logits.float().log_softmax(dim=-1)
    valid = targets != ignore_id
    on_label = logp.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    others = smoothing / max(logits.shape[-1] - 1, 1)
    entropy = (1 - smoothing) * _log(1 - smoothing) + (logits.shape[-1] - 1) * others * _log(others)
    loss = entropy - (1 - smoothing - others) * on_label - others * logp.sum(dim=-1)
    total = (loss * valid).sum()
    return total / (valid.sum().clamp(min=1) if normalize_length else targets.shape[0])


def _log(p: float) -> float:
    """ln p; 0 for p = 0, where it is multiplied by 0."""
    return math.log(p) if p > 0 else 0.0


def quantity_loss(predicted: Tensor, lengths: Tensor, *, normalize_length: bool = True) -> Tensor:
    """|predicted token count - true length|, summed, over the sum of lengths (or over B). Both (B,)."""
    total = (predicted - lengths).abs().sum()
    return total / (lengths.sum().clamp(min=1) if normalize_length else lengths.shape[0])


@torch.no_grad()
def accuracy(logits: Tensor, targets: Tensor, ignore_id: int = -1) -> Tensor:
    """Share of targets whose logit is the largest. logits (B, U, V), targets (B, U)."""
    return share_right(logits.argmax(dim=-1), targets, ignore_id)


def share_right(chosen: Tensor, targets: Tensor, ignore_id: int = -1) -> Tensor:
    """Share of targets that were chosen. Both (B, U)."""
    valid = targets != ignore_id
    return ((chosen == targets) & valid).sum() / valid.sum().clamp(min=1)
