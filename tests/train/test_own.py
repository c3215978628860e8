"""Training code of one's own: what it may change, that a run of it goes on, and what is said of mistakes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch

from funasr.bin.train import main
from funasr.config import load_yaml
from funasr.train.checkpoint import load_checkpoint
from tests.test_docs import BLOCKS, ROOT
from tests.tiny_models import WORDS, make_paraformer, talk

TONES = '''
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from funasr.config import options, section
from funasr.train.data import Example
from funasr.train.own import OwnTraining


@dataclass(frozen=True, kw_only=True)
class Setup:
    size: int = 6


class Tones:
    def __init__(self, size, parts):
        self.size, self.parts = size, parts

    def lengths(self, epoch):
        return np.full(self.size, 10)

    def load(self, epoch, index):
        rng = np.random.default_rng((epoch, index))
        sound = rng.normal(0, 0.1, 9600).astype(np.float32)
        return Example(key=str(index), features=self.parts.frontend(sound), target=np.array([3, 4]))


class Shifted(nn.Module):
    """The usual loss, and a weight of its own."""

    def __init__(self, usual, trainer):
        super().__init__()
        self.usual, self.trainer = usual, trainer
        self.shift = nn.Parameter(torch.ones(2, 2))

    def forward(self, model, batch):
        loss, stats = self.usual(model, batch)
        loss = loss + self.shift.square().sum() * (1 + self.trainer().progress.epoch)
        return loss, {**stats, "shift": self.shift.detach().sum()}


class Toy(OwnTraining):
    def __init__(self, settings):
        super().__init__(settings)
        self.setup = options(Setup, section(settings, "own"), "own")

    def prepare(self):
        return {"optim_conf": {"lr": 0.5, "weight_decay": 0.25}}

    def data(self, recipe, parts):
        return Tones(self.setup.size, parts), Tones(2, parts)

    def criterion(self, network, parts):
        return Shifted(super().criterion(network, parts), lambda: self.trainer)

    def validated(self):
        progress = self.trainer.progress
        progress.val_acc[progress.name()] = -float(progress.epoch)

    def finish(self):
        (self.trainer.output / "finished").write_text(str(self.trainer.progress.epoch))


lesson = Toy
'''
NOTHING = "from funasr.train.own import OwnTraining\nclass Same(OwnTraining):\n    pass\nlesson = Same\n"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory to work in; what code of one's own leaves in Python is taken away."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    make_paraformer(tmp_path / "model")
    for name in ("train", "val"):
        soundfile.write(tmp_path / f"{name}.wav", talk(("loud", 0.8), seed=1), 16_000)
        line = {"key": "a", "source": f"{name}.wav", "source_len": 80, "target": WORDS[0]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def train(*more: str) -> int:
    usual = ["++output_dir=out", "++device=cpu", "++train_conf.max_epoch=2", "++optim_conf.lr=0.01"]
    usual += ["++scheduler_conf.warmup_steps=2", "++dataset_conf.batch_size=25"]
    return main(["++model=model", *usual, *more])


def own(code: str, *more: str, name: str = "toy") -> int:
    Path(f"{name}.py").write_text(code)
    return train("++trust_remote_code=true", f"++remote_code={name}.py", *more)


LISTS = ("++train_data_set_list=train.jsonl", "++valid_data_set_list=val.jsonl")


def test_data_and_loss_of_ones_own_need_no_lists(desk: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    assert own(TONES) == 0

    assert "toy.py: code of its own for prepare, data, criterion, validated, finish" in caplog.text
    state = load_checkpoint(Path("out/model.pt"))
    assert state["batch_total"] == 2 * 3  # six examples of 10 rows, two to a batch of 25
    assert state["criterion"]["shift"].abs().max() < 1  # it learns too
    assert Path("out/finished").read_text() == "2"


def test_validated_decides_which_checkpoint_is_best(desk: Path) -> None:
    own(TONES)

    best, first = Path("out/model.pt.best"), Path("out/model.pt.ep1")
    assert best.samefile(first)


def test_what_the_command_says_wins_over_what_the_code_prepares(desk: Path) -> None:
    own(TONES)

    assert load_yaml("out/config.yaml")["optim_conf"] == {"lr": 0.01, "weight_decay": 0.25}


def test_the_output_names_no_code_that_another_program_might_run(desk: Path) -> None:
    own(TONES)

    settings = load_yaml("out/config.yaml")
    assert not {"remote_code", "trust_remote_code"} & set(settings)


def test_a_run_that_stopped_ends_with_the_weights_of_one_that_did_not(desk: Path) -> None:
    own(TONES, "++train_conf.max_epoch=3", "++output_dir=whole")
    own(TONES, "++train_conf.max_epoch=1")

    own(TONES, "++train_conf.max_epoch=3")

    whole, parts = (load_checkpoint(Path(name) / "model.pt") for name in ("whole", "out"))
    for kind in ("state_dict", "criterion"):
        assert all(torch.equal(value, parts[kind][name]) for name, value in whole[kind].items())


def test_code_that_changes_nothing_changes_nothing(desk: Path) -> None:
    train(*LISTS, "++output_dir=without")

    own(NOTHING, *LISTS)

    without, same = (load_checkpoint(Path(name) / "model.pt") for name in ("without", "out"))
    assert all(torch.equal(value, same["state_dict"][name]) for name, value in without["state_dict"].items())


def test_the_code_of_a_recipe_lies_beside_it(desk: Path) -> None:
    (desk / "recipes").mkdir()
    (desk / "recipes" / "helper.py").write_text("SIZE = 4\n")
    code = TONES.replace("size: int = 6", "size: int = SIZE") + "\nfrom helper import SIZE\n"
    (desk / "recipes" / "small.py").write_text("from helper import SIZE\n" + code)
    (desk / "recipes" / "small.yaml").write_text("remote_code: small.py\nown: {}\n")

    done = train("--config-path", "recipes", "--config-name", "small", "++trust_remote_code=true")

    assert done == 0
    assert load_checkpoint(Path("out/model.pt"))["batch_total"] == 2 * 2


@pytest.mark.parametrize(
    ("code", "more", "said"),
    [
        (TONES, ["++trust_remote_code=false"], "allow it with ++trust_remote_code=true"),
        (TONES, ["++trust_remote_code=1"], "which may do whatever you may do"),
        (TONES, ["++remote_code=https://example.com/toy.py"], "only a file on this machine"),
        (TONES, ["++remote_code=absent.py"], "no Python file"),
        (TONES, ["++remote_code=model"], "no Python file"),
        (TONES, ["++remote_code=null", "++own.size=3", *LISTS], "which no ++remote_code=FILE names"),
        (TONES, ["++own.sise=3"], "own has no option 'sise'. Did you mean 'size'?"),
        (TONES, ["--check"], "remote_code makes the data"),
        (NOTHING, [], "no ++train_data_set_list=... given"),
        ("lesson = 3\n", [], "has no class `lesson`"),
        ("class Toy: pass\n", [], "'Code of your own', has an example"),
        ("import absent_of_course\n", [], "No module named 'absent_of_course'"),
        ("def (\n", [], "cannot be imported: SyntaxError"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    desk: Path, code: str, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own(code, *more) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


def test_data_that_is_none_is_told(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert own(TONES.replace("return Tones(self", "if False: return Tones(self")) == 2

    assert "data() of remote_code gave nothing" in capsys.readouterr().err


def test_code_by_the_name_of_another_module_is_refused(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own(TONES, name="json") == 2

    assert "another module has the name 'json'" in capsys.readouterr().err


def test_the_example_of_the_page_learns(desk: Path) -> None:
    [block] = [b for b in BLOCKS if b.page == ROOT / "docs/training.md" and "OwnTraining" in b.code]
    Path("tones.py").write_text(block.code)

    done = train(
        "++model=bundled-asr",
        "++trust_remote_code=true",
        "++remote_code=tones.py",
        "++own.utterances=8",
    )

    assert done == 0
    assert json.loads(Path("out/result.json").read_text())["updates"] > 0
