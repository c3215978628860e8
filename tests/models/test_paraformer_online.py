"""The streaming network: equal to the reference step by step, and each stream what it is alone."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from funasr.errors import InputError, ModelFilesError
from funasr.models.paraformer.online import ParaformerStreaming
from funasr.nn.packed import prepare_for_inference
from funasr.nn.weights import unallocated
from funasr.stages.protocols import Chunk, ChunkRow, ChunkShape
from funasr.stages.stepping import ParaformerState, ParaformerSteps
from tests.models.small import golden, seeded
from tests.models.test_paraformer_shapes import full_config, listed_shapes

USUAL = ChunkShape(encoder_look_back=4, decoder_look_back=1)


def network(bias: float | None = None) -> ParaformerStreaming:
    model = ParaformerStreaming.from_official(
        seeded.config("ParaformerStreaming"), seeded.VOCAB, seeded.INPUT
    ).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(value) for key, value in seeded.weights(shapes).items()})
    if bias is not None:
        torch.nn.init.constant_(model.predictor.cif_output.bias, bias)
    return model


def shape_of(number: int) -> ChunkShape:
    (left, size, right), (encoder, decoder), _ = seeded.STREAMS[number]
    return ChunkShape(left=left, size=size, right=right, encoder_look_back=encoder, decoder_look_back=decoder)


def walk(
    model: ParaformerSteps, chunks: list[np.ndarray], shape: ChunkShape = USUAL
) -> list[tuple[ChunkRow, ParaformerState]]:
    """A whole stream by itself: what each step gave."""
    done, state = [], model.initial_state(shape)
    for number, features in enumerate(chunks):
        chunk = Chunk(features=features, state=state, final=number == len(chunks) - 1)
        done += model.step([chunk])
        state = done[-1][1]
    return done


def voice(number: int, chunks: int, last: int = 10) -> list[np.ndarray]:
    """The chunks of a made-up stream of the usual shape."""
    rng = np.random.default_rng(number)
    return [rng.standard_normal((rows, seeded.INPUT)).astype(np.float32) for rows in [10] * chunks + [last]]


def tensors(state: ParaformerState) -> list[torch.Tensor]:
    return [state.window, state.encoder, state.token, state.spoken, state.heard]


def assert_rows_equal(one: ChunkRow, other: ChunkRow) -> None:
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_allclose(one.confidences, other.confidences, atol=1e-5)
    np.testing.assert_allclose(one.ends, other.ends, atol=1e-4)


def assert_states_equal(one: ParaformerState, other: ParaformerState) -> None:
    assert (one.shape, one.frames) == (other.shape, other.frames)
    assert one.weight == pytest.approx(other.weight, abs=1e-5)
    for a, b in zip(tensors(one), tensors(other), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


# --------------------------------------------------------------------------------------------- the reference


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("number", range(len(seeded.STREAMS)))
def test_every_step_says_what_the_reference_says(number: int, packed: bool) -> None:
    model = network(seeded.QUIET_BIAS if number == seeded.QUIET else None)
    if packed:
        prepare_for_inference(model)
    wanted = golden("ParaformerStreaming")

    rows = [row for row, _ in walk(model, seeded.stream_chunks(number), shape_of(number))]

    log_probs = wanted[f"log_probs_{number}"]
    assert [len(row.ids) for row in rows] == wanted[f"counts_{number}"].tolist()
    np.testing.assert_array_equal(np.concatenate([row.ids for row in rows]), log_probs.argmax(-1))
    confidences = np.concatenate([row.confidences for row in rows])
    np.testing.assert_allclose(confidences, np.exp(log_probs.max(-1)), atol=1e-5)


def test_some_chunks_of_the_golden_streams_say_nothing() -> None:
    assert 0 in golden("ParaformerStreaming")[f"counts_{seeded.QUIET}"]


def test_windows_are_encoded_as_the_reference_does(monkeypatch: pytest.MonkeyPatch) -> None:
    model, number = network(), 4
    seen: list[np.ndarray] = []
    encode = model.encoder.step

    def listen(*arguments: Any) -> Any:
        heard = encode(*arguments)
        seen.append(heard[0][0])
        return heard

    monkeypatch.setattr(model.encoder, "step", listen)
    walk(model, seeded.stream_chunks(number), shape_of(number))

    wanted = golden("ParaformerStreaming")[f"memory_{number}"]
    np.testing.assert_allclose(np.concatenate(seen), wanted, atol=1e-5)


def test_parameters_have_their_official_names_and_shapes() -> None:
    raw = full_config("ParaformerStreaming")
    with unallocated():
        own = ParaformerStreaming.from_official(raw, 8404, 560).state_dict()

    # As upstream's class has them: those of a Paraformer.
    assert {name: list(value.shape) for name, value in own.items()} == listed_shapes("paraformer")


def test_the_list_of_parameters_is_the_streaming_one_too(shared: Path) -> None:
    path = shared / "reference" / "shapes" / "paraformer-streaming-full.json"
    full = json.loads(path.read_text())

    assert listed_shapes("paraformer") == {name: entry[0] for name, entry in full.items()}


# ----------------------------------------------------------------------------------------- where tokens fire


def even_weights(model: ParaformerStreaming, weight: float) -> ParaformerStreaming:
    """The network with a predictor that gives every frame that weight."""
    with torch.no_grad():
        model.predictor.cif_output.weight.zero_()
        model.predictor.cif_output.bias.fill_(float(np.log(weight / (1 - weight))))
    return model


@pytest.mark.parametrize("left", [0, 5])
def test_a_token_ends_where_the_weights_of_the_sound_reach_one(left: int) -> None:
    # Chunks of 10 and a look-ahead of 5: chunk 0 decides frames -5 to 4, chunk 1 5 to 14, the last 15 to 19.
    # At 0.27 a frame the sum reaches k after k / 0.27 frames: at -1.30, 2.41, 6.11, 9.81, 13.52 and 17.22.
    # What is left, 0.75, and the tail's 0.45 are another token, which ends with the sound.
    model = even_weights(network(), 0.27)
    shape = ChunkShape(left=left, encoder_look_back=4, decoder_look_back=1)

    rows = [row for row, _ in walk(model, voice(0, 2, 0), shape)]

    np.testing.assert_allclose(rows[0].ends, [0.0, 2.407], atol=1e-3)  # no end lies before the stream
    np.testing.assert_allclose(rows[1].ends, [6.111, 9.815, 13.519], atol=1e-3)
    np.testing.assert_allclose(rows[2].ends, [17.222, 20.0], atol=1e-3)


def test_ends_never_fall_and_stay_in_the_sound() -> None:
    for number in range(len(seeded.STREAMS)):
        chunks = seeded.stream_chunks(number)

        ends = np.concatenate([row.ends for row, _ in walk(network(), chunks, shape_of(number))])

        assert (np.diff(ends) >= 0).all()
        assert ends[0] >= 0
        assert ends[-1] <= sum(map(len, chunks))


def test_a_stream_of_a_day_still_tells_frames_apart() -> None:
    model = even_weights(network(), 0.27)
    state = walk(model, voice(0, 2))[1][1]
    frames = 24 * 60 * 60 * 1000 // 60
    old = ParaformerState(
        **{name: getattr(state, name) for name in ParaformerState.__slots__} | {"frames": frames}
    )

    (early, _), (late, _) = model.step([Chunk(features=voice(1, 0)[0], state=some) for some in (state, old)])

    np.testing.assert_allclose(late.ends - frames, early.ends - state.frames, atol=0.1)


# ---------------------------------------------------------------------------------------------- many streams


@pytest.mark.parametrize("packed", [False, True])
def test_streams_of_all_ages_step_together_as_each_does_alone(packed: bool) -> None:
    model = network()
    if packed:
        prepare_for_inference(model)
    shapes = [USUAL, USUAL, shape_of(3), shape_of(1), USUAL, shape_of(2), USUAL, shape_of(5)]
    streams = []
    for number, shape in enumerate(shapes):
        last = (3, 10, 0, 7, 0, 1, 10, 2)[number]
        rows = seeded.features(8, 90)[number]
        chunks = np.split(rows[: shape.size * (number % 6) + last], range(shape.size, 90, shape.size))
        streams.append([chunk for chunk in chunks if len(chunk)] + ([] if last else [rows[:0]]))
    alone = [walk(model, chunks, shape) for chunks, shape in zip(streams, shapes, strict=True)]

    # Each starts a step after the one before, so that histories of every length meet.
    states = [model.initial_state(shape) for shape in shapes]
    for step in range(16):
        due = [i for i, chunks in enumerate(streams) if 0 <= step - i < len(chunks)]
        given = [
            Chunk(features=streams[i][step - i], state=states[i], final=step - i == len(streams[i]) - 1)
            for i in due
        ]
        for i, (row, state) in zip(due, model.step(given), strict=True):
            states[i] = state
            assert_rows_equal(row, alone[i][step - i][0])
            assert_states_equal(state, alone[i][step - i][1])


def test_no_chunks_are_no_answers() -> None:
    assert network().step([]) == []


def test_threads_share_one_network() -> None:
    model = prepare_for_inference(network())
    assert isinstance(model, ParaformerStreaming)
    streams = [voice(number, 4, 3) for number in range(8)]
    alone = [walk(model, chunks) for chunks in streams]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda chunks: walk(model, chunks), streams))

    for one, other in zip(alone, together, strict=True):
        for (row, _), (wanted, _) in zip(other, one, strict=True):
            assert_rows_equal(row, wanted)


# ---------------------------------------------------------------------------------------------------- states


def test_an_old_state_stays_valid() -> None:
    model, chunks = network(), voice(0, 3)
    done = walk(model, chunks)
    before = [tensor.clone() for tensor in tensors(done[1][1])]

    again = [model.step([Chunk(features=chunks[2], state=done[1][1])])[0] for _ in range(2)]

    for row, state in again:
        assert_rows_equal(row, done[2][0])
        assert_states_equal(state, done[2][1])
    for tensor, was in zip(tensors(done[1][1]), before, strict=True):
        assert torch.equal(tensor, was)


def test_a_pickled_state_goes_on_elsewhere() -> None:
    chunks = voice(0, 4)
    done = walk(network(), chunks)

    state = pickle.loads(pickle.dumps(done[2][1]))
    assert isinstance(state.encoder, np.ndarray)  # of no back end and no device
    row, state = network().step([Chunk(features=chunks[3], state=state)])[0]

    assert_rows_equal(row, done[3][0])
    assert_states_equal(state, done[3][1])


@pytest.mark.parametrize("number", range(6))
def test_a_state_holds_its_own_numbers_and_no_more(number: int) -> None:
    shape = shape_of(number)
    rows = np.split(seeded.features(1, 30 * shape.size)[0], 30)

    sizes = []
    for _, state in walk(network(), [*rows, rows[0][:0]], shape)[:-1]:
        for tensor in tensors(state):
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
        assert len(pickle.dumps(state)) < state.nbytes + 4000
        sizes.append(state.nbytes)

    if shape.encoder_look_back < 0:
        assert sizes[-1] > 2 * sizes[9]  # as documented: without bound
    else:
        assert sizes[9:] == sizes[9:10] * 21


def test_after_the_last_chunk_a_stream_is_as_new() -> None:
    model = network()

    state = walk(model, voice(0, 3))[-1][1]

    assert_states_equal(state, model.initial_state(USUAL))


def test_a_state_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        network().initial_state(USUAL).frames = 3  # type: ignore[misc]


# --------------------------------------------------------------------------------------------- the odd cases


def test_a_stream_of_nothing_says_nothing_but_what_zeros_say() -> None:
    rows = walk(network(seeded.QUIET_BIAS), [np.zeros((0, seeded.INPUT), dtype=np.float32)])

    assert rows[0][0].ids.tolist() == []
    assert rows[0][0].ends.dtype == np.float32


@pytest.mark.parametrize("left", [0, 3])
def test_a_shape_need_not_look_ahead(left: int) -> None:
    shape = ChunkShape(left=left, right=0, encoder_look_back=2, decoder_look_back=1)
    model = even_weights(network(), 0.27)

    rows = [row for row, _ in walk(model, voice(0, 2, 0), shape)]

    assert [len(row.ids) for row in rows] == [2, 3, 0]
    np.testing.assert_allclose(rows[1].ends, [11.111, 14.815, 18.519], atol=1e-3)


def test_a_tail_with_nothing_to_look_at_is_still_said() -> None:
    # Nothing ahead, nothing remembered: 0.81 from three frames are in the carry, and the tail makes it one.
    shape = ChunkShape(size=3, right=0)
    model = even_weights(network(), 0.27)

    rows = walk(model, [voice(0, 1)[0][:3], voice(0, 1)[0][:0]], shape)

    assert len(rows[1][0].ids) == 1
    assert np.isfinite(rows[1][0].confidences).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_half_precision_is_heard_nearly_the_same(dtype: torch.dtype) -> None:
    half = network()
    prepare_for_inference(half, dtype=dtype)
    assert isinstance(half, ParaformerStreaming)

    rows, wanted = walk(half, voice(0, 6)), walk(network(), voice(0, 6))

    assert rows[0][1].encoder.dtype == dtype
    assert rows[0][1].token.dtype == torch.float32
    ours, theirs = (np.concatenate([row.ends for row, _ in some]) for some in (rows, wanted))
    assert abs(len(ours) - len(theirs)) <= 1


@pytest.mark.parametrize(
    ("rows", "width", "final"),
    [(9, seeded.INPUT, False), (11, seeded.INPUT, True), (0, seeded.INPUT, False), (10, 80, False)],
)
def test_features_that_are_no_chunk_are_refused(rows: int, width: int, final: bool) -> None:
    model = network()
    chunk = Chunk(
        features=np.zeros((rows, width), dtype=np.float32), state=model.initial_state(USUAL), final=final
    )

    with pytest.raises(InputError, match=rf"\({rows}, {width}\).*\(10, {seeded.INPUT}\)"):
        model.step([chunk])


def test_states_of_another_network_are_refused() -> None:
    raw = seeded.config("ParaformerStreaming")
    raw["encoder_conf"] |= {"num_blocks": 2}
    other = ParaformerStreaming.from_official(raw, seeded.VOCAB, seeded.INPUT)

    for state in (other.initial_state(USUAL), None):
        with pytest.raises(InputError, match="state of another network"):
            network().step([Chunk(features=voice(0, 0)[0], state=state)])


@pytest.mark.parametrize(
    "shape", [ChunkShape(size=0), ChunkShape(left=-1), ChunkShape(right=-1), ChunkShape(encoder_look_back=-2)]
)
def test_shapes_that_are_none_are_refused(shape: ChunkShape) -> None:
    with pytest.raises(InputError, match="size must be 1 or more"):
        network().initial_state(shape)


def test_layers_that_look_ahead_among_tokens_are_refused() -> None:
    raw = seeded.config("ParaformerStreaming")
    raw["decoder_conf"] |= {"num_blocks": 3, "att_layer_num": 2}

    with pytest.raises(ModelFilesError, match="num_blocks 3, att_layer_num 2"):
        ParaformerStreaming.from_official(raw, seeded.VOCAB, seeded.INPUT)
