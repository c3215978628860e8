from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from funasr.config import load_yaml
from funasr.errors import ModelFilesError
from funasr.features.frontend import WavFrontend
from funasr.models.fsmn_vad.config import FsmnVadConfig
from funasr.models.fsmn_vad.network import FsmnVad
from funasr.nn.fsmn import FsmnConfig, FsmnMemory
from funasr.stages.vad import SpeechDetector
from funasr.vad.options import VadOptions
from funasr.vad.segments import finished

TINY = FsmnVadConfig(
    encoder=FsmnConfig(
        input_dim=12, input_affine_dim=8, linear_dim=10, proj_dim=6, fsmn_layers=2, output_dim=5
    )
)


@pytest.fixture
def tiny() -> FsmnVad:
    torch.manual_seed(1)
    return FsmnVad(TINY).eval()


def test_memory_is_a_sum_of_the_frames_before() -> None:
    memory = FsmnMemory(FsmnConfig(proj_dim=1, lorder=3))
    with torch.no_grad():
        memory.conv_left.weight[:] = torch.tensor([100.0, 10.0, 1.0]).view(1, 1, 3, 1)  # oldest first
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1)

    y, past = memory(x, torch.zeros(1, 1, 2))

    # frame 2: 3 itself, + 1 * 3 + 10 * 2 + 100 * 1
    assert y.flatten().tolist() == [2.0, 14.0, 126.0, 238.0]
    assert past.flatten().tolist() == [3.0, 4.0]


def test_names_and_shapes_are_those_of_the_released_checkpoint() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(weight.shape) for name, weight in FsmnVad(FsmnVadConfig()).state_dict().items()}

    expected = {
        "encoder.in_linear1.linear.weight": (140, 400),
        "encoder.in_linear1.linear.bias": (140,),
        "encoder.in_linear2.linear.weight": (250, 140),
        "encoder.in_linear2.linear.bias": (250,),
        "encoder.out_linear1.linear.weight": (140, 250),
        "encoder.out_linear1.linear.bias": (140,),
        "encoder.out_linear2.linear.weight": (248, 140),
        "encoder.out_linear2.linear.bias": (248,),
    }
    for layer in range(4):
        expected[f"encoder.fsmn.{layer}.linear.linear.weight"] = (128, 250)
        expected[f"encoder.fsmn.{layer}.fsmn_block.conv_left.weight"] = (128, 1, 20, 1)
        expected[f"encoder.fsmn.{layer}.affine.linear.weight"] = (250, 128)
        expected[f"encoder.fsmn.{layer}.affine.linear.bias"] = (250,)
    assert shapes == expected
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 428_738


def test_chunks_of_any_length_score_as_the_whole(tiny: FsmnVad) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 200, 12)).astype(np.float32)
    whole, _ = tiny.score(features, tiny.initial_state(2))

    state, parts = tiny.initial_state(2), []
    for chunk in np.split(features, sorted(rng.integers(0, 200, 15)), axis=1):
        scores, state = tiny.score(chunk, state)
        parts.append(scores)

    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)


def test_silence_is_the_softmax_column_of_the_silent_classes(tiny: FsmnVad) -> None:
    logits = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
    probabilities = logits.softmax(-1)[0, 0]
    two = FsmnVad(FsmnVadConfig(encoder=TINY.encoder, sil_pdf_ids=(0, 2)))

    assert tiny.silence(logits).item() == pytest.approx(probabilities[0].item(), rel=1e-6)
    assert two.silence(logits).item() == pytest.approx((probabilities[0] + probabilities[2]).item(), rel=1e-6)


def test_two_streams_on_one_network_do_not_mix(tiny: FsmnVad) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 1, 60, 12)).astype(np.float32)
    alone = [tiny.score(one, tiny.initial_state())[0], tiny.score(other, tiny.initial_state())[0]]

    states, parts = [tiny.initial_state(), tiny.initial_state()], [[], []]  # type: ignore[var-annotated]
    for start in range(0, 60, 20):
        for stream, features in enumerate((one, other)):
            scores, states[stream] = tiny.score(features[:, start : start + 20], states[stream])
            parts[stream].append(scores)

    for expected, got in zip(alone, parts, strict=True):
        np.testing.assert_allclose(np.concatenate(got, axis=1), expected, atol=1e-6)


