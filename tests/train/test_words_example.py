"""The parts of examples/train_bundled that are easy to get subtly wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from funasr.nn.cif import CifPredictorConfig, CifPredictorV3

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_bundled"
NAMES = ("words_data", "words_augment", "words_loss", "quick_layers")


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


def test_a_words_weights_lie_in_its_span_and_the_end_just_behind(example: SimpleNamespace) -> None:
    spans = torch.tensor([[[2.0, 4.0]]])

    weights = example.words_loss.word_weights(spans, torch.tensor([1]), torch.tensor([8]), 8)

    # Two rows share the word; `</s>` has the 2.5 rows from 4 to 6.5.
    assert weights[0].tolist() == pytest.approx([0, 0, 0.5, 0.5, 0.4, 0.4, 0.2, 0])


def test_fine_weights_fire_at_the_onset_and_after_the_end(example: SimpleNamespace) -> None:
    spans = torch.tensor([[[4.0, 8.0]]])

    weights = example.words_loss.onset_weights(spans, torch.tensor([1]), torch.tensor([12]), 36, 3)

    # Onset 12, end 24 in fine frames: six frames each, of which the last 1.5 lie behind the mark.
    assert weights.sum().item() == pytest.approx(2.0)
    sums = weights[0].cumsum(0)
    assert sums[12].item() < 1.0 <= sums[13].item() + 1e-6
    assert sums[24].item() < 2.0 <= sums[25].item() + 1e-6


def test_silence_has_the_end_alone(example: SimpleNamespace) -> None:
    nothing = torch.zeros(1, 0, 2)
    for weights in (
        example.words_loss.word_weights(nothing, torch.tensor([0]), torch.tensor([6]), 6),
        example.words_loss.onset_weights(nothing, torch.tensor([0]), torch.tensor([6]), 18, 3),
    ):
        assert weights.sum().item() == pytest.approx(1.0)


def test_rows_are_labelled_with_the_word_that_fills_them(example: SimpleNamespace) -> None:
    labels = example.words_loss.row_labels(
        torch.tensor([[[0.0, 2.0], [3.0, 4.6]]]),
        torch.tensor([[7, 9]]),
        torch.tensor([2]),
        torch.tensor([5]),
        6,
    )

    assert labels.tolist() == [[7, 7, 0, 9, 9, -1]]


def test_the_quick_timestamp_head_is_the_slow_one(example: SimpleNamespace) -> None:
    torch.manual_seed(0)
    config = CifPredictorConfig(
        idim=8, smooth_factor2=0.25, noise_threshold2=0.01, upsample_times=3, upsample_type="cnn_blstm",
        use_cif1_cnn=False,
    )  # fmt: skip
    predictor = CifPredictorV3(config)
    lengths = torch.tensor([5, 2])
    memory = torch.randn(2, 5, 8) * torch.tensor([[1.0] * 5, [1.0] * 2 + [0.0] * 3])[:, :, None]

    quick = example.quick_layers.fine_weights(predictor, memory, lengths)

    torch.testing.assert_close(quick, predictor.fine_weights(memory, lengths), atol=1e-6, rtol=1e-5)


def test_nobody_is_in_two_parts_and_the_shares_are_as_said(example: SimpleNamespace) -> None:
    people = [f"{number:08x}" for number in range(2000)]
    parts = [example.words_data.part_of(person) for person in people]

    assert parts == [example.words_data.part_of(person) for person in people]
    assert parts.count("dev") / 2000 == pytest.approx(0.06, abs=0.02)
    assert parts.count("test") / 2000 == pytest.approx(0.08, abs=0.02)


def test_made_up_utterances_repeat_and_their_words_are_where_they_should_be(example: SimpleNamespace) -> None:
    data, augment = example.words_data, example.words_augment
    rng = np.random.default_rng(0)
    clips = []
    for token in (3, 4, 5):
        sound = np.zeros(16000, dtype=np.int16)
        sound[4000:10000] = rng.normal(0, 4000, 6000).astype(np.int16)
        clips.append(data.clip_of(sound, token, f"s{token}", "asr/speech_commands"))
    recipe = augment.Recipe(single=0.0, string=1.0, foreign=0.0, mixed_foreign=0.0, room=0.0, noise=0.0)
    maker = augment.Augmenter(clips, [], [], [np.ones(1, dtype=np.float32)], recipe)

    for seed in range(20):
        plan = maker.plan(np.random.default_rng(seed))
        samples, spoken = maker.render(plan, np.random.default_rng(seed))
        again, _ = maker.render(plan, np.random.default_rng(seed))

        assert np.array_equal(samples, again)
        assert len(samples) == plan.length
        assert [word.token for word in spoken] == [piece.clip.token for piece in plan.pieces]
        assert np.isfinite(samples).all()
        for word in spoken:
            inside = samples[max(0, word.start) : word.end]
            assert np.abs(inside).mean() > 0.2 * np.abs(samples).mean()


def test_the_speech_of_a_clip_is_found_by_its_energy(example: SimpleNamespace) -> None:
    sound = np.random.default_rng(1).normal(0, 20, 16000)
    sound[5000:9000] += np.random.default_rng(2).normal(0, 3000, 4000)

    start, end = example.words_data.speech_bounds(sound.astype(np.int16))

    assert start == pytest.approx(5000, abs=500)
    assert end == pytest.approx(9000, abs=700)
