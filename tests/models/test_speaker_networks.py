"""CAM++ and ERes2NetV2: official names and shapes, the reference's voices, batch = one by one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from funasr.errors import CheckpointMismatchError, ModelFilesError
from funasr.modeldir import ModelDir
from funasr.models.campplus import fused
from funasr.models.campplus.layers import ContextMask
from funasr.models.campplus.network import Campplus
from funasr.models.eres2net.network import Eres2NetV2
from funasr.nn.packed import prepare_for_inference
from funasr.nn.weights import load_weights, unallocated
from tests.speakers.golden import networks, seeded

CLASSES: dict[str, Any] = {"campplus": Campplus, "eres2netv2": Eres2NetV2}
SMALL = {"campplus": seeded.CAMPPLUS, "eres2netv2": seeded.ERES2NETV2}
RELEASED = {
    # class, tensors, trained numbers, digest of the reference's list of names and shapes
    "cam++": (Campplus, 937, 6_848_544, "c5f06b28c19a1ae6"),
    "eres2netv2": (Eres2NetV2, 557, 17_859_632, "b94b6f814c6f8564"),
}


def network(name: str) -> Any:
    model = CLASSES[name].from_official({"model_conf": SMALL[name]}).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in seeded.weights(shapes).items()})
    return model


@pytest.mark.parametrize("kind", RELEASED)
def test_every_parameter_has_its_official_name_and_shape(kind: str) -> None:
    cls, tensors, numbers, digest = RELEASED[kind]
    with unallocated():
        model = cls.from_official({})
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}

    lines = "".join(f"{name} {shape}\n" for name, shape in sorted(shapes.items()))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == digest
    assert len(shapes) == tensors
    assert sum(value.numel() for value in model.parameters()) == numbers


def test_the_digest_is_that_of_the_list_of_the_reference(shared: Path) -> None:
    listed = json.loads((shared / "reference" / "shapes" / "cam++-full.json").read_text())
    with unallocated():
        model = Campplus.from_official({})

    own = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert own == {name: entry[0] for name, entry in listed.items()}


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("frames", seeded.LENGTHS)
@pytest.mark.parametrize("prepared", [False, True])
def test_voices_are_those_of_the_reference(name: str, frames: int, prepared: bool) -> None:
    model = network(name)
    if prepared:
        model = prepare_for_inference(model)

    voices = model.embed(seeded.features(frames))

    np.testing.assert_allclose(voices, networks()[f"{name}_{frames}"], atol=1e-4)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_gives_what_each_row_gives_alone(name: str, threads: int) -> None:
    model = prepare_for_inference(network(name))
    features = np.random.default_rng(0).standard_normal((33, 30, 80)).astype(np.float32)
    some = [0, 8, 9, 11, 15, 16, 31, 32]  # on either side of where networks part a batch
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = model.embed(features)[some]
    finally:
        torch.set_num_threads(before)

    alone = np.concatenate([model.embed(features[index][None]) for index in some])
    np.testing.assert_allclose(together, alone, atol=1e-5 * np.abs(alone).max())


def test_long_sound_goes_through_the_head_in_blocks_that_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.random.default_rng(1).standard_normal((2, 95, 80)).astype(np.float32)
    model = prepare_for_inference(network("campplus"))
    whole = model.embed(features)

    monkeypatch.setattr(fused, "HEAD_FRAMES", 30)  # the last of four blocks has 5 frames

    np.testing.assert_allclose(model.embed(features), whole, atol=1e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_the_shortest_speech_has_a_voice_and_shorter_has_none(name: str) -> None:
    model = network(name)
    shortest = model.min_frames

    assert np.isfinite(model.embed(np.ones((1, shortest, 80), np.float32))).all()
    with pytest.warns(UserWarning, match="degrees of freedom"):
        assert np.isnan(model.embed(np.ones((1, shortest - 1, 80), np.float32))).any()


@pytest.mark.parametrize("name", CLASSES)
def test_sizes_are_those_of_the_settings(name: str) -> None:
    for model in (network(name), prepare_for_inference(network(name))):
        assert (model.size, model.feature_size) == (24, 80)


def test_the_context_is_the_mean_of_the_whole_and_of_the_stretch() -> None:
    x = torch.cat([torch.zeros(1, 1, 100), torch.ones(1, 1, 50)], dim=2)

    context = ContextMask.context(ContextMask(2, 1, 1), x)

    torch.testing.assert_close(context, torch.tensor([[[1 / 3, 4 / 3]]]))


def test_what_is_learnt_reaches_every_weight() -> None:
    model = Campplus.from_official({"model_conf": seeded.CAMPPLUS}).train()

    model(torch.from_numpy(seeded.features(40))).square().sum().backward()

    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


def test_counters_of_old_checkpoints_may_have_an_axis(tmp_path: Path) -> None:
    state = network("campplus").state_dict()
    old = {k: v[None] if k.endswith("num_batches_tracked") else v for k, v in state.items()}
    torch.save(old, tmp_path / "old.bin")
    model = Campplus.from_official({"model_conf": seeded.CAMPPLUS})

    load_weights(model, tmp_path / "old.bin")

    assert model.head.bn1.num_batches_tracked.shape == ()


def test_a_checkpoint_without_settings_is_known_by_its_name(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "pretrained_eres2netv2.ckpt")

    directory = ModelDir.open(tmp_path)

    assert directory.model == "ERes2NetV2"
    assert directory.require_weights() == tmp_path.resolve() / "pretrained_eres2netv2.ckpt"


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    torch.save(network("campplus").state_dict(), tmp_path / "small.bin")

    with pytest.raises(CheckpointMismatchError, match="of another shape"):
        load_weights(Campplus.from_official({}), tmp_path / "small.bin")


@pytest.mark.parametrize(
    ("name", "conf", "message"),
    [
        ("campplus", {"output_level": "frame"}, "output_level='frame'"),
        ("campplus", {"feat_dim": 81}, "must be a multiple of 8"),
        ("eres2netv2", {"two_emb_layer": True}, "two_emb_layer=True"),
    ],
)
def test_forms_that_no_released_model_has_are_refused(name: str, conf: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFilesError, match=message):
        CLASSES[name].from_official({"model_conf": conf})
