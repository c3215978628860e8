"""CAM++ and ERes2NetV2 through onnxruntime: voices of torch, of a directory, of speech of any length."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from funasr.errors import ModelFilesError
from funasr.stages.speaker import SpeakerEncoder
from funasr_onnx.speaker import OnnxCampplus, OnnxEres2NetV2, SpeakerNetwork
from tests.models.test_ct_transformer import network as punctuation
from tests.models.test_speaker_networks import network
from tests.onnx.graphs import exported, loaded, noise, speaker_graph
from tests.tiny_models import make_campplus

CLASSES: dict[str, type[SpeakerNetwork]] = {"campplus": OnnxCampplus, "eres2netv2": OnnxEres2NetV2}


@pytest.fixture(scope="module")
def pairs() -> dict[str, tuple[Any, SpeakerNetwork]]:
    """Name -> the network in torch and in onnxruntime."""
    return {name: (network(name), cls(speaker_graph(name))) for name, cls in CLASSES.items()}


@pytest.mark.parametrize("name", CLASSES)
def test_sizes_are_those_of_torch(pairs: dict[str, tuple[Any, SpeakerNetwork]], name: str) -> None:
    own, graph = pairs[name]

    assert (graph.size, graph.feature_size, graph.min_frames) == (own.size, own.feature_size, own.min_frames)


@pytest.mark.parametrize("name", CLASSES)
def test_a_batch_gives_what_each_row_gives_alone(
    pairs: dict[str, tuple[Any, SpeakerNetwork]], name: str
) -> None:
    own, graph = pairs[name]
    features = noise(17, 30, 80)

    together = graph.embed(features)

    alone = np.concatenate([graph.embed(row[None]) for row in features])
    np.testing.assert_allclose(together, alone, atol=1e-5 * np.abs(alone).max())
    np.testing.assert_allclose(together, own.embed(features), atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize("name", CLASSES)
def test_no_windows_have_no_voices(pairs: dict[str, tuple[Any, SpeakerNetwork]], name: str) -> None:
    assert pairs[name][1].embed(np.zeros((0, 148, 80), np.float32)).shape == (0, 24)


@pytest.mark.parametrize("name", CLASSES)
def test_utterances_have_the_voices_of_torch(pairs: dict[str, tuple[Any, SpeakerNetwork]], name: str) -> None:
    sounds = [0.1 * noise(samples, seed=samples) for samples in (2000, 16000, 40000)]
    own, graph = (SpeakerEncoder(one) for one in pairs[name])

    for heard, wanted in zip(graph.listen(sounds), own.listen(sounds), strict=True):
        assert heard.windows == wanted.windows
        np.testing.assert_allclose(heard.voices, wanted.voices, atol=1e-5 * np.abs(wanted.voices).max())
    whole = own.embed(sounds)
    np.testing.assert_allclose(graph.embed(sounds), whole, atol=1e-5 * np.abs(whole).max())


def test_a_directory_with_its_graph_opens_by_its_class(tmp_path: Path) -> None:
    make_campplus(tmp_path)
    shutil.copy(speaker_graph("campplus").path, tmp_path)
    features = noise(2, 20, 80)

    opened = loaded(tmp_path)

    assert isinstance(opened, OnnxCampplus)
    np.testing.assert_allclose(opened.embed(features), network("campplus").embed(features), atol=1e-4)


def test_a_graph_of_another_kind_is_refused(tmp_path: Path) -> None:
    session = exported(punctuation("CTTransformer"), tmp_path)

    with pytest.raises(ModelFilesError, match="a speaker network has speech and embedding"):
        OnnxCampplus(session)
