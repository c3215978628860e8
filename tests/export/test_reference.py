"""Other people's programs run what we export, and we run what the reference exports."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from funasr import AutoModel
from funasr.audio.load import load_audio
from funasr.bin.export import main
from funasr.export.trials import SAMPLES
from funasr.features.cmvn import write_cmvn
from tests.small_dirs import GOLDEN
from tests.tiny_models import make_paraformer, talk

CLASSES = ["Paraformer", "BiCifParaformer", "ContextualParaformer"]
"""Of a random SeACo its runtime says that peaks and tokens differ in number; scripts/parity_onnx.py
has one that it reads."""
HOTWORDS = "好天 今气 a"
"""As in run_exported.py."""


def ask(python: str, folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [python, str(GOLDEN / "run_exported.py"), str(folder / "job.json"), str(folder / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def texts(folder: Path, wavs: Sequence[str], engine: str) -> list[str]:
    model = AutoModel(model=str(folder), engine=engine, ncpu=1, disable_update=True)
    given = {"hotword": HOTWORDS} if getattr(model.model.network, "accepts_hotwords", False) else {}
    return [record["text"] for record in model.generate(input=list(wavs), **given)]


@pytest.fixture
def wavs(tmp_path: Path) -> list[str]:
    for number in range(3):
        sound = talk(("loud", 0.7 + number), ("quiet", 0.3), ("loud", 0.5), seed=number)
        soundfile.write(tmp_path / f"{number}.wav", sound, 16000)
    return [str(tmp_path / f"{number}.wav") for number in range(3)]


@pytest.mark.reference
def test_the_references_runtime_reads_our_graphs_and_we_read_those_of_its_exporter(
    tmp_path: Path, wavs: list[str], reference_python: str
) -> None:
    made = {name: make_paraformer(tmp_path / name, name) for name in CLASSES}
    for folder in made.values():  # which its runtime wants
        write_cmvn(folder / "am.mvn", np.zeros(560, np.float32), np.full(560, 0.3, np.float32))
    ours = {name: str(tmp_path / f"{name}-ours") for name in CLASSES}
    # The exporter of networks with hotwords has 512 channels written into it.
    theirs = {name: str(tmp_path / f"{name}-theirs") for name in CLASSES[:2]}
    for name, folder in ours.items():
        assert main([f"++model={made[name]}", f"++output_dir={folder}", f"++input={wavs[0]}"]) == 0
    for name, folder in theirs.items():
        shutil.copytree(made[name], folder)

    said = ask(reference_python, tmp_path, {"export": theirs, "directories": ours, "wavs": wavs})["texts"]

    for name in CLASSES:
        wanted = texts(made[name], wavs, "torch")
        for theirs_says, we_say in zip(said[name], wanted, strict=True):
            # It takes the last token for the end of the sentence, which a random network does not write.
            short, whole = ("".join(text.split()).lower() for text in (theirs_says, we_say))
            assert len(whole) - 1 <= len(short)
            assert whole.startswith(short)
        if name in theirs:
            assert texts(Path(theirs[name]), wavs, "onnx") == wanted


@pytest.mark.reference
def test_sherpa_onnx_reads_our_graphs(tmp_path: Path, reference_python: str) -> None:
    import funasr

    words = Path(funasr.__file__).parent / "bundled" / "paraformer-words-en"
    assert main([f"++model={words}", f"++output_dir={tmp_path / 'out'}", "++quantize=true"]) == 0
    tokens = json.loads((tmp_path / "out" / "tokens.json").read_text(encoding="utf-8"))
    lines = (f"{token} {number}\n" for number, token in enumerate(tokens))
    (tmp_path / "out" / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    wavs = []
    for path in sorted(SAMPLES.iterdir()):
        if path.suffix in (".flac", ".mp3"):
            wavs.append(str(tmp_path / f"{path.stem}.wav"))
            soundfile.write(wavs[-1], load_audio(path, 16000), 16000)

    job = {"export": {}, "directories": {}, "wavs": [], "words": str(tmp_path / "out"), "spoken": wavs}
    said = ask(reference_python, tmp_path, job)["sherpa"]

    wanted = texts(words, wavs, "torch")
    assert said == {"model": wanted, "model_quant": wanted}
