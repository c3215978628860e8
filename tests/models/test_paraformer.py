"""The four networks: equal to the reference's outputs, and each utterance by itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from funasr.errors import InputError, ModelFilesError
from funasr.models.paraformer.network import Paraformer
from funasr.models.paraformer.seaco import most_attended
from funasr.nn.packed import prepare_for_inference
from funasr.stages.protocols import AcousticRow, Hotwords
from tests.models.small import CLASSES, golden, hotwords, network, seeded


def rows_equal(one: AcousticRow, other: AcousticRow) -> None:
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_allclose(one.confidences, other.confidences, atol=1e-5)
    assert one.alphas is not None
    assert other.alphas is not None
    np.testing.assert_allclose(one.alphas, other.alphas, atol=1e-5)


def whole(frames: int = seeded.FRAMES) -> np.ndarray:
    return np.array([frames])


@pytest.mark.parametrize("name", CLASSES)
def test_encoder_and_predictor_give_the_reference_numbers(name: str) -> None:
    model, wanted = network(name), golden(name)

    with torch.inference_mode():
        encoded = model.encode(torch.from_numpy(seeded.features()), torch.tensor([seeded.FRAMES]))
        predicted = model.predictor(encoded.memory, encoded.lengths)

    np.testing.assert_allclose(encoded.memory.numpy(), wanted["encoder"], atol=1e-5)
    np.testing.assert_allclose(predicted.embeds.numpy(), wanted["embeds"], atol=1e-5)
    np.testing.assert_allclose(predicted.alphas.numpy(), wanted["alphas"], atol=1e-6)


@pytest.mark.parametrize("name", ["Paraformer", "BiCifParaformer"])
def test_all_log_probabilities_are_the_reference_ones(name: str) -> None:
    model = network(name)

    with torch.inference_mode():
        logits, predicted = model(torch.from_numpy(seeded.features()), torch.tensor([seeded.FRAMES]))

    assert predicted.counts.tolist() == [7]
    np.testing.assert_allclose(logits.log_softmax(-1).numpy(), golden(name)["log_probs"], atol=1e-4)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("Paraformer", "log_probs", None),
        ("BiCifParaformer", "log_probs", None),
        ("SeacoParaformer", "log_probs", None),
        ("SeacoParaformer", "log_probs_0", hotwords(0)),
        ("SeacoParaformer", "log_probs_3", hotwords(3)),
        ("SeacoParaformer", "log_probs_300", hotwords(300)),
        ("ContextualParaformer", "log_probs_0", None),
        ("ContextualParaformer", "log_probs_0", hotwords(0)),
        ("ContextualParaformer", "log_probs_3", hotwords(3)),
        ("ContextualParaformer", "log_probs_300", hotwords(300)),
        ("ContextualParaformer", "log_probs_half", hotwords(3, scale=0.5)),
    ],
)
def test_ids_and_confidences_are_the_reference_ones(
    name: str, key: str, words: Hotwords | None, packed: bool
) -> None:
    model = network(name)
    if packed:
        prepare_for_inference(model)

    row = model.infer(seeded.features(), whole(), words)[0]

    wanted = golden(name)[key][0]
    np.testing.assert_array_equal(row.ids, wanted.argmax(axis=-1))
    np.testing.assert_allclose(row.confidences, np.exp(wanted.max(axis=-1)), atol=1e-5)


def test_hotwords_matter_in_the_golden_runs() -> None:
    wanted = golden("SeacoParaformer")
    plain, few, many = (wanted[key][0].argmax(-1) for key in ("log_probs", "log_probs_3", "log_probs_300"))

    assert (plain != few).any()
    assert (plain == few).any()  # and not everywhere: NO_BIAS was heard, too
    assert (few != many).any()


@pytest.mark.parametrize("name", ["BiCifParaformer", "SeacoParaformer"])
def test_fine_weights_are_the_reference_ones_and_sum_to_the_token_count(name: str) -> None:
    row = network(name).infer(seeded.features(), whole())[0]

    assert row.upsample_rate == 3
    assert row.alphas is not None
    np.testing.assert_allclose(row.alphas, golden(name)["fine"][0], atol=1e-5)
    assert row.alphas.sum() == pytest.approx(len(row.ids), abs=1e-4)


def test_a_plain_network_returns_its_token_weights_with_the_tail() -> None:
    row = network("Paraformer").infer(seeded.features(), whole())[0]

    assert row.upsample_rate == 1
    assert row.alphas is not None
    np.testing.assert_allclose(row.alphas, golden("Paraformer")["alphas"][0], atol=1e-6)
    assert row.alphas[-1] == pytest.approx(0.45)


@pytest.mark.parametrize("name", CLASSES)
def test_each_row_of_a_batch_is_what_it_is_alone(name: str) -> None:
    model = network(name)
    features = seeded.features(5, 40)
    lengths = np.array([31, 40, 2, 0, 17])
    # Padding holds what a careless caller may leave there; nothing of it may be heard.
    for words in (None, hotwords(3), hotwords(300)):
        together = model.infer(features, lengths, words)
        for i, length in enumerate(lengths):
            alone = model.infer(features[i : i + 1, : max(length, 1)], lengths[i : i + 1], words)[0]
            rows_equal(together[i], alone)


def test_no_frames_are_no_tokens() -> None:
    model = network("BiCifParaformer")

    rows = model.infer(seeded.features(2), np.array([0, 0]))
    none = model.infer(np.zeros((0, 5, seeded.INPUT), dtype=np.float32), np.zeros(0, dtype=np.int64))

    assert [len(row.ids) for row in rows] == [0, 0]
    assert none == []


@pytest.mark.parametrize("name", CLASSES)
def test_sound_without_a_token_is_an_empty_row(name: str) -> None:
    model = network(name)
    torch.nn.init.constant_(model.predictor.cif_output.bias, -30.0)

    row = model.infer(seeded.features(), whole(), hotwords(3))[0]

    assert len(row.ids) == len(row.confidences) == 0
    assert row.alphas is not None
    assert np.isfinite(row.alphas).all()


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match="560"):
        network("Paraformer").infer(np.zeros((1, 5, 80), dtype=np.float32), np.array([5]))


def test_a_phrase_weight_of_one_changes_nothing_and_a_heavy_one_draws_attention() -> None:
    model = network("SeacoParaformer")
    given = hotwords(3)
    heavy = Hotwords(ids=given.ids, weights=(1.0, 1000.0, 1.0))
    only = Hotwords(ids=(given.ids[1],), weights=(1000.0,))

    plain = model.infer(seeded.features(), whole(), given)[0]
    loud = model.infer(seeded.features(), whole(), heavy)[0]
    alone = model.infer(seeded.features(), whole(), only)[0]

    assert np.abs(plain.confidences - loud.confidences).max() > 1e-3
    # So heavy that the others are drowned: as if it had been the only one.
    np.testing.assert_allclose(loud.confidences, alone.confidences, atol=2e-2)


def test_the_no_hotword_entry_is_kept_last_and_once() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.7, 0.8], [0.4, 0.3, 0.2, 0.1, 0.0]])

    assert most_attended(scores, 2).tolist() == [[1, 3, 4], [0, 1, 4]]
    assert most_attended(scores, 50).tolist() == [[1, 3, 2, 0, 4], [0, 1, 2, 3, 4]]


def test_phrases_without_ids_are_skipped() -> None:
    model = network("SeacoParaformer")
    given = hotwords(3)
    gaps = Hotwords(ids=((), *given.ids, ()), weights=(1.0,) * 5)

    rows_equal(
        model.infer(seeded.features(), whole(), gaps)[0], model.infer(seeded.features(), whole(), given)[0]
    )


def test_phrases_are_encoded_once_for_any_number_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("SeacoParaformer")
    calls = []
    encode = model._phrases._encode
    monkeypatch.setattr(model._phrases, "_encode", lambda ids: calls.append(ids) or encode(ids))

    for _ in range(3):
        model.infer(seeded.features(), whole(), hotwords(3))
    for count in range(40):
        model.infer(seeded.features(), whole(), hotwords(count))

    assert len(calls) == 40  # three phrases were known already
    assert len(model._phrases._recent._known) == 16


def test_phrases_are_encoded_again_when_the_weights_are_others() -> None:
    model = network("SeacoParaformer")
    before = model.infer(seeded.features(), whole(), hotwords(3))[0]
    with torch.no_grad():
        for p in model.bias_encoder.parameters():
            p.mul_(-1)
    trained = model.infer(seeded.features(), whole(), hotwords(3))[0]
    prepare_for_inference(model, dtype=torch.bfloat16)
    rounded = model.infer(seeded.features(), whole(), hotwords(3))[0]

    assert np.abs(trained.confidences - before.confidences).max() > 1e-3
    assert len(rounded.ids) == len(trained.ids)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_hear_almost_the_same(name: str, dtype: torch.dtype) -> None:
    model = network(name)
    plain = model.infer(seeded.features(), whole(), hotwords(3))[0]
    prepare_for_inference(model, dtype=dtype)

    half = model.infer(seeded.features(), whole(), hotwords(3))[0]

    assert model.encoder.after_norm.weight.dtype == dtype
    assert model.predictor.cif_conv1d.weight.dtype == torch.float32  # sums of weights need the digits
    assert half.alphas is not None
    assert half.alphas.dtype == half.confidences.dtype == np.float32
    assert (half.ids == plain.ids).mean() > 0.7
    np.testing.assert_allclose(half.confidences, plain.confidences, atol=0.1)


@pytest.mark.parametrize("name", CLASSES)
def test_threads_share_one_network(name: str) -> None:
    model = prepare_for_inference(network(name))
    assert isinstance(model, Paraformer)
    jobs = [(seeded.features(2, 20 + i), np.array([20 + i, 10 + i]), hotwords(i)) for i in range(16)]
    serial = [model.infer(*job) for job in jobs]

    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda job: model.infer(*job), jobs))

    for mine, theirs in zip(parallel, serial, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            rows_equal(one, other)


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("encoder_conf", "input_layer", "conv2d", "conv2d"),
        ("encoder_conf", "output_size", 30, "attention_heads"),
        ("predictor_conf", "threshold", 0.9, "0.9"),
        ("predictor_conf", "upsample_type", "cnn", "cnn_blstm"),
        ("model_conf", "bias_encoder_type", "mean", "mean"),
        ("model_conf", "inner_dim", 16, "inner_dim"),
        ("decoder_conf", "normalize_before", False, "normalize_before"),
    ],
)
def test_a_config_for_parts_we_do_not_build_says_which(
    section: str, key: str, value: object, said: str
) -> None:
    raw = seeded.config("SeacoParaformer")
    raw[section][key] = value

    with pytest.raises(ModelFilesError, match=said):
        CLASSES["SeacoParaformer"].from_official(raw, seeded.VOCAB, seeded.INPUT)


def test_another_decoder_class_is_named() -> None:
    raw = seeded.config("Paraformer") | {"decoder": "ParaformerSANDecoder"}

    with pytest.raises(ModelFilesError, match="ParaformerSANDecoder"):
        Paraformer.from_official(raw, seeded.VOCAB, seeded.INPUT)


def test_settings_at_the_top_of_the_config_win_over_model_conf() -> None:
    raw = seeded.config("Paraformer") | {"lsm_weight": 0.3}

    assert Paraformer.from_official(raw, seeded.VOCAB, seeded.INPUT).config.lsm_weight == 0.3


@pytest.mark.reference
def test_live_parity_on_tiny_models(reference_python: str, shared: Path, tmp_path: Path) -> None:
    """The whole table of scripts/parity.py, on random models made here and three recordings."""
    import os
    import subprocess
    import sys

    root = Path(__file__).parents[2]
    recognizers = ["paraformer", "bicif-paraformer", "seaco-paraformer", "paraformer-streaming"]
    companions = ["ct-punc-272727", "ct-punc-471067", "ct-punc-streaming", "sensevoice", "fa-zh", "cam++"]
    for kind in (*recognizers, *companions, "fsmn-vad"):
        make = [
            shared / "reference" / "make_random_model.py",
            kind,
            tmp_path / f"{kind}-tiny",
            "--size",
            "tiny",
        ]
        subprocess.run([sys.executable, *map(str, make)], check=True, capture_output=True)
    clips = sorted((shared / "data" / "asr" / "test_zh" / "wavs").glob("*.wav"))[:3]
    parity = [root / "scripts" / "parity.py", "--models", tmp_path, "--size", "tiny", "--audio", *clips]
    # The last three are made by the script itself, of the others.
    for kind in (*recognizers, *companions, "contextual-paraformer", "eres2netv2", "pipeline"):
        parity += ["--kind", kind]
    environment = {**os.environ, "FUNASR_REFERENCE_PYTHON": reference_python}

    done = subprocess.run(
        [sys.executable, *map(str, parity)], capture_output=True, text=True, env=environment, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "equal everywhere" in done.stdout
