"""The graphs of a streaming Paraformer: what torch says, step by step, for streams of all shapes and ages."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import load_model

from funasr.errors import InputError, ModelFilesError
from funasr.export.onnx import export_network, network_graphs, write_graph
from funasr.features.positions import enter
from funasr.models.fsmn_vad.config import FsmnVadConfig
from funasr.models.fsmn_vad.network import FsmnVad
from funasr.models.paraformer.online import ParaformerStreaming
from funasr.stages.protocols import Chunk, ChunkRow, ChunkShape
from funasr.stages.stepping import ParaformerState
from funasr_onnx.session import OnnxSession
from funasr_onnx.streaming import OnnxParaformerStreaming
from tests.models.small import seeded
from tests.models.test_paraformer_online import USUAL, network, shape_of, voice, walk
from tests.onnx.graphs import loaded

FILES = ("model.onnx", "decoder.onnx")
NO_LOOK_BACK = ChunkShape(left=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streaming")
    (path / "config.yaml").write_text(
        "model: ParaformerStreaming\npredictor_conf:\n  tail_threshold: 0.45\n", encoding="utf-8"
    )
    export_network(network(), path)
    return path


@pytest.fixture(scope="module")
def graphs(folder: Path) -> OnnxParaformerStreaming:
    opened: OnnxParaformerStreaming = loaded(folder)
    return opened


@pytest.fixture(scope="module")
def official(folder: Path) -> OnnxParaformerStreaming:
    """As those see the files who do not know what else is in them: that is how upstream's are."""
    encoder, decoder = (OnnxSession(folder / name, intra_op_num_threads=1) for name in FILES)
    return OnnxParaformerStreaming(encoder, decoder)


def assert_same(one: tuple[ChunkRow, ParaformerState], other: tuple[ChunkRow, ParaformerState]) -> None:
    (row, state), (wanted, wanted_state) = one, other
    np.testing.assert_array_equal(row.ids, wanted.ids)
    np.testing.assert_allclose(row.confidences, wanted.confidences, atol=1e-4)
    np.testing.assert_allclose(row.ends, wanted.ends, atol=1e-4)
    assert (state.shape, state.frames) == (wanted_state.shape, wanted_state.frames)
    assert state.weight == pytest.approx(wanted_state.weight, abs=1e-5)
    for name in ("window", "encoder", "token", "spoken", "heard"):
        got, expected = (np.asarray(getattr(some, name)) for some in (state, wanted_state))
        np.testing.assert_allclose(got, expected, atol=1e-4, err_msg=name)


def test_the_files_have_upstreams_inputs_and_outputs(folder: Path) -> None:
    encoder, decoder = (OnnxSession(folder / name, intra_op_num_threads=1) for name in FILES)

    assert list(encoder.input_shapes) == ["speech", "speech_lengths"]
    assert encoder.output_names == ("enc", "enc_len", "alphas")
    assert list(decoder.input_shapes) == [
        "enc",
        "enc_len",
        "acoustic_embeds",
        "acoustic_embeds_len",
        "in_cache_0",
        "in_cache_1",
    ]
    assert decoder.output_names == ("logits", "sample_ids", "out_cache_0", "out_cache_1")
    assert decoder.input_shapes["in_cache_1"][1:] == [seeded.SIZE, 10]
    assert list(encoder.optional_inputs) == list(decoder.optional_inputs) == ["past", "past_lengths"]


def test_the_graphs_have_no_loops(folder: Path) -> None:
    for name in FILES:
        kinds = {node.op_type for node in load_model(folder / name).graph.node}

        assert not kinds & {"Loop", "Scan", "If"}


@pytest.mark.parametrize("number", range(len(seeded.STREAMS)))
def test_every_step_is_that_of_torch(number: int, folder: Path, graphs: OnnxParaformerStreaming) -> None:
    model = network()
    if number == seeded.QUIET:  # says nothing in some chunks
        model = network(seeded.QUIET_BIAS)
        graphs = reexported(model, folder)
    chunks, shape = seeded.stream_chunks(number), shape_of(number)

    wanted = walk(model, chunks, shape)

    for step, expected in zip(walk(graphs, chunks, shape), wanted, strict=True):
        assert_same(step, expected)


def reexported(model: ParaformerStreaming, folder: Path) -> OnnxParaformerStreaming:
    other = folder / "quiet"
    export_network(model, other)
    (other / "config.yaml").write_text((folder / "config.yaml").read_text())
    opened: OnnxParaformerStreaming = loaded(other)
    return opened


