"""The layout of chunk training: by pencil, as the reference lays it out, and as a stream hears."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from funasr.errors import ModelFilesError
from funasr.models.paraformer.chunks import ChunkLayout, ChunkRecipe, encode
from funasr.models.paraformer.loss import ParaformerStreamingLoss, firing_frames
from funasr.models.paraformer.network import Paraformer
from funasr.models.paraformer.online import ParaformerStreaming
from funasr.nn.cif import running_sum, weigh
from funasr.stages.protocols import Chunk, ChunkShape
from tests.models.small import GOLDEN, seeded

RECIPE = ChunkRecipe(size=15, stride=10, encoder_look_back=4, decoder_look_back=1)
SHAPE = ChunkShape(left=0, size=10, right=5, encoder_look_back=4, decoder_look_back=1)
KERNEL = 11


def raw() -> dict[str, Any]:
    config = seeded.config("ParaformerStreaming")
    config["encoder"] = "SANMEncoderChunkOpt"
    config["encoder_conf"] |= {"input_layer": "pe_online"}
    config["decoder_conf"] |= {"sanm_shfit": 5, "num_blocks": 2, "att_layer_num": 2}
    return config


def network() -> Paraformer:
    model = Paraformer.from_official(raw(), seeded.VOCAB, seeded.INPUT).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(value) for key, value in seeded.weights(shapes).items()})
    return model


def goldens() -> dict[str, dict[str, np.ndarray]]:
    with np.load(GOLDEN / "models" / "chunks.npz") as arrays:
        cases: dict[str, dict[str, np.ndarray]] = {}
        for name, value in arrays.items():
            case, _, key = name.rpartition(" ")
            cases.setdefault(case, {})[key] = value
    return cases


def recipe(size: int, stride: int, pad: int, ears: int, eyes: int) -> ChunkRecipe:
    return ChunkRecipe(size=size, stride=stride, pad_left=pad, encoder_look_back=ears, decoder_look_back=eyes)


def test_blocks_stand_behind_five_rows_of_zeros_each() -> None:
    layout = ChunkLayout.trained(torch.tensor([12]), recipe(6, 4, 0, 1, 1), KERNEL)

    zeros = [-1] * 5
    expected = [*zeros, 0, 1, 2, 3, 4, 5, *zeros, 4, 5, 6, 7, 8, 9, *zeros, 8, 9, 10, 11]
    assert layout.frames[0].tolist() == expected
    assert (
        layout.real[0].tolist()
        == [False] * 5 + [True] * 6 + [False] * 5 + [True] * 6 + [False] * 5 + [True] * 4
    )
    # Each frame counts once, among the first four of its block.
    assert layout.own[0].tolist() == [5, 6, 7, 8, 16, 17, 18, 19, 27, 28, 29, 30]


def test_a_block_with_frames_before_its_own_begins_with_zeros() -> None:
    layout = ChunkLayout.trained(torch.tensor([5]), recipe(6, 3, 2, 0, 0), KERNEL)

    zeros = [-1] * 5
    assert layout.frames[0].tolist() == [*zeros, -1, -1, 0, 1, 2, 3, *zeros, 1, 2, 3, 4]
    assert layout.own[0].tolist() == [7, 8, 9, 18, 19]


@given(
    frames=st.integers(1, 80),
    stride=st.integers(1, 12),
    pad=st.integers(0, 6),
    ahead=st.integers(0, 6),
)
@settings(max_examples=50, deadline=None)
def test_the_layout_is_as_long_as_the_formula_says(frames: int, stride: int, pad: int, ahead: int) -> None:
    size, gap = pad + stride + ahead, 5

    layout = ChunkLayout.trained(torch.tensor([frames]), recipe(size, stride, pad, 1, 1), KERNEL)

    blocks = -(-frames // stride)
    rows = (blocks - 1) * (size + gap) + gap + pad + frames - (blocks - 1) * stride
    assert layout.frames.shape == (1, rows)
    at_home = layout.frames[0, layout.own[0]]
    assert at_home.tolist() == list(range(frames))


def test_only_a_block_s_own_frames_hear_the_blocks_before_in_training() -> None:
    layout = ChunkLayout.trained(torch.tensor([12]), recipe(6, 4, 0, 1, 1), KERNEL)

    own, ahead = layout.hears[0, 16], layout.hears[0, 20]
    assert own.nonzero().flatten().tolist() == [5, 6, 7, 8, *range(16, 22)]
    assert ahead.nonzero().flatten().tolist() == list(range(16, 22))


def test_a_token_hears_its_block_and_the_own_frames_of_the_one_before() -> None:
    layout = ChunkLayout.trained(torch.tensor([12]), recipe(6, 4, 0, 1, 1), KERNEL)

    keys = layout.for_tokens(torch.tensor([[3, 4]]), torch.float32).keys[0, 0] == 0

    assert keys[0].nonzero().flatten().tolist() == list(range(5, 11))
    assert keys[1].nonzero().flatten().tolist() == [5, 6, 7, 8, *range(16, 22)]


@pytest.mark.parametrize("case", sorted(goldens()))
def test_layout_masks_frames_and_losses_are_the_reference_ones(case: str) -> None:
    *numbers, frames = json.loads(case)
    wanted, chosen, model = goldens()[case], recipe(*numbers), network()
    features, lengths = torch.from_numpy(seeded.features(1, frames)), torch.tensor([frames])
    layout = ChunkLayout.trained(lengths, chosen, KERNEL)
    tokens = {23: 4, 31: 6}[frames]

    with torch.no_grad():
        memory = encode(model.encoder, features, layout)
        _, stats = ParaformerStreamingLoss(model.config, [chosen])(
            model, features, lengths, torch.arange(5, 5 + tokens)[None], torch.tensor([tokens])
        )

    assert memory.shape == wanted["encoder"].shape
    reference = torch.from_numpy(wanted["encoder"]) * layout.real[:, :, None]
    torch.testing.assert_close(memory, reference, atol=1e-4, rtol=0)
    counted = np.zeros(memory.shape[1], dtype=bool)
    counted[layout.own[0]] = True
    assert counted.tolist() == wanted["counted"].tolist()
    found = [stats[key].item() for key in ("loss_att", "loss_pre", "loss")]
    assert found == pytest.approx(wanted["losses"].tolist(), abs=1e-4)


def test_a_batch_is_laid_out_as_each_row_alone() -> None:
    model, lengths = network(), torch.tensor([31, 23, 7])
    features = torch.from_numpy(seeded.features(3, 31))
    for make in (
        lambda some: ChunkLayout.trained(some, RECIPE, KERNEL),
        lambda some: ChunkLayout.streamed(some, SHAPE, KERNEL),
    ):
        with torch.no_grad():
            layout = make(lengths)
            rows = layout.collect(encode(model.encoder, features, layout))
            for i, frames in enumerate(lengths.tolist()):
                single = make(lengths[i : i + 1])
                alone = single.collect(encode(model.encoder, features[i : i + 1, :frames], single))
                size = alone.shape[1]
                torch.testing.assert_close(rows[i : i + 1, :size], alone, atol=1e-5, rtol=1e-5)
                assert not rows[i, size:].any()


def test_a_stream_begins_with_the_rows_it_looks_ahead_and_ends_with_what_is_left() -> None:
    shape = ChunkShape(left=0, size=4, right=2, encoder_look_back=1, decoder_look_back=1)

    layout = ChunkLayout.streamed(torch.tensor([9]), shape, KERNEL)

    zeros = [-1] * 5
    assert layout.frames[0].tolist() == (
        [*zeros, -1, -1, 0, 1, 2, 3, *zeros, 2, 3, 4, 5, 6, 7, *zeros, 6, 7, 8, -1, -1, -1]
    )
    assert layout.real[0].sum() == 15
    # The two zeros are counted, then every frame once, the last ones in the short last window.
    assert layout.own[0].tolist() == [5, 6, 7, 8, 16, 17, 18, 19, 27, 28, 29]


def test_every_row_of_a_stream_hears_the_chunks_before() -> None:
    shape = ChunkShape(left=0, size=4, right=2, encoder_look_back=1, decoder_look_back=1)

    layout = ChunkLayout.streamed(torch.tensor([9]), shape, KERNEL)

    for row in (16, 21):
        assert layout.hears[0, row].nonzero().flatten().tolist() == [5, 6, 7, 8, *range(16, 22)]


def test_a_stream_s_tokens_remember_the_last_chunk_in_which_one_fired() -> None:
    shape = ChunkShape(left=0, size=4, right=2, encoder_look_back=1, decoder_look_back=1)
    layout = ChunkLayout.streamed(torch.tensor([13]), shape, KERNEL)

    keys = layout.for_tokens(torch.tensor([[1, 2, 9]]), torch.float32).keys[0, 0] == 0

    assert keys[0].nonzero().flatten().tolist() == keys[1].nonzero().flatten().tolist() == list(range(5, 11))
    # Nothing fired in the second chunk. Of the first the last four rows are kept, looked ahead at or not.
    assert keys[2].nonzero().flatten().tolist() == [7, 8, 9, 10, *range(27, 33)]


@pytest.mark.parametrize("frames", [3, 10, 29, 47])
def test_the_layout_gives_what_the_network_gives_chunk_by_chunk(frames: int) -> None:
    """Encoder rows that count, tokens and their probabilities, from the first chunk to the short last one."""
    model = ParaformerStreaming.from_official(raw(), seeded.VOCAB, seeded.INPUT).eval()
    model.load_state_dict(network().state_dict())
    features = seeded.features(1, frames)
    memories: list[torch.Tensor] = []
    model.encoder.after_norm.register_forward_hook(lambda *call: memories.append(call[2][0]))
    state = model.initial_state(SHAPE)
    ids: list[int] = []
    confidences: list[float] = []
    for start in range(0, frames + 1, SHAPE.size):
        chunk = features[0, start : start + SHAPE.size]
        [(row, state)] = model.step([Chunk(features=chunk, state=state, final=len(chunk) < SHAPE.size)])
        ids += row.ids.tolist()
        confidences += row.confidences.tolist()
    windows = list(memories)
    stepped = torch.cat([window[: SHAPE.size] for window in windows[:-1]] + windows[-1:])

    with torch.no_grad():
        layout = ChunkLayout.streamed(torch.tensor([frames]), SHAPE, KERNEL)
        memory = encode(model.encoder, torch.from_numpy(features), layout)
        rows = layout.collect(memory)
        torch.testing.assert_close(rows[0], stepped, atol=1e-5, rtol=1e-5)
        alphas = model.predictor.weights(memory, torch.tensor([memory.shape[1]]))
        alphas = torch.nn.functional.pad(layout.collect(alphas[:, :, None]).squeeze(2), (0, 1))
        alphas[:, -1] = model.config.predictor.tail_threshold
        rows = torch.nn.functional.pad(rows, (0, 0, 0, 1))
        count = int(alphas.double().sum())
        assert count == len(ids)
        bounds = torch.nn.functional.pad(running_sum(alphas), (1, 0))
        fired = torch.searchsorted(bounds[:, 1:], torch.arange(1.0, count + 1)[None].double())
        keys = layout.for_tokens(fired, torch.float32)
        hidden = model.decoder(weigh(rows, bounds, count), None, memory, keys)
        found, best = model.decoder.logits(hidden).softmax(dim=-1).max(dim=-1)
    assert best[0].tolist() == ids
    assert found[0].tolist() == pytest.approx(confidences, abs=1e-5)


def test_tokens_fire_in_the_frame_that_fills_them() -> None:
    alphas = torch.tensor([[0.5, 0.5, 0.9, 0.1, 0.0], [0.25, 0.25, 0.5, 0.0, 0.0]])

    assert firing_frames(alphas, torch.tensor([2, 1])).tolist() == [[1, 3], [2, 4]]


def test_the_lists_of_the_official_configuration_are_read_column_by_column() -> None:
    conf = {
        "chunk_size": [12, 15],
        "stride": [8, 10],
        "pad_left": [0, 0],
        "encoder_att_look_back_factor": [4, 4],
        "decoder_att_look_back_factor": [1, 1],
    }

    assert ChunkRecipe.from_official(conf) == (recipe(12, 8, 0, 4, 1), recipe(15, 10, 0, 4, 1))
    with pytest.raises(ModelFilesError, match="equally long"):
        ChunkRecipe.from_official(conf | {"stride": [8]})
    with pytest.raises(ModelFilesError, match="fit into chunk_size"):
        ChunkRecipe.from_official(conf | {"stride": [8, 16]})


def test_a_few_sentences_can_be_learnt_by_heart_block_by_block() -> None:
    torch.manual_seed(0)
    model = Paraformer.from_official(raw(), seeded.VOCAB, seeded.INPUT).train()
    loss = ParaformerStreamingLoss(model.config, [RECIPE, recipe(12, 8, 0, 4, 1)])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    features, lengths = torch.from_numpy(seeded.features(3, 20)), torch.tensor([20, 13, 9])
    targets = torch.tensor([[5, 6, 7, 8], [9, 10, -1, -1], [11, -1, -1, -1]])
    values = []
    for _ in range(40):
        value, _ = loss(model, features, lengths, targets, torch.tensor([4, 2, 1]))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())

    assert values[-1] < 0.5 * values[0]
