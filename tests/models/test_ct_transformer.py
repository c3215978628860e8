"""Punctuation networks: official names and shapes, scores of the reference, masks a pencil can draw."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from funasr.errors import CheckpointMismatchError, ModelFilesError
from funasr.models.ct_transformer.network import CTTransformer, _rows_at_once
from funasr.models.ct_transformer.online import CTTransformerStreaming, boundary_mask, causal_mask
from funasr.nn.packed import prepare_for_inference
from funasr.nn.weights import load_weights, unallocated

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

import punc_dirs  # noqa: E402

CLASSES: dict[str, type[CTTransformer]] = {
    "CTTransformer": CTTransformer,
    "CTTransformerStreaming": CTTransformerStreaming,
}
RELEASED = {
    # class, vocabulary, width, heads, hidden, blocks, tensors, numbers
    "ct-punc-272727": ("CTTransformer", 272727, 256, 8, 1024, 4, 57, 72_990_470),
    "ct-punc-471067": ("CTTransformer", 471067, 516, 12, 2048, 12, 161, 281_365_842),
    "ct-punc-streaming": ("CTTransformerStreaming", 272727, 256, 8, 1024, 3, 44, 72_197_894),
}


def network(name: str, bias: str = "some") -> CTTransformer:
    """A small network with the weights of the golden files."""
    model = CLASSES[name].from_official(punc_dirs.config(name), len(punc_dirs.TOKENS)).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in punc_dirs.weights(shapes, bias).items()})
    return model


def official_shapes(kind: str) -> dict[str, list[int]]:
    listed = {}
    for name, shape in json.loads((GOLDEN / "shapes" / f"{kind}.json").read_text()).items():
        layers = re.fullmatch(r"(.*)\{0\.\.(\d+)\}(.*)", name)
        names = [f"{layers[1]}{i}{layers[3]}" for i in range(int(layers[2]) + 1)] if layers else [name]
        listed.update(dict.fromkeys(names, shape))
    return listed


@pytest.mark.parametrize("kind", RELEASED)
def test_every_parameter_has_its_official_name_and_shape(kind: str) -> None:
    name, vocab, size, heads, units, blocks, tensors, numbers = RELEASED[kind]
    raw = punc_dirs.config(name)
    raw["model_conf"]["embed_unit"] = size
    raw["encoder_conf"] |= {
        "output_size": size,
        "attention_heads": heads,
        "linear_units": units,
        "num_blocks": blocks,
    }

    with unallocated():
        state = CLASSES[name].from_official(raw, vocab).state_dict()

    assert {key: list(value.shape) for key, value in state.items()} == official_shapes(kind)
    assert len(state) == tensors
    assert sum(value.numel() for value in state.values()) == numbers


@pytest.mark.parametrize("kind", RELEASED)
def test_the_compact_lists_are_those_of_the_reference(kind: str, shared: Path) -> None:
    full = json.loads((shared / "reference" / "shapes" / f"{kind}-full.json").read_text())

    assert official_shapes(kind) == {name: entry[0] for name, entry in full.items()}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("run", np.load(GOLDEN / "punc" / "network.npz").files)
def test_scores_are_those_of_the_reference(run: str, packed: bool) -> None:
    kind, boundary = run.split("_")
    live = kind == "live"
    # The golden run of the whole texts was the last of the biases, that of the live ones too.
    name, bias = ("CTTransformerStreaming", "commas") if live else ("CTTransformer", "none")
    model = network(name, bias)
    if packed:
        prepare_for_inference(model)
    expected = np.load(GOLDEN / "punc" / "network.npz")[run]
    ids = np.random.default_rng(1).integers(0, len(punc_dirs.TOKENS), len(expected))

    with torch.inference_mode():
        found = model(torch.from_numpy(ids)[None], torch.tensor([len(ids)]), torch.tensor([int(boundary)]))

    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("name", CLASSES)
def test_a_text_is_scored_in_a_batch_as_it_is_alone(name: str) -> None:
    model = network(name)
    rng = np.random.default_rng(0)
    lengths = np.array([1, 3, 40, 17, 40])
    boundaries = np.array([0, 2, 11, 16, 40])
    ids = rng.integers(0, len(punc_dirs.TOKENS), (len(lengths), 40))

    with torch.inference_mode():
        together = model(torch.from_numpy(ids), torch.from_numpy(lengths), torch.from_numpy(boundaries))
        for row, length in enumerate(lengths):
            alone = model(
                torch.from_numpy(ids[row : row + 1, :length]),
                torch.tensor([length]),
                torch.from_numpy(boundaries[row : row + 1]),
                padded=False,
            )
            np.testing.assert_allclose(together[row, :length].numpy(), alone[0].numpy(), atol=1e-5)

    labels = model.label(ids, lengths, boundaries)
    assert labels.shape == ids.shape
    assert labels[2].tolist() == together[2].argmax(-1).tolist()


def test_a_live_network_looks_back_only_but_for_its_last_layer() -> None:
    assert causal_mask(3, torch.device("cpu")).int().tolist() == [[[0, 1, 1], [0, 0, 1], [0, 0, 0]]]


def test_the_last_word_before_the_boundary_sees_what_follows_it_and_those_before_it_do_not() -> None:
    [mask] = boundary_mask(4, torch.tensor([4]), torch.tensor([2])).int().tolist()

    assert mask == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("boundary", [0, 1, 4, 7])
def test_a_boundary_at_an_end_or_outside_hides_nothing(boundary: int) -> None:
    mask = boundary_mask(4, torch.tensor([4]), torch.tensor([boundary]))

    assert not mask[:, 1:].any()
    assert not mask.any()


def test_new_words_change_the_scores_of_known_ones_only_at_the_boundary() -> None:
    model = network("CTTransformerStreaming")
    ids = np.random.default_rng(2).integers(1, len(punc_dirs.TOKENS), (2, 12))
    ids[1, :8] = ids[0, :8]  # the same eight known words, other new ones

    with torch.inference_mode():
        one, other = model(torch.from_numpy(ids), torch.tensor([12, 12]), torch.tensor([8, 8])).numpy()

    np.testing.assert_allclose(one[:7], other[:7], atol=1e-6)
    assert np.abs(one[7] - other[7]).max() > 1e-3


def test_weights_load_strictly(tmp_path: Path) -> None:
    state = network("CTTransformer").state_dict()
    torch.save({"state_dict": state}, tmp_path / "model.pt")
    with unallocated():
        model = CTTransformer.from_official(punc_dirs.config("CTTransformer"), len(punc_dirs.TOKENS))
    load_weights(model, tmp_path / "model.pt")
    assert torch.equal(model.decoder.weight, state["decoder.weight"])

    with unallocated():
        larger = CTTransformer.from_official(punc_dirs.config("CTTransformer"), len(punc_dirs.TOKENS) + 1)
    with pytest.raises(CheckpointMismatchError, match=r"embed\.weight"):
        load_weights(larger, tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "ConformerEncoder"}, "encoder is 'ConformerEncoder'"),
        ({"model_conf": {"embed_unit": 24}}, "punc_list"),
        ({"encoder_conf": [1]}, "encoder_conf is \\[1\\]"),
    ],
)
def test_a_config_that_asks_for_something_else_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFilesError, match=message):
        CTTransformer.from_official({**punc_dirs.config("CTTransformer"), **change}, 10)


def test_many_words_are_read_in_parts_of_equal_size() -> None:
    lengths = np.repeat([10, 20, 30], 60)  # 3,600 words: six parts of at most 640, as two threads share them

    parts = _rows_at_once(lengths, threads=2)

    assert [row for part in parts for row in range(len(lengths))[part]] == list(range(len(lengths)))
    words = [int(lengths[part].sum()) for part in parts]
    assert len(words) == 6
    assert max(words) - min(words) <= 60


@pytest.mark.parametrize(
    ("lengths", "parts"), [([1], 1), ([640], 1), ([641], 1), ([640, 1], 2), ([5000, 5000], 2), ([9] * 5, 1)]
)
def test_no_part_is_empty(lengths: list[int], parts: int) -> None:
    found = _rows_at_once(np.asarray(lengths), threads=4)

    assert len(found) == parts
    assert all(part.stop > part.start for part in found)


@pytest.mark.parametrize("name", CLASSES)
def test_labels_in_parts_by_two_threads_are_those_of_each_row(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("funasr.models.ct_transformer.network.WORDS_ON_CPU", 16)
    model = network(name)
    rng = np.random.default_rng(0)
    lengths = np.sort(rng.integers(1, 12, 20))
    boundaries = lengths // 2
    ids = np.zeros((20, 11), dtype=np.int64)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = rng.integers(1, len(punc_dirs.TOKENS), length)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = model.label(ids, lengths, boundaries)
    finally:
        torch.set_num_threads(before)

    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        alone = model.label(ids[one, :length], lengths[one], boundaries[one])
        assert found[row, :length].tolist() == alone[0].tolist()
