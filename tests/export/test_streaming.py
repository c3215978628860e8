"""An exported streaming Paraformer: integers say the same words, and upstream's class runs the directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funasr.errors import OptionError
from funasr.export.onnx import export_network, network_graphs
from funasr.export.quantize import quantize_graph
from funasr.modeldir import ModelDir
from funasr.models.paraformer.online import ParaformerStreaming
from funasr.nn.weights import load_weights
from funasr.stages.protocols import Chunk, ChunkShape
from funasr_onnx.load import Graphs
from funasr_onnx.paraformer_online_bin import Paraformer
from funasr_onnx.streaming import OnnxParaformerStreaming
from funasr_onnx.utils.postprocess_utils import sentence_postprocess
from tests.models.test_paraformer_online import network, voice, walk
from tests.small_dirs import make_streaming, sound

SOUND = sound(3.1, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_streaming(tmp_path_factory.mktemp("streaming"))
    model = ModelDir.open(path)
    assert model.weights is not None
    tokens = json.loads((path / "tokens.json").read_text(encoding="utf-8"))
    made = ParaformerStreaming.from_official(model.config, len(tokens), 560)
    load_weights(made, model.weights)
    export_network(made, path)
    return path


def calls(model: Paraformer, samples: np.ndarray, piece: int) -> list[Any]:
    param: dict[str, Any] = {"cache": {}, "is_final": False}
    said = []
    for start in range(0, len(samples), piece):
        param["is_final"] = start + piece >= len(samples)
        said.append(model(audio_in=samples[start : start + piece], param_dict=param))
    assert param["cache"] == {}
    return said


def test_integers_say_nearly_the_same(tmp_path: Path) -> None:
    model = network()
    for graph, path in zip(network_graphs(model), export_network(model, tmp_path), strict=True):
        quantize_graph(path, tmp_path / f"{graph.name}_quant.onnx", keep_float=graph.keep_float)
    (tmp_path / "config.yaml").write_text("predictor_conf:\n  tail_threshold: 0.45\n")
    graphs = Graphs(path=tmp_path, quantize=True, intra_op_num_threads=1)
    opened = OnnxParaformerStreaming.of(ModelDir.open(tmp_path), graphs)
    chunks = voice(0, 4)

    rows = [row for row, _ in walk(opened, chunks)]

    wanted = [row for row, _ in walk(model, chunks)]
    assert abs(sum(len(row.ids) for row in rows) - sum(len(row.ids) for row in wanted)) <= 1
    assert opened.supports_look_back


def test_the_documented_loop_runs_as_written(folder: Path) -> None:
    model = Paraformer(folder, intra_op_num_threads=1)

    said = calls(model, SOUND, 9600)

    found = [one["preds"] for call in said for one in call]
    assert found
    for text, words in found:
        assert "".join(words) == text.replace(" ", "")


def test_pieces_of_any_size_wait_for_a_chunk(folder: Path) -> None:
    model, samples = Paraformer(folder, intra_op_num_threads=1), SOUND

    small = [one["preds"][0] for call in calls(model, samples, 1000) for one in call]

    assert "".join(small) == "".join(one["preds"][0] for call in calls(model, samples, 9600) for one in call)
    assert model(audio_in=samples[:500], param_dict={"cache": {}, "is_final": True}) == []


def test_calls_before_the_last_say_what_the_network_says(folder: Path) -> None:
    model, samples = Paraformer(folder, intra_op_num_threads=1), SOUND
    shape = ChunkShape(left=5)
    frontend, state = model._frontend.online(), model._network.initial_state(shape)

    said = calls(model, samples, 9600)

    for start in range(0, len(samples) - 9600, 9600):
        features = frontend.accept(samples[start : start + 9600])
        [(row, state)] = model._network.step([Chunk(features=features, state=state)])
        kept = model._tokenizer.tokens([int(id_) for id_ in row.ids if id_ not in (0, 1, 2)])
        words = [word for one in said[start // 9600] for word in one["preds"][1]]
        assert words == sentence_postprocess(kept)[1]


@pytest.mark.parametrize(
    "memory", [5, {}, {"is_final": True}, {"cache": None}, {"cache": {"stream": 5}, "is_final": True}]
)
def test_a_memory_that_is_none_is_told_with_an_example(folder: Path, memory: Any) -> None:
    with pytest.raises(OptionError, match=r'param_dict.* is .*param_dict = \{"cache": \{\}, "is_final": Fa'):
        Paraformer(folder)(np.zeros(9600, np.float32), param_dict=memory)


@pytest.mark.parametrize("size", [(5, 10), (0, 0, 0), (5, -1, 5), "5,10,5", 5, None, (5, 10.5, 5)])
def test_chunks_that_cannot_be_are_told(folder: Path, size: Any) -> None:
    with pytest.raises(OptionError, match=r"chunk_size is .*such as \[0, 10, 5\]"):
        Paraformer(folder, chunk_size=size)
