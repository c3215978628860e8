"""Positions, masks and the memory convolution: numbers a reader can check."""

from __future__ import annotations

import pytest
import torch

from funasr.nn.layers import Padding, encode_positions, frame_mask, sinusoids
from funasr.nn.sanm import FsmnBlock


def test_positions_start_at_one_and_sines_come_before_cosines() -> None:
    table = sinusoids(3, 560, torch.device("cpu"))

    assert table.shape == (3, 560)
    assert table[0, 0] == pytest.approx(0.841471, abs=1e-6)
    assert table[0, 1] == pytest.approx(0.823485, abs=1e-6)
    assert table[0, 279] == pytest.approx(1.0e-4, abs=1e-7)
    assert table[0, 280] == pytest.approx(0.540302, abs=1e-6)
    assert table[1, 1] == pytest.approx(0.934389, abs=1e-6)
    assert table[2, 281] == pytest.approx(-0.971572, abs=1e-6)


def test_positions_can_go_on_where_the_last_chunk_ended() -> None:
    device = torch.device("cpu")

    torch.testing.assert_close(sinusoids(4, 8, device, start=3), sinusoids(6, 8, device)[2:])


def test_masks_are_one_where_a_row_has_frames() -> None:
    padding = Padding.of(torch.tensor([3, 1]), 3)

    assert frame_mask(torch.tensor([3, 1]), 3).tolist() == [[True, True, True], [True, False, False]]
    assert padding.frames.squeeze(-1).tolist() == [[1, 1, 1], [1, 0, 0]]
    assert padding.keys.squeeze().tolist() == [[0, 0, 0], [0, float("-inf"), float("-inf")]]


def test_memory_is_a_weighted_sum_of_neighbours_plus_the_frame_itself() -> None:
    block = FsmnBlock(1, 3, 0)
    block.weight.data = torch.tensor([[[10.0, 1.0, 100.0]]])
    x = torch.tensor([[[1.0], [2.0], [3.0]]])

    memory = block.remember(x, None)

    # Frame 1: 10 * 1 + 1 * 2 + 100 * 3, and 2 for itself.
    assert memory.flatten().tolist() == [1 + 200 + 1, 10 + 2 + 300 + 2, 20 + 3 + 3]


def test_memory_does_not_see_padding_and_leaves_none() -> None:
    block = FsmnBlock(1, 3, 0)
    block.weight.data = torch.tensor([[[10.0, 1.0, 100.0]]])
    x = torch.tensor([[[1.0], [2.0], [99.0]]])

    memory = block.remember(x, Padding.of(torch.tensor([2]), 3))

    assert memory.flatten().tolist() == [202, 10 + 2 + 2, 0]


def test_a_shift_looks_back_and_a_negative_one_is_none() -> None:
    assert (FsmnBlock(1, 11, 5).left, FsmnBlock(1, 11, 5).right) == (10, 0)
    assert (FsmnBlock(1, 11, -5).left, FsmnBlock(1, 11, 0).left) == (5, 5)


@pytest.mark.parametrize(("rows", "frames"), [(1, 15), (2, 16), (3, 40), (1, 1)])
def test_short_windows_are_summed_to_what_the_convolution_gives(rows: int, frames: int) -> None:
    torch.manual_seed(0)
    block = FsmnBlock(6, 11, 0).eval()
    seen = torch.randn(rows, 10 + frames, 6)

    with torch.inference_mode():
        wanted = block(seen.transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(block.slide(seen), wanted, atol=1e-5, rtol=0)
        # A part of a larger tensor, as the padding of a stream may be.
        part = torch.cat([seen, seen], dim=2)[..., :6]
        torch.testing.assert_close(block.slide(part), wanted, atol=1e-5, rtol=0)


def test_positions_of_rows_that_began_at_other_times() -> None:
    starts = torch.tensor([1.0, 8.0])

    rows = encode_positions(starts[:, None] + torch.arange(3.0), 10)

    torch.testing.assert_close(rows[0], sinusoids(3, 10, rows.device))
    torch.testing.assert_close(rows[1], sinusoids(3, 10, rows.device, start=8))
