"""SpecAugment for stacked (low frame rate) features: bands of frequency and stretches of time become 0."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SpecAugLfrConfig:
    """`specaug_conf` of the official config.yaml, same field names. Ranges exclude their upper end."""

    apply_freq_mask: bool = True
    freq_mask_width_range: tuple[int, int] = (0, 20)
    num_freq_mask: int = 2
    lfr_rate: int = 6
    """Each feature frame is `lfr_rate + 1` fbank frames side by side (official meaning of the name)."""
    apply_time_mask: bool = True
    time_mask_width_range: tuple[int, int] = (0, 100)
    time_mask_width_ratio_range: tuple[float, float] | None = None
    num_time_mask: int = 2


UNUSED_SPECAUG_KEYS = frozenset({"apply_time_warp", "time_warp_window", "time_warp_mode"})


def spec_augment(features: Tensor, config: SpecAugLfrConfig) -> Tensor:
    """features (B, T, D) -> a masked copy. Random numbers come from torch's default generator."""
    batch, frames, depth = features.shape
    if config.apply_freq_mask:
        stacked = config.lfr_rate + 1
        low, high = config.freq_mask_width_range
        hidden = _stripes(batch, depth // stacked, config.num_freq_mask, low, high, features.device)
        features = features * (~hidden).to(features.dtype).repeat(1, stacked)[:, None, :]
    if config.apply_time_mask:
        low, high = config.time_mask_width_range
        if config.time_mask_width_ratio_range is not None:
            low, high = (int(frames * ratio) for ratio in config.time_mask_width_ratio_range)
        hidden = _stripes(batch, frames, config.num_time_mask, low, high, features.device)
        features = features * (~hidden).to(features.dtype)[:, :, None]
    return features


def _stripes(batch: int, size: int, count: int, low: int, high: int, device: torch.device) -> Tensor:
    """(batch, size) bool, True inside one of `count` random stripes a row, each low..high - 1 wide.

    As upstream: where a stripe may start depends on the widest of the batch.
    """
    if high <= low or count == 0:
        return torch.zeros(batch, size, dtype=torch.bool, device=device)
    widths = torch.randint(low, high, (batch, count, 1), device=device)
    starts = torch.randint(0, max(1, size - int(widths.max())), (batch, count, 1), device=device)
    places = torch.arange(size, device=device)
    return ((places >= starts) & (places < starts + widths)).any(dim=1)
