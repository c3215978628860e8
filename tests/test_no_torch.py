"""Both packages work where torch is absent: the bundled models, the commands, the classes of funasr_onnx."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from funasr import AutoModel
from tests.hub.servers import Repository, serve_hub
from tests.tiny_models import make_vad

# A finder that answers before any other is what "not installed" looks like, wherever the import stands.
ABSENT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchaudio"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

PRESENT = """
assert not any(name.partition(".")[0] == "torch" for name in sys.modules)
try:
    import torch
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("torch was there all the same")
"""

PIPELINE = """
import json
from funasr import AutoModel
model = AutoModel(
    "bundled-asr", vad_model="bundled-vad", punc_model="bundled-punc", spk_model="bundled-spk", ncpu=1
)
print(json.dumps(model.generate(sys.argv[1:], disable_pbar=True)))
"""

STREAM = """
from funasr import AutoModel
from funasr.audio.load import load_audio
stream = AutoModel("bundled-streaming", vad_model="bundled-vad", ncpu=1).stream()
samples = load_audio(sys.argv[1])
events = [event for at in range(0, len(samples), 4800) for event in stream.accept(samples[at : at + 4800])]
events += stream.flush()
print(" ".join(type(event).__name__ for event in events))
"""

CLASSES = """
import funasr_onnx
from funasr import hub
sound = sys.argv[1]
print(funasr_onnx.Paraformer(hub.resolve("bundled-asr"), intra_op_num_threads=1)(sound)[0]["preds"])
print(funasr_onnx.Fsmn_vad(hub.resolve("bundled-vad"), intra_op_num_threads=1)(sound))
print(funasr_onnx.CT_Transformer(hub.resolve("bundled-punc"), intra_op_num_threads=1)("今天天气很好")[0])
"""


def run(program: str, *arguments: str | Path, **environment: str) -> str:
    """The output of a program that has no torch. It must not write to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", ABSENT + program + PRESENT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def samples(bundled_dir: Path) -> list[Path]:
    return [bundled_dir / "samples" / name for name in ("digits-hts.flac", "pauses.flac")]


def test_the_whole_pipeline_says_what_it_says_with_torch(samples: list[Path]) -> None:
    model = AutoModel(
        "bundled-asr",
        vad_model="bundled-vad",
        punc_model="bundled-punc",
        spk_model="bundled-spk",
        device="cpu",
        engine="torch",
        ncpu=1,
    )
    expected = model.generate([str(path) for path in samples], disable_pbar=True)

    found: list[dict[str, Any]] = json.loads(run(PIPELINE, *samples))

    assert expected[0]["text"]
    for one, other in zip(found, expected, strict=True):
        assert one["text"] == other["text"]
        assert one["sentence_info"] == json.loads(json.dumps(other["sentence_info"]))


def test_live_streams_tell_words(samples: list[Path]) -> None:
    told = run(STREAM, samples[0]).split()

    assert "Final" in told


def test_the_command_transcribes(samples: list[Path]) -> None:
    command = "from funasr.bin.inference import main\nassert main(sys.argv[1:]) == 0\n"

    assert run(command, samples[0]).split()
    assert '"speaker": 0' in run(command, "--spk", "-f", "json", samples[0])


def test_the_live_command_plays_a_file(samples: list[Path]) -> None:
    command = "from funasr.bin.live import main\nassert main(sys.argv[1:]) == 0\n"

    assert run(command, "--file", samples[0], "--speed", "50", "-f", "json")


def test_the_classes_run(samples: list[Path]) -> None:
    text, segments, marked = run(CLASSES, samples[0]).splitlines()

    assert len(text) > 10
    assert segments.startswith("[[[")
    assert marked[-1] in "。？"


def test_weights_alone_say_what_is_missing(tmp_path: Path) -> None:
    make_vad(tmp_path)
    program = (
        "from funasr import AutoModel\nfrom funasr.errors import MissingDependencyError\n"
        "try: AutoModel(sys.argv[1])\nexcept MissingDependencyError as error: print(error)\n"
    )

    said = run(program, tmp_path)

    assert 'pip install "funasr[torch]"' in said
    assert f"funasr-export ++model={tmp_path}" in said


@pytest.mark.parametrize("config", ["model: FsmnVADStreaming\n", ""])
def test_names_of_the_hub_are_its_graphs(tmp_path: Path, bundled_dir: Path, config: str) -> None:
    source = bundled_dir / "fsmn-vad-small"
    settings = (source / "config.yaml").read_text("utf-8")
    lines = [line for line in settings.splitlines() if not line.startswith("model:")]
    files = {
        "config.yaml": (config + "\n".join(lines) + "\n").encode(),
        "am.mvn": (source / "am.mvn").read_bytes(),
        "model.onnx": (source / "model.onnx").read_bytes(),
    }
    program = (
        "from funasr import AutoModel\nmodel = AutoModel('fsmn-vad')\n"
        "print(model.model_path, type(model.model).__name__)\n"
    )
    with serve_hub("ms") as hub:
        hub.repositories["iic/speech_fsmn_vad_zh-cn-16k-common-onnx"] = Repository({"master": files})
        home = {
            "HOME": str(tmp_path),
            "MODELSCOPE_ENDPOINT": hub.url,
            "MODELSCOPE_CACHE": str(tmp_path / "c"),
        }
        told = run(program, **home)

    assert "common-onnx" in told
    assert told.endswith("SpeechDetector")
