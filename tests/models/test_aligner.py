"""The aligner's network: names and shapes of the released one, the reference's numbers, rows on their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from funasr.errors import InputError, ModelFilesError
from funasr.models.aligner.network import MonotonicAligner
from funasr.nn.packed import prepare_for_inference
from funasr.nn.weights import unallocated
from tests.models.test_paraformer_shapes import listed_shapes
from tests.small_dirs import aligner_network, golden, seeded, seeded_dirs, shapes

TOKENS = 5
"""Of the text that the golden weights were computed for."""


def test_every_parameter_has_its_official_name_and_shape() -> None:
    raw = seeded_dirs.aligner_config()
    raw["encoder_conf"] |= {"output_size": 320, "linear_units": 1280, "num_blocks": 30}
    raw["predictor_conf"] |= {"idim": 320}
    with unallocated():
        own = MonotonicAligner.from_official(raw, 0, 560)

    assert {name: list(shape) for name, shape in shapes(own).items()} == listed_shapes("fa-zh")
    assert len(own.state_dict()) == 408
    assert sum(value.numel() for value in own.state_dict().values()) == 39_585_442


def test_the_compact_list_is_that_of_the_reference(shared: Path) -> None:
    listed = json.loads((shared / "reference" / "shapes" / "fa-zh-full.json").read_text())

    assert listed_shapes("fa-zh") == {name: entry[0] for name, entry in listed.items()}


@pytest.mark.parametrize("packed", [False, True])
def test_encoder_and_weights_are_the_reference_ones(packed: bool) -> None:
    model, wanted = aligner_network(), golden("aligner/network.npz")
    if packed:
        prepare_for_inference(model)

    with torch.inference_mode():
        memory = model.encoder(torch.from_numpy(seeded.features()), None)
    [alphas] = model.weigh(seeded.features(), np.array([seeded.FRAMES]))
    alphas = alphas * (TOKENS + 1) / alphas.sum()  # the reference returns them so

    np.testing.assert_allclose(memory.numpy(), wanted["encoder"], atol=1e-5)
    np.testing.assert_allclose(alphas, wanted["alphas"][0], atol=1e-5)


def test_each_row_of_a_batch_is_what_it_is_alone() -> None:
    model = aligner_network()
    features, lengths = seeded.features(4, 40), np.array([31, 40, 1, 17])

    together = model.weigh(features, lengths)

    for row, one, length in zip(together, features, lengths, strict=True):
        [alone] = model.weigh(one[None, :length], np.array([length]))
        assert len(row) == 3 * length
        np.testing.assert_allclose(row, alone, atol=1e-5)


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"takes \(batch, frames, 560\)"):
        aligner_network().weigh(np.zeros((1, 5, 80), np.float32), np.array([5]))


@pytest.mark.parametrize("part", ["encoder", "predictor"])
def test_other_parts_are_refused(part: str) -> None:
    raw = seeded_dirs.aligner_config() | {part: "Another"}
    with pytest.raises(ModelFilesError, match=f"{part} is 'Another'"):
        MonotonicAligner.from_official(raw, 0, 560)


def test_bfloat16_weighs_nearly_the_same() -> None:
    model = prepare_for_inference(aligner_network(), dtype=torch.bfloat16)
    assert isinstance(model, MonotonicAligner)
    features, lengths = seeded.features(3, 60), np.array([60, 30, 45])

    for half, single in zip(
        model.weigh(features, lengths), aligner_network().weigh(features, lengths), strict=True
    ):
        np.testing.assert_allclose(half, single, atol=0.01)
