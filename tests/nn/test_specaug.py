"""Masks of the stacked features."""

from __future__ import annotations

import torch

from funasr.nn.specaug import SpecAugLfrConfig, spec_augment

OFFICIAL = SpecAugLfrConfig(
    freq_mask_width_range=(0, 30),
    num_freq_mask=1,
    lfr_rate=6,
    time_mask_width_range=(0, 12),
    num_time_mask=1,
)


def test_a_band_is_hidden_in_each_of_the_seven_stacked_frames() -> None:
    torch.manual_seed(3)
    features = torch.ones(4, 20, 560)
    config = SpecAugLfrConfig(freq_mask_width_range=(5, 6), num_freq_mask=1, apply_time_mask=False)

    masked = spec_augment(features, config)

    stacked = masked.view(4, 20, 7, 80)
    assert (stacked == stacked[:, :1, :1]).all()
    assert (stacked[:, 0, 0] == 0).sum(dim=1).tolist() == [5, 5, 5, 5]


def test_whole_frames_are_hidden_in_time() -> None:
    torch.manual_seed(3)
    config = SpecAugLfrConfig(apply_freq_mask=False, time_mask_width_range=(4, 5), num_time_mask=1)

    masked = spec_augment(torch.ones(4, 20, 560), config)

    assert (masked == masked[:, :, :1]).all()
    assert (masked[:, :, 0] == 0).sum(dim=1).tolist() == [4, 4, 4, 4]


def test_the_input_is_left_alone_and_the_same_seed_masks_the_same() -> None:
    features = torch.ones(2, 30, 560)
    torch.manual_seed(1)
    first = spec_augment(features, OFFICIAL)
    torch.manual_seed(1)
    second = spec_augment(features, OFFICIAL)

    assert (features == 1).all()
    assert torch.equal(first, second)
    assert 0 < (first == 0).float().mean() < 0.7


def test_widths_can_be_a_share_of_the_length() -> None:
    torch.manual_seed(0)
    config = SpecAugLfrConfig(apply_freq_mask=False, time_mask_width_ratio_range=(0.1, 0.11), num_time_mask=1)

    masked = spec_augment(torch.ones(1, 100, 560), config)

    assert (masked[0, :, 0] == 0).sum() == 10


def test_clips_shorter_than_the_widest_mask_are_no_problem() -> None:
    assert spec_augment(torch.ones(3, 1, 560), OFFICIAL).shape == (3, 1, 560)
