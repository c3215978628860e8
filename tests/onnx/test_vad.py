from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from funasr.errors import ModelFilesError
from funasr.export.onnx import export_network
from funasr.models.fsmn_vad.config import FsmnVadConfig
from funasr.models.fsmn_vad.network import FsmnVad
from funasr_onnx import Fsmn_vad, Fsmn_vad_online
from funasr_onnx.networks import FsmnVadScorer
from funasr_onnx.session import OnnxSession


@pytest.fixture(scope="module")
def network() -> FsmnVad:
    torch.manual_seed(5)
    return FsmnVad(FsmnVadConfig()).eval()


@pytest.fixture(scope="module")
def graph(network: FsmnVad, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vad") / "model.onnx"
    export_network(network, path.parent)
    return path


def test_the_graph_has_upstreams_names_and_shapes(graph: Path) -> None:
    session = OnnxSession(graph, intra_op_num_threads=1)

    assert list(session.input_shapes) == ["speech", "in_cache0", "in_cache1", "in_cache2", "in_cache3"]
    assert session.input_shapes["speech"][2] == 400
    assert session.input_shapes["in_cache3"][1:] == [128, 19, 1]
    assert session.output_names == ("logits", "out_cache0", "out_cache1", "out_cache2", "out_cache3")


def test_onnx_scores_equal_torch_in_chunks_and_batches(network: FsmnVad, graph: Path) -> None:
    scorer = FsmnVadScorer(OnnxSession(graph, intra_op_num_threads=1))
    features = np.random.default_rng(0).standard_normal((3, 150, 400)).astype(np.float32)
    expected, _ = network.score(features, network.initial_state(3))

    state, parts = scorer.initial_state(3), []
    for chunk in np.split(features, [7, 8, 100], axis=1):
        scores, state = scorer.score(chunk, state)
        parts.append(scores)

    np.testing.assert_allclose(np.concatenate(parts, axis=1), expected, atol=1e-5)


def test_exporting_leaves_the_network_as_it_was(network: FsmnVad, tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    export_network(network.train(), tmp_path)

    assert network.training
    assert all(torch.equal(weight, before[name]) for name, weight in network.eval().state_dict().items())


def test_a_missing_or_foreign_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="no ONNX graph"):
        OnnxSession(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelFilesError, match="cannot load"):
        OnnxSession(tmp_path / "model.onnx")


# Released weights


@pytest.fixture(scope="module")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released ONNX files in the layout of a model directory."""
    models = shared / "data" / "models"
    path = tmp_path_factory.mktemp("fsmn-vad")
    for name in ("config.yaml", "am.mvn"):
        (path / name).symlink_to(models / "fsmn-vad-official" / name)
    (path / "model.onnx").symlink_to(models / "fsmn-vad" / "fsmnvad-online.onnx")
    return path


@pytest.fixture(scope="module")
def wav(shared: Path) -> Path:
    return shared / "data" / "vad" / "fsmn_example" / "wavs" / "vad_example.wav"


@pytest.fixture(scope="module")
def samples(wav: Path) -> NDArray[np.float32]:
    import soundfile

    read: NDArray[np.float32] = soundfile.read(wav, dtype="float32")[0]
    return read


@pytest.fixture(scope="module")
def expected(wav: Path) -> list[list[int]]:
    segments: list[list[int]] = json.loads((wav.parent.parent / "expected_segments_ms.json").read_text())[
        "vad_example"
    ]
    return segments


def test_fsmn_vad_gives_the_published_segments(
    folder: Path, wav: Path, samples: NDArray[np.float32], expected: list[list[int]]
) -> None:
    vad = Fsmn_vad(str(folder), intra_op_num_threads=1)

    assert vad(samples) == [expected]
    assert vad([str(wav), str(wav)]) == [expected, expected]


def test_the_released_graph_without_memory_gives_the_same_whole_and_live(
    shared: Path, folder: Path, tmp_path: Path, samples: NDArray[np.float32], expected: list[list[int]]
) -> None:
    for name in ("config.yaml", "am.mvn"):
        (tmp_path / name).symlink_to(folder / name)
    graph = shared / "data" / "models" / "fsmn-vad" / "fsmnvad-offline.onnx"
    (tmp_path / "fsmnvad-offline.onnx").symlink_to(graph)

    assert Fsmn_vad(tmp_path, intra_op_num_threads=1)(samples) == [expected]
    part = samples[: 16000 * 20]
    streams = [Fsmn_vad_online(path, intra_op_num_threads=1) for path in (tmp_path, folder)]
    memories: list[dict[str, object]] = [{}, {}]
    for start in range(0, len(part), 9600):
        chunk, last = part[start : start + 9600], start + 9600 >= len(part)
        for memory in memories:
            memory["is_final"] = last
        told = [stream(chunk, param_dict=memory) for stream, memory in zip(streams, memories, strict=True)]
        assert told[0] == told[1]


def test_max_end_sil_is_the_silence_that_ends_a_segment(
    folder: Path, samples: NDArray[np.float32], expected: list[list[int]]
) -> None:
    shorter = Fsmn_vad(folder, intra_op_num_threads=1, max_end_sil=300)(samples[: 16000 * 30])[0]

    assert len(shorter) > sum(end <= 30_000 for _, end in expected)


def test_fsmn_vad_online_tells_starts_and_ends_as_they_come(
    folder: Path, samples: NDArray[np.float32], expected: list[list[int]]
) -> None:
    vad = Fsmn_vad_online(folder, intra_op_num_threads=1)
    param_dict: dict[str, object] = {"in_cache": []}
    told: list[list[int]] = []
    for start in range(0, len(samples), 3200):
        param_dict["is_final"] = start + 3200 >= len(samples)
        for item in vad(samples[start : start + 3200], param_dict=param_dict):
            told += item

    assert [start for start, _ in told if start != -1] == [start for start, _ in expected]
    assert [end for _, end in told if end != -1] == [end for _, end in expected]
    assert told[0] == [70, -1]
    # The same dictionary serves the next utterance.
    param_dict["is_final"] = True
    assert vad(samples[: 16000 * 5], param_dict=param_dict)[0][0][0] == 70


def test_one_detector_serves_many_threads(folder: Path, samples: NDArray[np.float32]) -> None:
    vad = Fsmn_vad(folder, intra_op_num_threads=1)
    parts = [samples[16000 * at : 16000 * (at + 20)] for at in range(0, 48, 6)]
    serial = [vad(part) for part in parts]
    got: list[object] = [None] * len(parts)

    def work(at: int) -> None:
        got[at] = vad(parts[at])

    threads = [threading.Thread(target=work, args=(at,)) for at in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got == serial


def test_a_directory_without_a_graph_says_how_to_make_one(folder: Path, tmp_path: Path) -> None:
    for name in ("config.yaml", "am.mvn"):
        (tmp_path / name).symlink_to(folder / name)

    with pytest.raises(ModelFilesError, match=r"model\.onnx"):
        Fsmn_vad(tmp_path)
