"""Graphs of the Paraformers: what the network in torch says, for any batch, length and hotwords."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funasr import AutoModel
from funasr.errors import InputError, ModelFilesError
from funasr.export.onnx import export_network, write_graph
from funasr.modeldir import ModelDir
from funasr.models.fsmn_vad.export import graphs as vad_graphs
from funasr.models.fsmn_vad.network import FsmnVad
from funasr.stages.protocols import AcousticRow, Hotwords
from funasr_onnx.acoustic import OnnxParaformer, _batches
from funasr_onnx.load import Graphs, load_network
from funasr_onnx.session import OnnxSession
from tests.models.small import CLASSES, hotwords, network, seeded
from tests.tiny_models import make_paraformer, talk

WITH_HOTWORDS = ["SeacoParaformer", "ContextualParaformer"]


Pair = tuple[Any, Any]
"""A network in torch, and its graphs."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    return {name: exported(name, tmp_path_factory.mktemp(name)) for name in CLASSES}


@pytest.fixture(params=CLASSES)
def both(request: pytest.FixtureRequest, pairs: dict[str, Pair]) -> Pair:
    return pairs[request.param]


def exported(name: str, folder: Path) -> Pair:
    (folder / "config.yaml").write_text(f"model: {name}")
    model = network(name)
    export_network(model, folder)
    return model, load_network(ModelDir.open(folder), Graphs(path=folder, intra_op_num_threads=1))


def assert_equal(got: AcousticRow, wanted: AcousticRow) -> None:
    np.testing.assert_array_equal(got.ids, wanted.ids)
    np.testing.assert_allclose(got.confidences, wanted.confidences, atol=1e-4)
    assert got.alphas is not None
    assert wanted.alphas is not None
    np.testing.assert_allclose(got.alphas, wanted.alphas, atol=1e-4)
    assert got.upsample_rate == wanted.upsample_rate


@pytest.mark.parametrize("frames", [1, 2, 23, 400])
def test_a_graph_says_what_the_network_says(both: Pair, frames: int) -> None:
    model, graph = both
    features, lengths = seeded.features(1, frames), np.array([frames])

    (wanted,), (got,) = model.infer(features, lengths), graph.infer(features, lengths)

    assert_equal(got, wanted)
    assert (graph.accepts_hotwords, graph.has_timestamps) == (model.accepts_hotwords, model.has_timestamps)


def test_an_utterance_in_a_batch_is_what_it_is_alone(both: Pair) -> None:
    _, graph = both
    features, lengths = seeded.features(4, 60), np.array([60, 0, 1, 33])

    rows = graph.infer(features, lengths)

    for row, one, length in zip(rows, features, lengths, strict=True):
        assert_equal(row, graph.infer(one[None, :length], np.array([length]))[0])
    assert len(rows[1].ids) == 0


@pytest.mark.parametrize(
    ("lengths", "calls"),
    [
        ([5], [[0]]),
        ([0, 0], []),
        ([320, 320, 100, 0], [[2, 0], [1]]),
        ([700, 10, 20, 30], [[1, 2, 3], [0]]),
        ([160] * 5, [[0, 1, 2, 3], [4]]),
    ],
)
def test_a_call_of_the_graph_has_few_frames_and_rows_of_like_length(
    lengths: list[int], calls: list[list[int]]
) -> None:
    assert [one.tolist() for one in _batches(np.array(lengths))] == calls


@pytest.mark.parametrize("name", WITH_HOTWORDS)
@pytest.mark.parametrize(
    "given",
    [hotwords(0), hotwords(1), hotwords(51), hotwords(300), hotwords(4, weight=3.0, scale=0.5)],
    ids=["none", "one", "51", "300", "weighted"],
)
def test_hotwords_count_as_in_torch(pairs: dict[str, Pair], name: str, given: Hotwords) -> None:
    model, graph = pairs[name]
    features, lengths = seeded.features(2, 40), np.array([40, 25])

    wanted = model.infer(features, lengths, given)

    for got, row in zip(graph.infer(features, lengths, given), wanted, strict=True):
        assert_equal(got, row)


def test_hotwords_change_what_a_small_graph_hears(pairs: dict[str, Pair]) -> None:
    _, graph = pairs["SeacoParaformer"]
    features, lengths = seeded.features(1, 40), np.array([40])

    (without,), (with_some,) = (graph.infer(features, lengths, given) for given in (None, hotwords(3)))

    assert without.ids.tolist() != with_some.ids.tolist()


def test_a_network_is_left_as_it_was(tmp_path: Path) -> None:
    model = network("SeacoParaformer").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    export_network(model, tmp_path)

    assert model.training
    assert all((value == before[name]).all() for name, value in model.state_dict().items())


def test_features_of_another_width_are_refused(both: Pair) -> None:
    with pytest.raises(InputError, match="560"):
        both[1].infer(np.zeros((1, 5, 80), np.float32), np.array([5]))


def test_a_graph_of_another_kind_is_refused(tmp_path: Path) -> None:
    vad = FsmnVad.from_official({"encoder_conf": {"input_dim": 12, "output_dim": 5, "fsmn_layers": 1}})
    path = write_graph(vad_graphs(vad)[0], tmp_path)

    with pytest.raises(ModelFilesError, match="no Paraformer"):
        OnnxParaformer(OnnxSession(path))


def test_a_missing_graph_says_how_to_make_it(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: Paraformer")
    (tmp_path / "model.onnx").write_bytes(b"")

    with pytest.raises(ModelFilesError, match=r"no model_quant.onnx.*funasr-export .*quantize=true"):
        load_network(ModelDir.open(tmp_path), Graphs(path=tmp_path, quantize=True))


def test_a_plain_graph_has_upstreams_outputs_and_coarse_times(tmp_path: Path) -> None:
    made = make_paraformer(tmp_path / "made", "Paraformer")
    AutoModel(model=str(made)).export(output_dir=tmp_path / "out", quantize=True)
    sound = talk(("loud", 1.0))

    def times(folder: str = "out", **engine: Any) -> Any:
        model = AutoModel(model=str(tmp_path / folder), ncpu=1, **engine)
        return model.generate(input=sound, pred_timestamp=True)[0]["timestamp"]

    assert OnnxSession(tmp_path / "out" / "model.onnx").output_names == ("logits", "token_num")
    assert times(engine="onnx") == times("made", engine="torch") != []
    assert times(engine="onnx", quantize=True) != []


def test_times_that_a_graph_does_not_give_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_paraformer(tmp_path / "made", "Paraformer")
    AutoModel(model=str(made)).export(output_dir=tmp_path / "out")
    monkeypatch.setattr("funasr_onnx.acoustic.TOKEN_WEIGHTS", "absent")  # as of upstream's graph

    [record] = AutoModel(model=str(tmp_path / "out"), engine="onnx", ncpu=1).generate(
        input=talk(("loud", 1.0)), pred_timestamp=True
    )

    assert "timestamp" not in record
    assert "engine='torch'" in caplog.text
