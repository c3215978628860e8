"""The SenseVoice network: names and shapes of the released one, the reference's numbers, rows alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from funasr.errors import InputError, ModelFilesError
from funasr.models.sense_voice import network as module
from funasr.models.sense_voice.network import SenseVoiceSmall
from funasr.nn.packed import prepare_for_inference
from funasr.nn.weights import unallocated
from tests.models.test_paraformer_shapes import listed_shapes
from tests.small_dirs import golden, seeded, seeded_dirs, sense_voice_network, shapes

ZH_WITHOUT_ITN = (3, 1, 2, 15)


def full() -> SenseVoiceSmall:
    raw = seeded_dirs.sense_voice_config()
    raw["encoder_conf"] |= {"output_size": 512, "linear_units": 2048, "num_blocks": 50, "tp_blocks": 20}
    with unallocated():
        return SenseVoiceSmall.from_official(raw, 25055, 560)


def test_every_parameter_has_its_official_name_and_shape() -> None:
    own = full()

    assert {name: list(shape) for name, shape in shapes(own).items()} == listed_shapes("sensevoice")
    assert len(own.state_dict()) == 917
    assert sum(value.numel() for value in own.state_dict().values()) == 233_999_167


def test_the_compact_list_is_that_of_the_reference(shared: Path) -> None:
    listed = json.loads((shared / "reference" / "shapes" / "sensevoice-full.json").read_text())

    assert listed_shapes("sensevoice") == {name: entry[0] for name, entry in listed.items()}


def test_encoder_and_head_give_the_reference_numbers() -> None:
    model, wanted = sense_voice_network(), golden("sense_voice/network.npz")

    with torch.inference_mode():
        features = torch.from_numpy(seeded.features())
        hidden = model(features, torch.tensor([seeded.FRAMES]), torch.tensor(ZH_WITHOUT_ITN), padded=False)
        log_probs = model.ctc(hidden).log_softmax(-1)

    np.testing.assert_allclose(hidden.numpy(), wanted["hidden"], atol=1e-5)
    np.testing.assert_allclose(log_probs.numpy(), wanted["log_probs"], atol=1e-4)


@pytest.mark.parametrize("packed", [False, True])
def test_ids_and_confidences_are_the_reference_ones(packed: bool) -> None:
    model = sense_voice_network()
    if packed:
        prepare_for_inference(model)

    [row] = model.infer(seeded.features(), np.array([seeded.FRAMES]), ZH_WITHOUT_ITN)

    wanted = golden("sense_voice/network.npz")["log_probs"][0]
    np.testing.assert_array_equal(row.ids, wanted.argmax(-1))
    np.testing.assert_allclose(row.confidences, np.exp(wanted.max(-1)), atol=1e-5)


def test_a_banned_id_gives_way_to_the_next_best() -> None:
    model = sense_voice_network()
    free = model.infer(seeded.features(), np.array([seeded.FRAMES]), ZH_WITHOUT_ITN)[0]
    banned = int(np.bincount(free.ids).argmax())

    [row] = model.infer(seeded.features(), np.array([seeded.FRAMES]), ZH_WITHOUT_ITN, [banned])

    wanted = golden("sense_voice/network.npz")["log_probs"][0]
    wanted[:, banned] = -np.inf
    np.testing.assert_array_equal(row.ids, wanted.argmax(-1))


def test_each_row_of_a_batch_is_what_it_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_FRAMES", 16)  # so that rows are cut in the head
    model = sense_voice_network()
    features, lengths = seeded.features(5, 40), np.array([31, 40, 1, 0, 17])
    # Padding holds what a careless caller may leave there; nothing of it may be heard.

    together = model.infer(features, lengths, ZH_WITHOUT_ITN)

    assert [len(row.ids) for row in together] == [35, 44, 5, 4, 21]
    for row, one, length in zip(together, features, lengths, strict=True):
        [alone] = model.infer(one[None, :length], np.array([length]), ZH_WITHOUT_ITN)
        np.testing.assert_array_equal(row.ids, alone.ids)
        np.testing.assert_allclose(row.confidences, alone.confidences, atol=1e-5)


def test_queries_change_the_answer() -> None:
    model = sense_voice_network()
    answers = {
        tuple(model.infer(seeded.features(), np.array([seeded.FRAMES]), (language, 1, 2, how))[0].ids)
        for language, how in [(0, 14), (0, 15), (3, 15)]
    }

    assert len(answers) == 3


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"takes \(batch, frames, 560\)"):
        sense_voice_network().infer(np.zeros((1, 5, 80), np.float32), np.array([5]), ZH_WITHOUT_ITN)


def test_a_batch_of_nothing_is_answered_with_nothing() -> None:
    assert sense_voice_network().infer(np.zeros((0, 0, 560), np.float32), np.zeros(0, int), (0,)) == []


def test_another_encoder_is_refused() -> None:
    raw = seeded_dirs.sense_voice_config() | {"encoder": "SANMEncoder"}
    with pytest.raises(ModelFilesError, match="SenseVoiceEncoderSmall"):
        SenseVoiceSmall.from_official(raw, 100, 560)


def test_bfloat16_hears_nearly_the_same() -> None:
    model = prepare_for_inference(sense_voice_network(), dtype=torch.bfloat16)
    assert isinstance(model, SenseVoiceSmall)
    features, lengths = seeded.features(3, 60), np.array([60, 30, 45])

    half = model.infer(features, lengths, ZH_WITHOUT_ITN)
    single = sense_voice_network().infer(features, lengths, ZH_WITHOUT_ITN)

    same = np.concatenate([a.ids == b.ids for a, b in zip(half, single, strict=True)])
    assert same.mean() > 0.9
