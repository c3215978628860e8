"""The parts of examples/train_bundled/streaming.py that are easy to get subtly wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from funasr.config import load_yaml
from funasr.models.paraformer.chunks import ChunkLayout, encode
from funasr.models.paraformer.network import Paraformer
from funasr.models.paraformer.online import ParaformerStreaming
from funasr.stages.protocols import Chunk
from funasr.train.data import Batch

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_bundled"
NAMES = (
    "quick_layers",
    "words_data",
    "words_synth",
    "words_augment",
    "words_loss",
    "words_dev",
    "bundle",
    "words",
    "streaming_loss",
    "streaming",
)


@pytest.fixture(scope="module")
def example() -> Iterator[SimpleNamespace]:
    """The example's modules; they import one another by their bare names."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def model(example: SimpleNamespace) -> ParaformerStreaming:
    """Random, with a predictor that fires about once in four frames."""
    torch.manual_seed(0)
    config = load_yaml(EXAMPLE / "streaming.yaml")
    network = ParaformerStreaming.from_official(config, len(example.words_data.TOKENS), 560).eval()
    torch.nn.init.constant_(network.predictor.cif_output.bias, -1.1)
    return network


def test_a_word_s_weight_lies_on_its_last_rows_and_the_margin_on_the_first(example: SimpleNamespace) -> None:
    spans = torch.tensor([[[6.0, 12.0], [13.0, 15.0]]])

    weights = example.streaming_loss.word_weights(spans, torch.tensor([2]), torch.tensor([17]), 17)

    rows = [0.04] * 5 + [0] * 5 + [0.5] * 2 + [0] + [0.5] * 2 + [0, 0]
    assert weights[0].tolist() == pytest.approx(rows)
    assert example.streaming_loss.word_sums(weights, spans, torch.tensor([2])).item() == pytest.approx(0)


def test_a_word_with_too_much_is_not_made_up_for_by_one_with_too_little(example: SimpleNamespace) -> None:
    spans = torch.tensor([[[6.0, 8.0], [10.0, 12.0]]])
    alphas = torch.zeros(1, 14)
    alphas[0, 7], alphas[0, 11] = 1.4, 0.6

    error = example.streaming_loss.word_sums(alphas, spans, torch.tensor([2]))

    assert error.item() == pytest.approx(0.4)
    assert example.streaming_loss.word_sums(alphas, spans[:, :0], torch.tensor([0])).item() == 0


@pytest.mark.parametrize("shape", ["SHAPE", "FORGETFUL"])
def test_windows_are_encoded_as_the_layout_says(
    example: SimpleNamespace, model: Paraformer, shape: str
) -> None:
    loss = example.streaming_loss
    chosen = getattr(loss, shape)
    features, lengths = torch.randn(3, 47, 560), torch.tensor([47, 30, 9])

    with torch.no_grad():
        _, _, rows, alphas = loss.listen(model, features, lengths, 1, chosen)

        layout = ChunkLayout.streamed(lengths, chosen, model.config.encoder.kernel_size)
        memory = encode(model.encoder, features, layout)
        weights = model.predictor.weights(memory, torch.full_like(lengths, memory.shape[1]))
    torch.testing.assert_close(rows, layout.collect(memory), atol=1e-5, rtol=1e-5)
    slow = layout.collect(weights[:, :, None]).squeeze(2)
    torch.testing.assert_close(alphas, slow, atol=1e-5, rtol=1e-5)


def test_what_is_heard_in_training_is_what_the_network_hears_chunk_by_chunk(
    example: SimpleNamespace, model: ParaformerStreaming
) -> None:
    loss = example.streaming_loss
    lengths = torch.tensor([47, 30, 9])
    features = torch.randn(3, 47, 560)
    assert model.config.predictor.tail_threshold == loss.TAIL

    heard = loss.hear(model, features, lengths)

    for row, length, ids in zip(features.numpy(), lengths.tolist(), heard, strict=True):
        state, stepped = model.initial_state(loss.SHAPE), []
        for start in range(0, length + 1, 10):
            chunk = row[start : min(start + 10, length)]
            [(said, state)] = model.step([Chunk(features=chunk, state=state, final=len(chunk) < 10)])
            stepped += said.ids.tolist()
        assert stepped == ids
    assert sum(map(len, heard)) > 10


def test_the_loss_has_gradients_for_every_part_but_the_unused_embedding(
    example: SimpleNamespace, model: Paraformer
) -> None:
    torch.manual_seed(0)
    loss = example.streaming_loss.StreamingLoss(160, len(example.words_data.TOKENS), masked=lambda: True)
    batch = Batch(
        keys=("a", "b"),
        features=torch.randn(2, 30, 560),
        lengths=torch.tensor([30, 12]),
        targets=torch.tensor([[3, 4], [-1, -1]]),
        target_lengths=torch.tensor([2, 0]),
        spans=torch.tensor([[[3.0, 9.0], [12.0, 20.0]], [[0.0, 0.0], [0.0, 0.0]]]),
    )

    value, stats = loss(model.train(), batch)
    value.backward()

    model.eval()
    assert torch.isfinite(value)
    assert set(stats) == {"acc", "loss_att", "pre", "lead", "half", "place", "each", "frame", "loss"}
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == ["decoder.embed.0.weight"]
    model.zero_grad()


def test_the_offline_weights_fit_and_the_decoder_s_memory_looks_back(
    example: SimpleNamespace, model: Paraformer
) -> None:
    from funasr.nn.weights import read_checkpoint

    offline = read_checkpoint(example.streaming.START / "model.pt")

    taken = example.streaming_loss.state_of_offline(offline, model)

    name = "decoder.decoders.0.self_attn.fsmn_block.weight"
    assert taken.keys() == model.state_dict().keys()
    # Taps -5..5 of the whole utterance's decoder; here taps -10..0, of which it knew the last six.
    assert not taken[name][..., :5].any()
    assert torch.equal(taken[name][..., 5:], offline[name][..., :6])
    assert torch.equal(taken["encoder.after_norm.weight"], offline["encoder.after_norm.weight"])


def test_made_up_streams_begin_and_end_with_silence_of_any_length(example: SimpleNamespace) -> None:
    data = example.words_data
    sound = (np.random.default_rng(0).normal(0, 3000, 8000)).astype(np.int16)
    clips = [
        data.Clip(samples=sound, token=token, speaker="a", source="asr/x", start=1000, end=7000)
        for token in range(3, data.UNKNOWN + 1)
    ]
    maker = example.streaming.Streamer(clips[:-1], clips[-1:], [], [], example.streaming.USUAL)

    plans = [maker.plan(np.random.default_rng(seed)) for seed in range(300)]

    spoken = [plan for plan in plans if plan.pieces and plan.pieces[0].clip.token != data.UNKNOWN]
    for silences in ([plan.pieces[0].gap for plan in spoken], [plan.tail for plan in spoken]):
        assert 0 <= min(silences) < 960
        assert 8000 < max(silences) < 9600
