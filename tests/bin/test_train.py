"""funasr-train, as a user runs it: a small recognizer, a few made-up sounds."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from funasr import AutoModel
from funasr.bin.train import main
from funasr.modeldir import ModelDir
from funasr.train.checkpoint import load_checkpoint
from funasr.train.recipe import Recipe
from funasr.train.sampler import plan_epoch
from tests.tiny_models import WORDS, make_paraformer, talk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_paraformer(_folder(tmp_path / "model"))
    for name, count in (("train", 6), ("val", 3)):
        with open(tmp_path / f"{name}.jsonl", "w") as file:
            for number in range(count):
                sound = talk(("loud", 0.8), seed=number)
                soundfile.write(tmp_path / f"{name}{number}.wav", sound, 16_000)
                line = {
                    "key": f"{name}{number}",
                    "source": f"{name}{number}.wav",
                    "source_len": 80,
                    "target": " ".join(WORDS[number % 2 : number % 2 + 2]),
                }
                file.write(json.dumps(line) + "\n")
    return tmp_path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def train(*more: str) -> int:
    return main(
        [
            "++model=model",
            "++train_data_set_list=train.jsonl",
            "++valid_data_set_list=val.jsonl",
            "++output_dir=out",
            "++device=cpu",
            "++train_conf.max_epoch=2",
            "++dataset_conf.batch_type=example",
            "++dataset_conf.batch_size=2",
            "++optim_conf.lr=0.01",
            "++scheduler_conf.warmup_steps=2",
            *more,
        ]
    )


def test_the_output_is_a_model_directory(desk: Path) -> None:
    assert train() == 0

    names = {path.name for path in (desk / "out").iterdir()}
    assert {"config.yaml", "configuration.json", "tokens.json", "seg_dict", "model.pt.avg10"} <= names
    [record] = AutoModel(model="out", disable_pbar=True).generate(input="val0.wav")
    assert record["key"] == "val0"
    before = load_checkpoint_of(desk / "model" / "model.pt")
    after = load_checkpoint(desk / "out" / "model.pt")["state_dict"]
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def load_checkpoint_of(path: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return loaded


def test_a_run_can_go_on_from_its_own_output(desk: Path) -> None:
    train()
    again = train("++train_conf.max_epoch=3")

    assert again == 0
    assert load_checkpoint(desk / "out" / "model.pt")["epoch"] == 3


def test_a_list_of_lists_is_read_in_slices(desk: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lines = (desk / "train.jsonl").read_text().splitlines(keepends=True)
    for number in range(3):
        (desk / f"part{number}.jsonl").write_text("".join(lines[2 * number : 2 * number + 2]))
    (desk / "parts.txt").write_text("part0.jsonl\npart1.jsonl\npart2.jsonl\n")

    assert train("++train_data_set_list=parts.txt", "++dataset_conf.data_split_num=2") == 0

    state = load_checkpoint(desk / "out" / "model.pt")
    assert state["data_split_num"] == 2
    assert state["batch_total"] == 2 * (2 + 1)  # two epochs, of two files and of one
    said = (desk / "out" / "log.txt").read_text()
    assert "slice 1 of 2: 2 of 2 utterances" in said


@pytest.mark.parametrize("name", ["train.py", "train_ds.py"])
def test_the_command_runs_as_a_file_that_hides_no_package(name: str, tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "funasr" / "bin" / name
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 2
    assert "no ++model=... given" in done.stderr


def test_frozen_parameters_stay(desk: Path) -> None:
    assert train("++freeze_param=encoder,decoder.decoders") == 0

    before = load_checkpoint_of(desk / "model" / "model.pt")
    after = load_checkpoint(desk / "out" / "model.pt")["state_dict"]
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert "encoder" not in changed
    assert "predictor" in changed


def test_a_sound_that_cannot_be_read_costs_its_example_alone(
    desk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (desk / "train3.wav").write_bytes(b"broken")
    assert train() == 0
    assert "train.jsonl, line 4" in caplog.text


@pytest.mark.parametrize(
    ("limits", "frames"),
    [({"max_source_length": 3000, "max_token_length": 2500}, 2400), ({"max_source_length": 2199}, 2190)],
)
def test_what_the_check_lets_through_is_learnt_from(desk: Path, limits: dict[str, int], frames: int) -> None:
    lists = {"train_data_set_list": "train.jsonl", "valid_data_set_list": "val.jsonl", "output_dir": "out"}
    recipe = Recipe.of(ModelDir.open(desk / "model", {**lists, "dataset_conf": limits}))

    assert recipe.limits.broken_by(frames, "a") is None
    plan = plan_epoch(np.array([80, frames]), recipe.sampler, epoch=0)
    assert sorted(index for batch in plan for index in batch) == [0, 1]


def test_check_names_bad_lines_and_builds_nothing(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(desk / "train2.wav", np.zeros(400_000), 16_000)
    assert train("--check") == 1

    said = capsys.readouterr()
    assert "train.jsonl, line 3: sound longer than max_source_length=2048" in said.err
    assert "5 of 6 utterances" in said.out
    assert not (desk / "out").exists()


def test_check_names_lines_also_when_none_is_good(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--check", "++dataset_conf.max_source_length=10") == 1

    said = capsys.readouterr()
    assert "val.jsonl, line 3: sound longer" in said.err
    assert "0 of 3 utterances" in said.out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["++train_conf.max_epochs=3"], "max_epoch"),
        (["++dataset_conf.batch_sise=3"], "batch_size"),
        (["++dataset_conf.batch_type=tokens"], "'token'"),
        (["++optim=adamx"], "adam"),
        (["++train_conf.use_deepspeed=true"], "use_fsdp=true"),
        (["++use_deepspeed=true"], "use_fsdp=true"),
        (["++scheduler=steplr"], "step_size"),
        (["++dataset_conf.data_split_num=0"], "data_split_num"),
        (["++train_data_set_list=no.jsonl"], "no data list 'no.jsonl'"),
        (["++dataset_conf.max_source_length=10"], "nothing to learn from"),
        (["++freeze_param=encode"], "no such parameters"),
        (["++model=MonotonicAligner", "++encoder_conf.output_size=8"], "no training of 'MonotonicAligner'"),
        (["++model=bundled-vad"], "'target' is no list of [start_ms, end_ms]"),
        (["++output_dir=null"], "++output_dir"),
        (["++seed=x"], "seed is 'x'"),
        (["--config-name", "none"], "no recipe 'none.yaml'"),
        (
            [
                "++dataset_conf.preprocessor_speech=SpeechPreprocessSpeedPerturb",
                "++dataset_conf.preprocessor_speech_conf.speed_perturb=[a]",
            ],
            "speed_perturb is ['a']",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    desk: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*more) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("encoder_conf.lora_lst=[q]", "encoder_conf has no setting 'lora_lst'. Did you mean 'lora_list'?"),
        ("decoder_conf.lora_rnk=8", "decoder_conf has no setting 'lora_rnk'. Did you mean 'lora_rank'?"),
        ("predictor_conf.tail_treshold=0.5", "Did you mean 'tail_threshold'?"),
        ("frontend_conf.ditther=1.0", "Did you mean 'dither'?"),
        ("model_conf.lsm_wieght=0.1", "Did you mean 'lsm_weight'?"),
    ],
)
def test_a_setting_of_the_network_that_is_misspelt_is_an_error_before_anything_is_done(
    desk: Path, setting: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(f"++{setting}") == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (desk / "out").exists()


def test_a_setting_that_the_model_itself_has_may_be_unknown_and_typed(
    desk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = desk / "model" / "config.yaml"
    text = config.read_text().replace("output_size:", "of_another_program: 1\n  output_size:")
    config.write_text(text)
    assert "of_another_program" in text

    assert train("++encoder_conf.of_another_program=2", "++encoder_conf.dropout_rate=0.0") == 0

    assert "encoder_conf has a key 'of_another_program' that is not used" in caplog.text
    assert "of_another_program: 2" in (desk / "out" / "config.yaml").read_text()


def test_another_network_does_not_go_on_from_a_checkpoint(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("++train_conf.max_epoch=1") == 0
    capsys.readouterr()

    assert train("++encoder_conf.lora_list=[q]", "++lora_only=true") == 2

    error = capsys.readouterr().err
    assert "out/model.pt cannot be gone on from" in error
    assert "resume=false" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("rank", "world", "said"),
    [("3", "2", "ranks count from 0"), ("0", "two", "whole numbers"), ("0", "0", "ranks count")],
)
def test_a_place_among_processes_that_cannot_be_is_told_and_not_waited_for(
    desk: Path,
    rank: str,
    world: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)

    assert train() == 2

    assert said in capsys.readouterr().err


def test_without_torch_the_command_that_installs_it_is_said(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("funasr.auto.torch_network.has_torch", lambda: False)

    assert train() == 2

    assert 'pip install "funasr[train]"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("max_epoch", "train_conf.max_epoch"),
        ("freeze_params", "freeze_param"),
        ("foo", "'foo' is no setting"),
    ],
)
def test_a_name_that_means_nothing_is_an_error(
    desk: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    lists = [f"++train_data_set_list={desk}/train.jsonl", f"++valid_data_set_list={desk}/val.jsonl"]

    assert main([f"++model={desk}/model", *lists, f"++output_dir={desk}/out", f"++{name}=1"]) == 2

    assert said in capsys.readouterr().err
    assert not (desk / "out").exists()
