"""The recipes of the bundled models: their settings, and a short run of those that need no large corpus."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from funasr import AutoModel
from funasr.bin.train import main
from funasr.config import load_yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "train_bundled"
BUNDLED = {
    "vad": "fsmn-vad-small",
    "punctuation": "ct-punc-small",
    "speakers": "campplus-small",
    "words": "paraformer-words-en",
    "streaming": "paraformer-words-en-streaming",
}
FOUND = {"predictor_conf": {"smooth_factor"}, "spk_conf": {"between", "within"}}
"""What a run finds by itself."""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a recipe's code leaves in Python is taken away."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(EXAMPLE) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def train(name: str, *more: str) -> int:
    recipe = ["--config-path", str(EXAMPLE), "--config-name", name]
    return main([*recipe, "++trust_remote_code=true", "++device=cpu", *more])


@pytest.mark.parametrize("name", BUNDLED)
def test_a_recipe_is_of_the_network_that_comes_with_the_package(name: str) -> None:
    recipe = load_yaml(EXAMPLE / f"{name}.yaml")

    for part, settings in load_yaml(ROOT / "funasr" / "bundled" / BUNDLED[name] / "config.yaml").items():
        if isinstance(settings, dict):
            settings = {key: value for key, value in settings.items() if key not in FOUND.get(part, ())}
        assert recipe[part] == settings


@pytest.mark.parametrize("name", BUNDLED)
def test_a_recipe_asks_for_its_data_and_makes_nothing_without(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(name, f"++output_dir={tmp_path / 'exp'}") == 2

    assert "++own.data=DIR" in capsys.readouterr().err
    assert not (tmp_path / "exp").exists()


def write_corpus(folder: Path, *names: str) -> None:
    """Half a second of noise by each name."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(folder.name))
    for name in names:
        soundfile.write(folder / f"{name}.wav", rng.normal(0, 0.1, 8000), 16_000)
    (folder / "wav.scp").write_text("".join(f"{name} {name}.wav\n" for name in names))


def test_the_detector_s_recipe_makes_a_model_of_sounds_and_a_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    from vad_data import NOISE, SOURCES

    for source in SOURCES:
        write_corpus(tmp_path / "data" / source.folder, "one", "two")
    write_corpus(tmp_path / "data" / NOISE, "noise1", "rir1")
    teacher = ROOT / "funasr" / "bundled" / "fsmn-vad-small"
    shutil.copytree(teacher, tmp_path / "data" / "models" / "fsmn-vad-official")

    done = train(
        "vad",
        f"++own.data={tmp_path / 'data'}",
        f"++output_dir={tmp_path / 'exp'}",
        *("++own.recordings=4", "++own.held_out=2", "++own.measured=3", "++train_conf.max_epoch=1"),
    )

    assert done == 0
    made = tmp_path / "exp" / "model"
    assert {path.name for path in made.iterdir()} == {
        "am.mvn",
        "config.yaml",
        "configuration.json",
        "model.pt",
    }
    assert load_yaml(made / "config.yaml") == load_yaml(teacher / "config.yaml")
    sound = str(tmp_path / "data" / NOISE / "noise1.wav")
    [record] = AutoModel(model=str(made), device="cpu", disable_pbar=True).generate(input=sound)
    assert isinstance(record["value"], list)


def test_the_punctuation_recipe_makes_a_model_of_texts(tmp_path: Path) -> None:
    lines = ["今天天气不错，我们走吧。", "你去吗？我不去。", "红、黄和蓝。", "I see, thanks. Are you there?"]
    for language in ("zh", "mixed", "en"):
        (tmp_path / "data" / "text" / language).mkdir(parents=True)
        text = "".join(f"{lines[number % 4]}\n" for number in range(1200))
        (tmp_path / "data" / "text" / language / "made_up.txt").write_text(text, encoding="utf-8")

    done = train(
        "punctuation",
        f"++own.data={tmp_path / 'data'}",
        f"++own.out={tmp_path / 'punc'}",
        f"++output_dir={tmp_path / 'exp'}",
        "++train_conf.max_epoch=1",
    )

    assert done == 0
    made, bundled = tmp_path / "punc", ROOT / "funasr" / "bundled" / "ct-punc-small"
    assert load_yaml(made / "config.yaml") == load_yaml(bundled / "config.yaml")
    [record] = AutoModel(model=str(made), device="cpu", disable_pbar=True).generate(input="今天天气不错")
    assert record["text"].startswith("今")