def test_streams_of_all_ages_step_together_as_each_does_alone(graphs: OnnxParaformerStreaming) -> None:
    streams = [voice(number, number % 6, (3, 10, 0, 7)[number % 4]) for number in range(6)]
    alone = [walk(graphs, chunks) for chunks in streams]

    # Each starts a step after the one before, so that histories of every length meet.
    states = [graphs.initial_state(USUAL) for _ in streams]
    for step in range(12):
        due = [i for i, chunks in enumerate(streams) if 0 <= step - i < len(chunks)]
        given = [
            Chunk(features=streams[i][step - i], state=states[i], final=step - i == len(streams[i]) - 1)
            for i in due
        ]
        for i, said in zip(due, graphs.step(given), strict=True):
            states[i] = said[1]
            assert_same(said, alone[i][step - i])


def test_a_state_of_one_back_end_goes_on_in_the_other(graphs: OnnxParaformerStreaming) -> None:
    model, chunks = network(), voice(0, 4)
    wanted = walk(model, chunks)

    state = pickle.loads(pickle.dumps(wanted[1][1]))
    third = graphs.step([Chunk(features=chunks[2], state=state)])[0]
    fourth = model.step([Chunk(features=chunks[3], state=pickle.loads(pickle.dumps(third[1])))])[0]

    assert_same(third, wanted[2])
    assert_same(fourth, wanted[3])


def test_graphs_that_do_not_tell_what_they_heard_step_without_looking_back(
    official: OnnxParaformerStreaming,
) -> None:
    model = network()
    streams = [voice(number, 2 + number, 4) for number in range(3)]
    wanted = [walk(model, chunks, NO_LOOK_BACK) for chunks in streams]

    # Together: rows of one call say as many words as each says alone.
    states = [official.initial_state(NO_LOOK_BACK) for _ in streams]
    for step in range(3):
        given = [
            Chunk(features=chunks[step], state=state, final=step == len(chunks) - 1)
            for chunks, state in zip(streams, states, strict=True)
        ]
        for i, (row, state) in enumerate(official.step(given)):
            states[i] = state
            np.testing.assert_array_equal(row.ids, wanted[i][step][0].ids)
            np.testing.assert_allclose(np.asarray(state.spoken), wanted[i][step][1].spoken, atol=1e-4)


@pytest.mark.parametrize("shape", [USUAL, ChunkShape(encoder_look_back=-1), ChunkShape(decoder_look_back=1)])
def test_graphs_that_cannot_look_back_say_what_can(
    official: OnnxParaformerStreaming, shape: ChunkShape
) -> None:
    assert not official.supports_look_back

    with pytest.raises(InputError, match=r"encoder_look_back.*funasr-export.*engine='torch'"):
        official.initial_state(shape)


def test_lengths_from_nothing_to_a_minute_and_rows_of_unequal_length(folder: Path) -> None:
    session = OnnxSession(folder / "model.onnx", intra_op_num_threads=1)
    rng = np.random.default_rng(0)
    for frames in (1, 2, 15, 1000):
        speech = rng.standard_normal((2, frames, seeded.INPUT)).astype(np.float32)
        lengths = np.array([frames, max(frames - 7, 1)], dtype=np.int32)

        memory, _, weights = session.run({"speech": speech, "speech_lengths": lengths})

        for row, length in enumerate(lengths):
            alone = {"speech": speech[row : row + 1, :length], "speech_lengths": lengths[row : row + 1]}
            one, _, one_weights = session.run(alone)
            np.testing.assert_allclose(memory[row, :length], one[0], atol=2e-5)
            # A weight sees one frame further, which upstream's encoder does not hide either.
            np.testing.assert_allclose(weights[row, : length - 1], one_weights[0, : length - 1], atol=2e-5)
            assert not weights[row, length:].any()


def test_positions_are_those_of_torchs_encoder() -> None:
    rows, starts = seeded.features(3, 10), np.array([1.0, 411.0, 90_001.0], dtype=np.float32)
    model = network()

    entered = enter(rows, starts, float(np.sqrt(seeded.SIZE)))

    wanted = model.encoder.enter(torch.from_numpy(rows), torch.from_numpy(starts)).numpy()
    np.testing.assert_allclose(entered[:2], wanted[:2], atol=1e-4)
    np.testing.assert_allclose(entered[2], wanted[2], atol=2e-2)  # an angle of 90,000 has no more digits


def test_other_graphs_are_refused(tmp_path: Path) -> None:
    for graph in network_graphs(FsmnVad(FsmnVadConfig())):
        write_graph(graph, tmp_path)
    session = OnnxSession(tmp_path / "model.onnx", intra_op_num_threads=1)

    with pytest.raises(ModelFilesError, match="no streaming Paraformer"):
        OnnxParaformerStreaming(session, session)


def test_outputs_that_a_file_does_not_know_are_left_out(tmp_path: Path) -> None:
    for graph in network_graphs(FsmnVad(FsmnVadConfig())):
        write_graph(graph, tmp_path)

    session = OnnxSession(tmp_path / "model.onnx", intra_op_num_threads=1, further=["out_past"])

    assert "out_past" not in session.output_names
