"""Graphs of the models around a recognizer: official names, and what torch says for any length and batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from funasr import registry
from funasr.export.quantize import quantize_graph
from funasr.models.campplus.fused import _RectifiedLinear, _Stretches
from funasr_onnx.session import OnnxSession
from tests.models.test_ct_transformer import network as punctuation_network
from tests.models.test_speaker_networks import network as speaker_network
from tests.onnx.graphs import exported, noise, speaker_graph
from tests.small_dirs import aligner_network, sense_voice_network, vocabulary

BATCH = "batch_size"
VOCABULARY = vocabulary().vocab_size
WORDS: dict[str, list[Any]] = {"inputs": [BATCH, "feats_length"], "text_lengths": [BATCH]}
MASK = [BATCH, 1, "feats_length1", "feats_length2"]
SPEECH: dict[str, list[Any]] = {"speech": [BATCH, "feats_length", 560], "speech_lengths": [BATCH]}
FILTERS: dict[str, list[Any]] = {"speech": [BATCH, "feats_length", 80]}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, OnnxSession]]:
    """Name -> network, and its graph."""
    folder = tmp_path_factory.mktemp("graphs")
    networks = {
        "CTTransformer": punctuation_network("CTTransformer"),
        "CTTransformerStreaming": punctuation_network("CTTransformerStreaming"),
        "SenseVoiceSmall": sense_voice_network(),
        "MonotonicAligner": aligner_network(),
    }
    made = {name: (network, exported(network, folder / name)) for name, network in networks.items()}
    for name, own in (("CAMPPlus", "campplus"), ("ERes2NetV2", "eres2netv2")):
        made[name] = speaker_network(own), speaker_graph(own)
    return made


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("CTTransformer", WORDS, {"logits": [BATCH, "logits_length", 6]}),
        (
            "CTTransformerStreaming",
            {**WORDS, "vad_masks": MASK, "sub_masks": MASK},
            {"logits": [BATCH, "logits_length", 6]},
        ),
        (
            "SenseVoiceSmall",
            {**SPEECH, "language": [BATCH], "textnorm": [BATCH]},
            {"ctc_logits": [BATCH, "logits_length", VOCABULARY], "encoder_out_lens": [BATCH]},
        ),
        ("MonotonicAligner", SPEECH, {"us_alphas": [BATCH, "alphas_length"]}),
        ("CAMPPlus", FILTERS, {"embedding": [BATCH, 24]}),
        ("ERes2NetV2", FILTERS, {"embedding": [BATCH, 24]}),
    ],
)
def test_names_and_axes_are_upstreams_where_it_has_any(
    graphs: dict[str, tuple[Any, OnnxSession]],
    name: str,
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
) -> None:
    session = graphs[name][1]

    assert session.input_shapes == inputs
    assert list(session.input_shapes) == list(inputs)
    assert session.output_shapes == outputs


@pytest.mark.parametrize("lengths", [[1], [1, 3], [20, 7, 20], [300]])
def test_whole_texts_have_the_scores_of_torch(
    graphs: dict[str, tuple[Any, OnnxSession]], lengths: list[int]
) -> None:
    network, session = graphs["CTTransformer"]
    ids = np.random.default_rng(1).integers(0, 50, (len(lengths), max(lengths)))

    [logits] = session.run({"inputs": ids.astype(np.int32), "text_lengths": np.array(lengths, np.int32)})

    with torch.inference_mode():
        wanted = network(torch.from_numpy(ids), torch.tensor(lengths)).numpy()
    for row, own, length in zip(logits, wanted, lengths, strict=True):
        np.testing.assert_allclose(row[:length], own[:length], atol=1e-4)


def test_live_texts_have_the_scores_of_torch(graphs: dict[str, tuple[Any, OnnxSession]]) -> None:
    network, session = graphs["CTTransformerStreaming"]
    ids = np.random.default_rng(2).integers(0, 50, (1, 9))
    seen = np.ones((9, 9), np.float32)
    seen[:3, 4:] = 0  # four words are known: the last of them sees what follows
    inputs = {"inputs": ids.astype(np.int32), "text_lengths": np.array([9], np.int32)}

    [logits] = session.run(
        {**inputs, "vad_masks": seen[None, None], "sub_masks": np.tri(9, dtype=np.float32)[None, None]}
    )

    with torch.inference_mode():
        wanted = network(torch.from_numpy(ids), torch.tensor([9]), torch.tensor([4])).numpy()
    np.testing.assert_allclose(logits, wanted, atol=1e-4)


@pytest.mark.parametrize("lengths", [[1], [0, 2], [17, 50], [1000]])
def test_sense_voice_has_the_scores_of_torch(
    graphs: dict[str, tuple[Any, OnnxSession]], lengths: list[int]
) -> None:
    network, session = graphs["SenseVoiceSmall"]
    speech = noise(len(lengths), max(lengths), 560)
    row = np.ones(len(lengths), np.int32)

    logits, sizes = session.run(
        {
            "speech": speech,
            "speech_lengths": np.array(lengths, np.int32),
            "language": 3 * row,
            "textnorm": 15 * row,
        }
    )

    with torch.inference_mode():
        asked = torch.tensor([3, 1, 2, 15])
        wanted = network.ctc(network(torch.from_numpy(speech), torch.tensor(lengths), asked)).numpy()
    assert sizes.tolist() == [length + 4 for length in lengths]
    for scores, own, length in zip(logits, wanted, lengths, strict=True):
        np.testing.assert_allclose(scores[: 4 + length], own[: 4 + length], atol=1e-4)


@pytest.mark.parametrize("lengths", [[1], [2, 1], [17, 50], [1000]])
def test_the_aligner_has_the_weights_of_torch(
    graphs: dict[str, tuple[Any, OnnxSession]], lengths: list[int]
) -> None:
    network, session = graphs["MonotonicAligner"]
    speech = noise(len(lengths), max(lengths), 560)

    [alphas] = session.run({"speech": speech, "speech_lengths": np.array(lengths, np.int32)})

    with torch.inference_mode():
        wanted = network(torch.from_numpy(speech), torch.tensor(lengths)).numpy()
    np.testing.assert_allclose(alphas, wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["CAMPPlus", "ERes2NetV2"])
@pytest.mark.parametrize("shape", [(1, 0), (3, 148), (2, 200), (1, 201), (1, 2000)])
def test_voices_are_those_of_torch(
    graphs: dict[str, tuple[Any, OnnxSession]], name: str, shape: tuple[int, int]
) -> None:
    network, session = graphs[name]
    rows, frames = shape
    speech = noise(rows, frames or network.min_frames, 80)

    [voices] = session.run({"speech": speech})

    wanted = network.embed(speech)
    np.testing.assert_allclose(voices, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("scales", [(1.5, 0.5, 1.0), (1.5, -0.5, 1.0), (0.0, 0.0, -2.0), (1e-12, 1.0, -1.0)])
def test_a_rectified_normalisation_is_a_bend_and_a_linear_layer(scales: tuple[float, ...]) -> None:
    norm, conv = nn.BatchNorm1d(3).eval(), nn.Conv1d(3, 4, 1)
    assert norm.running_mean is not None
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(scales))
        norm.bias.copy_(torch.tensor([0.3, -0.2, 0.1]))
        norm.running_mean.copy_(torch.tensor([0.5, -1.0, 0.0]))
        x = torch.from_numpy(noise(50, 3, 7))

        bent = _RectifiedLinear(norm, conv)(x.transpose(1, 2)).transpose(1, 2)

        torch.testing.assert_close(bent, conv(norm(x).relu()), atol=1e-5, rtol=1e-5)


def test_the_context_of_each_stretch_is_its_mean_and_that_of_all() -> None:
    x = torch.cat([torch.zeros(1, 100, 1), torch.ones(1, 50, 1)], dim=1)
    stretches = _Stretches.of(x)

    torch.testing.assert_close(stretches.context(x), torch.tensor([[[1 / 3], [4 / 3]]]))
    spread = stretches.spread(torch.tensor([[[5.0], [7.0]]]))
    assert spread.flatten().tolist() == [5.0] * 100 + [7.0] * 50


def test_no_normalisation_is_left_of_a_campplus() -> None:
    graph = onnx.load(str(speaker_graph("campplus").path)).graph

    kinds = {node.op_type for node in graph.node}

    assert not kinds & {"BatchNormalization", "ScatterND", "Loop", "If"}


@pytest.mark.parametrize("name", ["CTTransformer", "CAMPPlus", "ERes2NetV2"])
def test_what_integers_would_spoil_stays_float_and_where_nothing_else_is_left_there_is_no_file(
    graphs: dict[str, tuple[Any, OnnxSession]], name: str, tmp_path: Path
) -> None:
    network, session = graphs[name]
    entry = registry.lookup(registry.EXPORTS, name)
    [keep_float] = [graph.keep_float for graph in entry(network)]

    path = tmp_path / "model_quant.onnx"

    made = quantize_graph(session.path, path, keep_float=keep_float)

    # Of voices, all: they are as far from one another as before.
    assert made == path.exists() == (name == "CTTransformer")
    if made:
        nodes = onnx.load(str(path)).graph.node
        changed = [node.name for node in nodes if "MatMulInteger" in node.op_type]
        assert changed
        assert not [one for one in changed if any(part in one for part in keep_float)]
