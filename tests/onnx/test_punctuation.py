"""ct-punc through onnxruntime: the labels of torch, texts on their own, graphs of upstream's making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from funasr.errors import ModelFilesError
from funasr.export.onnx import export_network, write_graph
from funasr.models.ct_transformer import export
from funasr.models.ct_transformer.online import CTTransformerStreaming
from funasr.nn.graph import Graph
from funasr.stages.punctuation import Punctuator
from funasr.text.words import WordVocabulary
from funasr_onnx.punctuation import WORDS_AT_ONCE, OnnxPunctuation
from funasr_onnx.session import OnnxSession
from tests.models.test_ct_transformer import network, punc_dirs
from tests.onnx.graphs import exported, loaded
from tests.tiny_models import make_ct_punc

LONG = "今天天气很不错我们去公园玩吧 happy new year 明年再见" * 7
TEXTS = ["", "好", LONG, "hello it's ok", "我们学校" * 30]
CLASSES = ("CTTransformer", "CTTransformerStreaming")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, OnnxPunctuation]]:
    """Class -> its network in torch and in onnxruntime."""
    folder = tmp_path_factory.mktemp("punctuation")
    return {
        name: (network(name), OnnxPunctuation(exported(network(name), folder / name))) for name in CLASSES
    }


@pytest.mark.parametrize("name", CLASSES)
def test_texts_are_punctuated_as_by_torch(pairs: dict[str, tuple[Any, OnnxPunctuation]], name: str) -> None:
    vocabulary = WordVocabulary(punc_dirs.TOKENS)
    live = name == "CTTransformerStreaming"
    own, graph = (Punctuator(one, vocabulary, live=live) for one in pairs[name])

    results = graph.punctuate(TEXTS)

    assert results == own.punctuate(TEXTS)
    assert len({label for one in results for label in one.labels}) > 2


def test_live_texts_go_on_as_in_torch(pairs: dict[str, tuple[Any, OnnxPunctuation]]) -> None:
    vocabulary = WordVocabulary(punc_dirs.TOKENS)
    streams = [Punctuator(one, vocabulary, live=True).stream() for one in pairs["CTTransformerStreaming"]]

    for text in ("今天天气", "", "很不错我们去公园玩吧", "hello", "明年再见" * 10):
        own, graph = (stream.accept(text) for stream in streams)
        assert graph == own


@pytest.mark.parametrize("name", CLASSES)
def test_a_batch_has_the_labels_of_each_row_alone(
    pairs: dict[str, tuple[Any, OnnxPunctuation]], name: str
) -> None:
    own, graph = pairs[name]
    rows = 2 * WORDS_AT_ONCE // 30 + 3  # in three parts
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 50, (rows, 30))
    lengths, boundaries = rng.integers(1, 31, rows), rng.integers(0, 31, rows)

    labels = graph.label(ids, lengths, boundaries)

    wanted = own.label(ids, lengths, boundaries)
    for row, length in enumerate(lengths.tolist()):
        only = slice(row, row + 1)
        alone = graph.label(ids[only, :length], lengths[only], boundaries[only])
        assert labels[row, :length].tolist() == alone[0].tolist() == wanted[row, :length].tolist()


def test_upstreams_graph_of_one_live_text_takes_many(tmp_path: Path) -> None:
    own = network("CTTransformerStreaming")
    assert isinstance(own, CTTransformerStreaming)
    [graph] = export.graphs(own)
    single = {name: {axis: size for axis, size in axes.items() if axis} for name, axes in graph.axes.items()}
    object.__setattr__(graph, "axes", single)
    object.__setattr__(graph, "example", tuple(one[:1] for one in graph.example))
    session = OnnxSession(write_graph(graph, tmp_path), intra_op_num_threads=1)
    ids, lengths = np.random.default_rng(3).integers(0, 50, (3, 9)), np.array([9, 4, 9])

    labels = OnnxPunctuation(session).label(ids, lengths, np.array([3, 2, 0]))

    assert session.input_shapes["inputs"][0] == 1
    wanted = own.label(ids, lengths, np.array([3, 2, 0]))
    assert (labels == wanted)[np.arange(9) < lengths[:, None]].all()


@pytest.mark.parametrize("name", CLASSES)
def test_a_directory_with_its_graph_opens_by_its_class(tmp_path: Path, name: str) -> None:
    make_ct_punc(tmp_path, name)
    own = network(name)
    export_network(own, tmp_path)

    labels = loaded(tmp_path).label(np.array([[1, 2, 3]]), np.array([3]))

    assert labels.tolist() == own.label(np.array([[1, 2, 3]]), np.array([3])).tolist()


def test_a_graph_of_another_kind_is_refused(tmp_path: Path) -> None:
    graph = Graph(
        name="model", module=nn.ReLU(), example=(torch.zeros(1),), inputs=("x",), outputs=("y",), axes={}
    )

    with pytest.raises(ModelFilesError, match="has the inputs x: a CT-Transformer has inputs"):
        OnnxPunctuation(OnnxSession(write_graph(graph, tmp_path), intra_op_num_threads=1))
