"""Torch's integrate-and-fire against pencil numbers and against the numpy one that decoding uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from funasr.decode.cif import cif_weights
from funasr.errors import ModelFilesError
from funasr.nn import cif
from funasr.nn.cif import (
    CifPredictorConfig,
    CifPredictorV2,
    CifPredictorV3,
    overlaps,
    token_bounds,
    weigh,
)


def predictor(alphas: Tensor, **settings: float) -> CifPredictorV2:
    """A predictor of width 2 that answers with the given weights (B, T)."""
    made = CifPredictorV2(CifPredictorConfig(idim=2, tail_threshold=0.45, **settings))
    made.weights = lambda memory, lengths: alphas  # type: ignore[method-assign]
    return made


def test_each_token_takes_its_share_of_the_frames() -> None:
    alphas = torch.tensor([[0.4, 0.4, 0.4, 0.1, 0.8]])

    shares = overlaps(token_bounds(alphas, None), 0, 2)

    expected = [
        [0.4, 0.4, 0.2, 0.0, 0.0],
        [0.0, 0.0, 0.2, 0.1, 0.7],  # frame 2 is shared: 0.2 closes one token, 0.2 opens the next
    ]
    torch.testing.assert_close(shares[0].float(), torch.tensor(expected), atol=1e-6, rtol=0)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60))
@settings(deadline=None, max_examples=100)
def test_shares_are_those_of_the_numpy_half(weights: list[float]) -> None:
    alphas = np.array(weights, dtype=np.float32)
    matrix, _, _ = cif_weights(alphas)

    shares = overlaps(token_bounds(torch.from_numpy(alphas)[None], None), 0, len(matrix))

    # The numpy half rounds its sums, up to 60, to float32.
    np.testing.assert_allclose(shares[0].numpy(), matrix, atol=1e-5)


@given(
    st.lists(st.floats(0.0078125, 1, width=32), min_size=3, max_size=60),
    st.integers(1, 12),
    st.integers(0, 20),
)
@settings(deadline=None, max_examples=100)
def test_in_training_every_target_token_weighs_exactly_one(
    weights: list[float], count: int, padded: int
) -> None:
    row = torch.tensor([weights + [0.0] * padded])
    scaled = row * (count / row.sum())

    shares = overlaps(token_bounds(scaled, torch.tensor([count])), 0, count)

    # Upstream leaves the last token empty in a quarter to a half of all sentences: sums end just below it.
    np.testing.assert_allclose(shares.sum(dim=2).numpy(), np.ones((1, count)), atol=1e-5)


def test_tokens_are_the_same_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    memory, bounds = torch.randn(2, 50, 3), token_bounds(torch.rand(2, 50), None)
    whole = weigh(memory, bounds, 20)
    monkeypatch.setattr(cif, "BLOCK", 7)

    torch.testing.assert_close(weigh(memory, bounds, 20), whole)
    assert weigh(memory, bounds, 0).shape == (2, 0, 3)


def test_the_tail_is_added_at_each_rows_own_end() -> None:
    alphas = torch.tensor([[0.5, 0.5, 0.6], [0.8, 0.0, 0.0]])
    memory = torch.arange(12.0).reshape(2, 3, 2) * torch.tensor([[[1.0], [1], [1]], [[1], [0], [0]]])

    predicted = predictor(alphas)(memory, torch.tensor([3, 1]))

    torch.testing.assert_close(predicted.alphas, torch.tensor([[0.5, 0.5, 0.6, 0.45], [0.8, 0.45, 0, 0]]))
    assert predicted.counts.tolist() == [2, 1]
    torch.testing.assert_close(predicted.quantity, torch.tensor([1.6, 0.8]))
    # Row 0: 0.5 of frames 0 and 1; then 0.6 of frame 2 and 0.4 of the tail, which is silent.
    expected = [[[1.0, 2.0], [0.6 * 4, 0.6 * 5]], [[0.8 * 6, 0.8 * 7], [0.0, 0.0]]]
    torch.testing.assert_close(predicted.embeds, torch.tensor(expected))


def test_without_tail_mask_the_tail_stands_behind_the_padding() -> None:
    alphas = torch.tensor([[0.5, 0.5, 0.6], [0.8, 0.0, 0.0]])

    predicted = predictor(alphas, tail_mask=False)(torch.ones(2, 3, 2), torch.tensor([3, 1]))

    torch.testing.assert_close(predicted.alphas[1], torch.tensor([0.8, 0.0, 0.0, 0.45]))


def test_gradients_reach_the_weights_through_the_embeddings() -> None:
    model = CifPredictorV2(CifPredictorConfig(idim=4))
    memory = torch.randn(2, 9, 4, requires_grad=True)

    predicted = model(memory, torch.tensor([9, 6]), torch.tensor([3, 2]))
    predicted.embeds.square().sum().backward()

    assert memory.grad is not None
    assert model.cif_output.weight.grad is not None
    assert model.cif_output.weight.grad.abs().sum() > 0
    assert predicted.embeds.shape == (2, 3, 4)
    assert predicted.embeds[1, 2].abs().sum() == 0


def test_fine_weights_of_a_row_do_not_depend_on_the_rows_beside_it() -> None:
    torch.manual_seed(0)
    settings = {"upsample_type": "cnn_blstm", "use_cif1_cnn": False, "upsample_times": 3}
    model = CifPredictorV3(CifPredictorConfig(idim=8, **settings)).eval()
    memory = torch.randn(2, 7, 8)
    memory[1, 4:] = 0

    with torch.inference_mode():
        both = model.fine_weights(memory, torch.tensor([7, 4]))
        alone = model.fine_weights(memory[1:, :4], torch.tensor([4]))

    assert both.shape == (2, 21)
    torch.testing.assert_close(both[1:, :12], alone)
    assert both[1, 12:].abs().sum() == 0


def test_training_computes_the_same_weights_another_way() -> None:
    torch.manual_seed(0)
    settings = {"upsample_type": "cnn_blstm", "use_cif1_cnn": False, "upsample_times": 3, "r_order": 2}
    model = CifPredictorV3(CifPredictorConfig(idim=8, **settings))
    memory, lengths = torch.randn(2, 7, 8), torch.tensor([7, 4])

    learning = model.weights(memory, lengths), model.fine_weights(memory, lengths)
    model.eval()

    torch.testing.assert_close(learning[0], model.weights(memory, lengths))
    torch.testing.assert_close(learning[1], model.fine_weights(memory, lengths))


def test_other_thresholds_than_one_are_refused() -> None:
    with pytest.raises(ModelFilesError, match=r"0\.5"):
        CifPredictorConfig(threshold=0.5)
