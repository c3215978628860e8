"""What funasr-train can train: every class, from weights and from scratch, all of it or what LoRA added."""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from funasr import AutoModel, registry
from funasr.bin.train import main
from funasr.config import load_yaml
from funasr.train.criteria import TRAINABLE
from funasr.train.kinds import SPEECH, kind_for
from funasr.train.recipe import Recipe
from funasr.train.run import open_parts
from funasr.train.scratch import from_scratch
from funasr.train.start import build_network
from tests.tiny_models import TOKENS, WORDS, make_paraformer, paraformer_config, talk

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
sys.path.insert(0, str(GOLDEN))

import seeded_dirs  # noqa: E402

LORA = ["++encoder_conf.lora_list=[q,k,v,o]", "++encoder_conf.lora_rank=2", "++decoder_conf.lora_list=[q,v]"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, count in (("train", 4), ("val", 2)):
        lines = []
        for number in range(count):
            soundfile.write(
                tmp_path / f"{name}{number}.wav", talk(("loud", 0.6 + 0.1 * number), seed=number), 16_000
            )
            line: dict[str, Any] = {"key": f"{name}{number}", "source": f"{name}{number}.wav"}
            line |= {"source_len": 60 + 10 * number, "target": " ".join(WORDS[number : number + 3])}
            line |= {"text_language": "<|en|>", "emo_target": "HAPPY", "with_or_wo_itn": "<|woitn|>"}
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        (tmp_path / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def directory(folder: Path, name: str) -> Path:
    """A model directory of that class, with random weights."""
    folder.mkdir(exist_ok=True)
    writers = {"SenseVoiceSmall": "write_sense_voice", "ParaformerStreaming": "write_streaming"}
    if name not in writers:
        return make_paraformer(folder, name)
    configs = {
        "SenseVoiceSmall": (seeded_dirs.sense_voice_config(), 130),
        "ParaformerStreaming": (seeded_dirs.streaming_config(), len(seeded_dirs.TOKENS)),
    }
    config, vocab = configs[name]
    network = registry.lookup(registry.MODELS, name).from_official(config, vocab, 560)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    return getattr(seeded_dirs, writers[name])(folder, shapes)


def train(model: str, *more: str) -> int:
    settings = ["++device=cpu", "++train_conf.max_epoch=1", "++dataset_conf.batch_type=example"]
    settings += ["++dataset_conf.batch_size=2", "++optim_conf.lr=0.01", "++scheduler_conf.warmup_steps=1"]
    lists = ["++train_data_set_list=train.jsonl", "++valid_data_set_list=val.jsonl", "++output_dir=out"]
    return main([f"++model={model}", *lists, *settings, *more])


def state(path: Path) -> dict[str, torch.Tensor]:
    loaded = torch.load(path, weights_only=True)
    tensors: dict[str, torch.Tensor] = loaded.get("state_dict", loaded)
    return tensors


@pytest.mark.parametrize("name", [name for name in TRAINABLE if kind_for(name) is SPEECH])
def test_every_class_learns_and_is_heard_by_automodel(desk: Path, name: str) -> None:
    directory(desk / "model", name)

    assert train("model") == 0

    before, after = state(desk / "model" / "model.pt"), state(desk / "out" / "model.pt")
    changed = {key.partition(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key.partition(".")[0] for key in before}  # every part of the network
    assert all(value.isfinite().all() for value in after.values())
    losses = torch.load(desk / "out" / "model.pt", weights_only=False)["val_loss_step_or_epoch"]
    assert all(math.isfinite(value) for value in losses.values())
    [record] = AutoModel(model="out", disable_pbar=True, device="cpu").generate(input="val0.wav")
    assert record["key"] == "val0"


def test_a_ctc_head_learns_beside_the_decoder(desk: Path) -> None:
    directory(desk / "model", "Paraformer")

    assert train("model", "++model_conf.ctc_weight=0.3", "++excludes=ctc") == 0

    assert "ctc.ctc_lo.weight" in state(desk / "out" / "model.pt")
    AutoModel(model="out", disable_pbar=True, device="cpu").generate(input="val0.wav")


def test_lora_alone_learns_and_is_merged_when_the_model_is_used(desk: Path) -> None:
    directory(desk / "model", "Paraformer")

    assert train("model", "++lora_only=true", *LORA) == 0

    before, after = state(desk / "model" / "model.pt"), state(desk / "out" / "model.pt")
    assert {key for key in before if not torch.equal(before[key], after[key])} == {
        key for key in before if "cif" in key
    }
    added = {key.rpartition(".")[2] for key in after.keys() - before.keys()}
    assert added == {"lora_A", "lora_B"}
    assert after["encoder.encoders.0.self_attn.linear_q_k_v.lora_A"].shape == (6, 32)
    assert after["encoder.encoders.0.self_attn.linear_q_k_v.lora_B"].shape == (96, 2)
    assert any(value.any() for key, value in after.items() if "lora_B" in key)
    AutoModel(model="out", disable_pbar=True, device="cpu").generate(input="val0.wav")
    # The same command goes on from what it wrote.
    assert train("model", "++lora_only=true", *LORA, "++train_conf.max_epoch=2") == 0


@pytest.mark.parametrize(("bias", "learn"), [("all", 2), ("lora_only", 1), ("none", 0)])
def test_biases_may_learn_with_lora(desk: Path, bias: str, learn: int) -> None:
    directory(desk / "model", "Paraformer")

    assert train("model", "++lora_only=true", f"++lora_bias={bias}", *LORA[:2]) == 0

    before, after = state(desk / "model" / "model.pt"), state(desk / "out" / "model.pt")
    keys = ("encoder.encoders.0.self_attn.linear_out.bias", "encoder.after_norm.bias")
    assert sum(not torch.equal(before[key], after[key]) for key in keys) == learn


def test_a_network_from_scratch_has_a_vocabulary_and_statistics_of_its_own_data(desk: Path) -> None:
    config = paraformer_config("Paraformer") | {"optim": "adam"}
    config["tokenizer_conf"] = {"unk_symbol": "<unk>", "split_with_space": True}
    (desk / "conf").mkdir()
    (desk / "conf" / "small.yaml").write_text(json.dumps(config))

    recipe = ["--config-path", "conf", "--config-name", "small"]
    assert train("Paraformer", *recipe) == 0

    tokens = json.loads((desk / "out" / "tokens.json").read_text())
    assert tokens[:3] == ["<blank>", "<s>", "</s>"]
    assert tokens[-1] == "<unk>"
    assert set(tokens[3:-1]) == set("".join(WORDS[:6]))
    [record] = AutoModel(model="out", disable_pbar=True, device="cpu").generate(input="val0.wav")
    assert record["key"] == "val0"
    # What was made stays: the weights belong to it.
    (desk / "train.jsonl").write_text((desk / "val.jsonl").read_text())
    assert train("Paraformer", *recipe, "++train_conf.max_epoch=2") == 0
    assert json.loads((desk / "out" / "tokens.json").read_text()) == tokens


def test_a_network_from_scratch_takes_the_vocabulary_and_statistics_it_is_given(desk: Path) -> None:
    directory(desk / "model", "Paraformer")
    (desk / "small.yaml").write_text(json.dumps(paraformer_config("Paraformer")))
    given = ["++tokenizer_conf.token_list=model/tokens.json", "++frontend_conf.cmvn_file=model/am.mvn"]
    statistics = "<Nnet>\n<Splice> 560 560\n[ 0 ]\n"
    for name, value in (("<AddShift>", "-1"), ("<Rescale>", "2")):
        statistics += f"{name} 560 560\n<LearnRateCoef> 0 [ {' '.join([value] * 560)} ]\n"
    (desk / "model" / "am.mvn").write_text(statistics + "</Nnet>\n")

    assert train("Paraformer", "--config-name", "small", *given) == 0

    assert json.loads((desk / "out" / "tokens.json").read_text()) == TOKENS
    assert (desk / "out" / "am.mvn").read_text() == (desk / "model" / "am.mvn").read_text()


def test_the_recipe_of_the_examples_is_one(desk: Path) -> None:
    settings = load_yaml(ROOT / "examples" / "from_scratch" / "paraformer_small.yaml")
    lists = {"train_data_set_list": "train.jsonl", "valid_data_set_list": "val.jsonl", "output_dir": "out"}

    directory = from_scratch("Paraformer", settings | lists)
    recipe = Recipe.of(directory)
    parts = open_parts(directory)
    network = build_network(recipe, parts.vocab_size, parts.frontend.output_size)

    assert recipe.init_param is None
    assert sum(parameter.numel() for parameter in network.parameters()) > 10_000_000
    assert recipe.augmentation.speed_perturb == (0.9, 1.0, 1.1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["++lora_only=true"], "no layer is adapted"),
        (["++lora_bias=some"], "lora_bias is 'some'; it is none, all, lora_only"),
        (["++encoder_conf.lora_list=[q,w]"], "lora_list has 'w'"),
        (["++encoder_conf.lora_list=[q]", "++encoder_conf.lora_rank=0"], "lora_rank is 0"),
        (["++tokenizer_conf.token_list=short.json"], "++excludes=decoder.embed,decoder.output_layer"),
        (["++freeze_param=encoder,decoder,predictor"], "nothing would be learnt"),
        (["++train_data_set_list=empty.jsonl"], "empty.jsonl has nothing to learn from"),
        (["++model_conf.predictor_bias=x"], "predictor_bias is 'x'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(
    desk: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    directory(desk / "model", "Paraformer")
    (desk / "short.json").write_text(json.dumps(["<blank>", "<s>", "</s>", *WORDS[:4], "<unk>"]))
    (desk / "empty.jsonl").write_text("")

    assert train("model", *more) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_classes_that_are_not_trained_are_told_from_those_that_are(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("Paraformer") == 2
    assert "needs all settings of the network" in capsys.readouterr().err
    assert train("MonotonicAligner", "++encoder_conf.output_size=8") == 2
    assert "Trainable: Paraformer, BiCifParaformer" in capsys.readouterr().err


def test_the_answer_for_no_hotword_is_one_the_model_is_read_for(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory(desk / "model", "SeacoParaformer")
    own = len(TOKENS) - 2

    assert train("model", "++dataset_conf.seaco_id=3") == 2
    assert f"seaco_id is 3 and model_conf.NO_BIAS {own}" in capsys.readouterr().err
    assert train("model", "++model_conf.NO_BIAS=8377") == 2
    assert "NO_BIAS is 8377, and the vocabulary has 20 entries" in capsys.readouterr().err
    assert train("model", f"++dataset_conf.seaco_id={own}") == 0


def test_a_tag_that_the_vocabulary_lacks_is_named_with_its_line(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory(desk / "model", "SenseVoiceSmall")
    text = (desk / "train.jsonl").read_text().replace("HAPPY", "HAPY")
    (desk / "train.jsonl").write_text(text)

    assert train("model") == 2
    error = capsys.readouterr().err
    assert "train.jsonl, line 1: emo_target '<|HAPY|>'" in error
    assert "HAPPY" in error


@pytest.mark.reference
def test_what_lora_learnt_is_heard_by_the_reference_too(desk: Path, reference_python: str) -> None:
    directory(desk / "model", "Paraformer")
    assert train("model", "++lora_only=true", "++optim_conf.lr=0.1", *LORA) == 0
    code = (
        "from funasr import AutoModel; import torch; "
        "m = AutoModel(model='/ABS', device='cpu', disable_update=True, disable_pbar=True, log_level='ERROR')"
        ".model.eval(); f = torch.from_numpy(__import__('numpy').load('f.npy')); n = torch.tensor([30]); "
        "e, n = m.encode(f, n)[:2]; p = m.calc_predictor(e, n); "
        "l = m.cal_decoder_with_predictor(e, n, p[0], p[1].round().long())[0]; "
        "torch.save((e.detach(), l.detach()), 'theirs.pt')"
    ).replace("/ABS", str(desk / "out"))
    features = np.random.default_rng(0).standard_normal((1, 30, 560)).astype(np.float32)
    np.save("f.npy", features)
    subprocess.run([reference_python, "-c", code], check=True, capture_output=True)
    memory, log_probs = torch.load("theirs.pt", weights_only=True)

    network = AutoModel(model="out", disable_pbar=True, device="cpu", engine="torch").model.network
    with torch.inference_mode():
        encoded = network.encode(torch.from_numpy(features), torch.tensor([30]))
        logits, _ = network(torch.from_numpy(features), torch.tensor([30]))

    torch.testing.assert_close(encoded.memory, memory, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits.log_softmax(-1), log_probs, atol=1e-3, rtol=1e-3)
    logging.getLogger(__name__).info("%d tokens", logits.shape[1])
