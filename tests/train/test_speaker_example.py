"""The parts of examples/train_bundled for speakers that are easy to get subtly wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from funasr.config import load_yaml
from funasr.features.config import FrontendConfig
from funasr.features.fbank import Fbank
from funasr.models.campplus.config import CampplusConfig
from funasr.models.campplus.network import Campplus
from funasr.train.sampler import SamplerConfig, plan_epoch

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_bundled"
NAMES = (
    "words_data",
    "vad_data",
    "speaker_data",
    "speaker_trials",
    "quick_campplus",
    "speaker_spread",
    "muon",
    "bundle",
    "speakers",
)
RATE = 16000


@pytest.fixture(scope="module")
def example() -> Iterator[SimpleNamespace]:
    """The example's modules; they import one another by their bare names."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield SimpleNamespace(**{name: __import__(name) for name in NAMES})
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in NAMES:
            sys.modules.pop(name, None)


def tone(hertz: float, seconds: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    time = np.arange(int(seconds * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * hertz * time)).astype(np.int16)


def people(example: SimpleNamespace) -> list[Any]:
    person = example.speaker_data.Person
    return [
        person(name="reader", clips=(tone(200, 6),), words=False),
        person(name="caller", clips=tuple(tone(300 + i, 0.4) for i in range(4)), words=True),
    ]


def source(example: SimpleNamespace, **more: Any) -> Any:
    fbank = Fbank(FrontendConfig(fs=RATE, window="povey", n_mels=80, dither=0.0, upsacle_samples=False))
    noise = np.random.default_rng(0).integers(-999, 999, RATE).astype(np.int16)
    around = example.vad_data.Corpus(
        clips=(), sources=(), noises=(noise,), rooms=(np.array([32767, 9000], dtype=np.int16),)
    )
    lesson = example.speaker_data.Lesson(frames=98, pairs=3, batches=2, short=0.5, masked=0.0, **more)
    late = example.speaker_data.Lesson(frames=148, pairs=2, batches=2)
    return example.speaker_data.Pairs(people(example), around, fbank, {0: lesson, 5: late}, seed=1)


def test_the_readers_kept_out_stay_the_same_when_others_join(example: SimpleNamespace) -> None:
    split = example.speaker_data.split_readers
    names = [str(number) for number in range(224)]

    train, development, held_out = split(names)

    assert len(held_out) == 30
    assert len(development) == 16
    assert sorted(train + development + held_out) == sorted(names)
    assert split(reversed(names)) == (train, development, held_out)
    assert len(set(split([*names, "newcomer"])[2]) & set(held_out)) >= 29


def test_an_example_is_two_pieces_of_one_speaker_each_less_its_mean(example: SimpleNamespace) -> None:
    pairs = source(example)

    for index in range(6):
        made = pairs.load(0, index)
        assert made.features.shape == (2 * 98, 80)
        assert np.isfinite(made.features).all()
        for piece in np.split(made.features, 2):
            np.testing.assert_allclose(piece.mean(axis=0), 0, atol=1e-3)
        assert 0 <= made.target[0] < pairs.speakers
    assert pairs.lengths(0).tolist() == [196] * 6


def test_every_batch_of_every_lesson_is_full(example: SimpleNamespace) -> None:
    dataset = load_yaml(EXAMPLE / "speakers.yaml")["dataset_conf"]
    for lesson in example.speakers.LESSONS.values():
        lengths = np.full(lesson.pairs * 4, 2 * lesson.frames, dtype=np.int64)
        config = SamplerConfig(batch_size=dataset["batch_size"], sort_size=dataset["sort_size"])

        assert [len(batch) for batch in plan_epoch(lengths, config, epoch=0)] == [lesson.pairs] * 4


def test_lessons_change_with_the_epoch(example: SimpleNamespace) -> None:
    assert source(example).lengths(4).tolist() == [196] * 6
    assert source(example).lengths(5).tolist() == [296] * 4


def test_masked_pieces_miss_a_band_or_a_time_and_nothing_else(example: SimpleNamespace) -> None:
    whole = np.ones((98, 80), dtype=np.float32)

    made = [example.speaker_data.masked(whole, 1.0, np.random.default_rng(i)) for i in range(20)]

    for one in made:
        gone_bins, gone_frames = (one == 0).all(axis=0).sum(), (one == 0).all(axis=1).sum()
        assert 1 <= gone_bins <= 12
        assert 1 <= gone_frames <= 20
        assert (one == 0).sum() == 98 * gone_bins + 80 * gone_frames - gone_bins * gone_frames
    assert example.speaker_data.masked(whole, 0.0, np.random.default_rng(0)).all()


def test_examples_depend_on_their_place_alone(example: SimpleNamespace) -> None:
    one, other = source(example).load(3, 2), source(example).load(3, 2)

    np.testing.assert_array_equal(one.features, other.features)
    assert not np.array_equal(one.features, source(example).load(4, 2).features)


def test_a_reader_at_five_tempos_is_five_speakers_and_a_caller_three(example: SimpleNamespace) -> None:
    assert source(example).speakers == 8

    readers = {int(source(example, readers=1.0).load(0, i).target[0]) for i in range(6)}
    callers = {int(source(example, readers=0.0).load(0, i).target[0]) for i in range(6)}

    assert readers <= {0, 1, 2, 3, 4}
    assert callers <= {5, 6, 7}


def test_halves_have_no_sound_in_common(example: SimpleNamespace) -> None:
    person = example.speaker_data.Person
    rng = np.random.default_rng(0)
    clip = np.arange(1001, dtype=np.int16)
    words = tuple(np.full(50, number, dtype=np.int16) for number in range(5))
    for someone in (
        person(name="reader", clips=(clip,), words=False),
        person(name="caller", clips=words, words=True),
    ):
        one, other = example.speaker_data.halves(someone, rng)

        heard = [set(np.concatenate(part.clips).tolist()) for part in (one, other)]
        assert not heard[0] & heard[1]
        assert heard[0] | heard[1] == set(np.concatenate(someone.clips).tolist())


def test_a_faster_voice_is_a_higher_one(example: SimpleNamespace) -> None:
    reader = people(example)[0]
    for tempo, hertz in ((1.0, 200), (1.1, 220), (0.9, 180)):
        heard = example.speaker_data.take(reader, RATE, tempo, np.random.default_rng(0))

        assert len(heard) == RATE
        assert np.argmax(np.abs(np.fft.rfft(heard))) == pytest.approx(hertz, abs=2)


def test_the_error_rate_is_where_as_many_of_each_kind_are_wrong(example: SimpleNamespace) -> None:
    rate = example.speaker_trials.equal_error_rate
    same = np.array([0.9, 0.8, 0.7, 0.2], dtype=np.float32)
    different = np.array([0.1, 0.3, 0.0, 0.1], dtype=np.float32)

    error, threshold = rate(same, different)

    assert error == pytest.approx(0.25)  # 0.2 is missed, 0.3 is let in
    assert threshold == pytest.approx(0.3)
    assert rate(same, different - 1)[0] == 0.0
    assert rate(different, same)[0] >= 0.75


def test_trials_are_all_pairs_but_those_of_one_recording(example: SimpleNamespace) -> None:
    voices = np.array([[1, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32)

    same, different = example.speaker_trials.trial_scores(voices, ["a", "a", "a", "b"], ["x", "x", "y", "z"])

    assert sorted(same.tolist()) == pytest.approx([0.0, 0.0])
    assert sorted(different.tolist()) == pytest.approx([0.5**0.5] * 3)


@pytest.mark.parametrize("frames", [98, 220])
def test_the_quick_form_for_training_computes_the_same(example: SimpleNamespace, frames: int) -> None:
    torch.manual_seed(0)
    model = Campplus(CampplusConfig(growth_rate=4, bn_size=2, init_channels=8, embedding_size=6))
    quick = example.quick_campplus.QuickCampplus(model)
    features = torch.randn(3, frames, 80)

    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            torch.testing.assert_close(quick(features), model(features), atol=1e-4, rtol=1e-3)


def test_the_direction_in_which_people_differ_most_is_the_first(example: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    whose = np.repeat(np.arange(400), 6)
    rows = rng.normal(0, 1, (2400, 5))
    rows[:, 1] += 3 * rng.normal(0, 1, 400)[whose]  # the voice
    rows[:, 3] *= 10  # what is said

    rotation = example.speaker_spread.directions(rows, whose)
    between, within = example.speaker_spread.variances(rows, whose)

    np.testing.assert_allclose(rotation @ rotation.T, np.eye(5), atol=1e-9)
    assert abs(rotation[1, 0]) > 0.95
    np.testing.assert_allclose(within, [1, 1, 1, 100, 1], rtol=0.1)
    assert between[1] == pytest.approx(9, rel=0.2)
    assert between.min() > 0


def test_a_turned_model_gives_turned_voices(example: SimpleNamespace) -> None:
    torch.manual_seed(0)
    model = Campplus(CampplusConfig(growth_rate=4, bn_size=2, init_channels=8, embedding_size=6)).eval()
    norm = model.xvector.dense.nonlinear.batchnorm
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    features = torch.randn(3, 98, 80).numpy()
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    before = model.embed(features)

    example.speaker_spread.rotate(model, rotation)

    np.testing.assert_allclose(model.embed(features), before @ rotation, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_muons_step_is_as_long_in_all_directions(example: SimpleNamespace, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)

    found = torch.linalg.svdvals(example.muon.orthogonal(torch.randn(shape)))

    assert found.min() > 0.6
    assert found.max() < 1.3


def test_muon_learns_matrices_and_vectors_and_goes_on_from_its_state(example: SimpleNamespace) -> None:
    torch.manual_seed(0)
    inputs, wanted = torch.randn(64, 6), torch.randn(64, 4)

    def run(steps: int, state: Any = None) -> tuple[list[float], Any]:
        torch.manual_seed(1)
        layer = torch.nn.Linear(6, 4)
        optimizer = example.muon.Muon([layer.weight], [layer.bias], lr=0.02, other_lr=0.01)
        if state is not None:
            layer.load_state_dict(state[0])
            optimizer.load_state_dict(state[1])
        losses = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (layer(inputs) - wanted).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses, (layer.state_dict(), optimizer.state_dict())

    whole, _ = run(60)
    begun, state = run(30)
    rest, _ = run(30, state)

    assert whole[-1] < 0.9 * whole[0]
    assert begun + rest == pytest.approx(whole, rel=1e-5)
