"""fa-zh through onnxruntime: the weights and times of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funasr.errors import InputError, ModelFilesError
from funasr.stages.aligner import Aligner
from funasr.text.tokenizer import CharTokenizer
from funasr_onnx.aligner import OnnxAligner
from tests.models.test_ct_transformer import network as punctuation
from tests.onnx.graphs import exported, loaded, noise
from tests.small_dirs import aligner_network, make_aligner, seeded_dirs, sound


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_aligner(tmp_path_factory.mktemp("aligner"))
    exported(aligner_network(), path)
    return path


def test_a_batch_has_the_weights_of_each_row_alone_and_of_torch(folder: Path) -> None:
    own, graph = aligner_network(), loaded(folder)
    features, lengths = noise(4, 60, 560), np.array([1, 50, 17, 2])  # the last ten frames are padding of all

    rows = graph.weigh(features, lengths)

    assert isinstance(graph, OnnxAligner)
    assert graph.upsample_rate == own.upsample_rate == 3
    for row, wanted, length in zip(rows, own.weigh(features, lengths), lengths, strict=True):
        index = next(i for i, one in enumerate(rows) if one is row)
        [alone] = graph.weigh(features[index : index + 1, :length], np.array([length]))
        assert row.shape == (3 * length,)
        np.testing.assert_allclose(row, alone, atol=1e-5)
        np.testing.assert_allclose(row, wanted, atol=1e-5)


def test_tokens_have_the_times_of_torch(folder: Path) -> None:
    from funasr.features.config import FrontendConfig
    from funasr.features.frontend import WavFrontend

    frontend = WavFrontend(FrontendConfig(**seeded_dirs.FRONTEND))
    networks: list[Any] = [aligner_network(), loaded(folder)]
    own, graph = (Aligner(one, frontend, CharTokenizer(seeded_dirs.TOKENS)) for one in networks)
    heard = sound(2.0, 1)

    [found] = graph.align([heard], [graph.pieces("今天我们好")])

    [wanted] = own.align([heard], [own.pieces("今天我们好")])
    assert [(t.text, t.start_ms, t.end_ms) for t in found.tokens] == [
        (t.text, t.start_ms, t.end_ms) for t in wanted.tokens
    ]


def test_features_of_another_width_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"takes \(batch, frames, 560\)"):
        loaded(folder).weigh(noise(1, 5, 400), np.array([5]))


def test_settings_must_tell_how_many_weights_a_frame_has(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes().replace(b"upsample_times", b"upsampled"))

    with pytest.raises(ModelFilesError, match="upsample_times None"):
        loaded(tmp_path)


def test_a_graph_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="an aligner has speech, speech_lengths"):
        OnnxAligner(exported(punctuation("CTTransformer"), tmp_path), 3)