def test_the_memory_of_a_stream_is_small_and_can_be_stored(tiny: FsmnVad) -> None:
    _, state = tiny.score(np.ones((1, 50, 12), np.float32), tiny.initial_state())
    restored = pickle.loads(pickle.dumps(state))

    assert state.nbytes == restored.nbytes == 2 * 6 * 19 * 4
    assert all(torch.equal(a, b) for a, b in zip(state.pasts, restored.pasts, strict=True))


def test_a_network_that_looks_ahead_is_refused() -> None:
    with pytest.raises(ModelFilesError, match="rorder"):
        FsmnVad.from_official({"encoder_conf": {"rorder": 1}})


# Released weights


@pytest.fixture(scope="module")
def released(shared: Path) -> SpeechDetector:
    folder = shared / "data" / "models" / "fsmn-vad-official"
    raw = load_yaml(folder / "config.yaml")
    network = FsmnVad.from_official(raw)
    network.load_state_dict(torch.load(folder / "model.pt", weights_only=True))
    frontend = WavFrontend.from_official(raw["frontend_conf"], folder / "am.mvn")
    return SpeechDetector(network.eval(), frontend, VadOptions.from_official(raw["model_conf"]))


@pytest.fixture(scope="module")
def example(shared: Path) -> np.ndarray:
    import soundfile

    path = shared / "data" / "vad" / "fsmn_example" / "wavs" / "vad_example.wav"
    samples: np.ndarray = soundfile.read(path, dtype="float32")[0]
    return samples


@pytest.fixture(scope="module")
def expected(shared: Path) -> list[list[int]]:
    path = shared / "data" / "vad" / "fsmn_example" / "expected_segments_ms.json"
    segments: list[list[int]] = json.loads(path.read_text())["vad_example"]
    return segments


def pairs(segments: Sequence[object]) -> list[list[int]]:
    return [[s.start_ms, s.end_ms] for s in segments]  # type: ignore[attr-defined]


def test_released_weights_give_the_published_segments(
    released: SpeechDetector, example: np.ndarray, expected: list[list[int]]
) -> None:
    assert pairs(released.segments(example)) == expected


def test_dynamic_silence_gives_the_references_default_segments(
    released: SpeechDetector, example: np.ndarray
) -> None:
    """Measured: upstream 1.4.16, AutoModel(...).generate(input=vad_example.wav)."""
    dynamic = released.options.override({"dynamic_silence": True})

    assert pairs(released.segments(example, dynamic)) == [
        [70, 59970],
        [59970, 60950],
        [60950, 62250],
        [62250, 62860],
        [62860, 63680],
        [63690, 67040],
        [67040, 70450],
    ]


@pytest.mark.parametrize("chunk_ms", [10, 60, 200, 1000, None])
def test_how_a_stream_is_cut_changes_nothing(
    released: SpeechDetector, example: np.ndarray, expected: list[list[int]], chunk_ms: int | None
) -> None:
    rng = np.random.default_rng(3)
    sound = example[: 16000 * {10: 8, 60: 24}.get(chunk_ms or 0, 80)]
    cuts: Sequence[int] = sorted(rng.integers(0, len(sound), 150).tolist())
    if chunk_ms:
        cuts = range(chunk_ms * 16, len(sound), chunk_ms * 16)
    stream = released.stream()
    events = [event for chunk in np.split(sound, cuts) for event in stream.accept(chunk)]

    got = pairs(finished(events + stream.flush()))

    assert got == (expected if len(sound) == len(example) else pairs(released.segments(sound)))


@pytest.mark.parametrize("length", [0, 1, 399, 400, 719, 720, 1600])
def test_sound_too_short_for_speech_has_none(released: SpeechDetector, length: int) -> None:
    assert released.segments(np.zeros(length, np.float32)) == []


def test_what_is_remembered_does_not_hold_on_to_the_block_it_came_from(tiny: FsmnVad) -> None:
    features = np.zeros((1, 900, 12), dtype=np.float32)
    _, state = tiny.score(features, tiny.initial_state())

    for past in state.pasts:
        assert past.untyped_storage().nbytes() == past.nbytes
    assert len(pickle.dumps(state)) < state.nbytes + 2000
