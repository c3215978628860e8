"""kill -9, for real: `funasr-train` in a process of its own, at random moments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.tiny_models import WORDS, make_paraformer, talk

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_run_that_is_killed_ends_with_the_weights_of_one_that_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("train", 48), ("val", 4)):
        with open(tmp_path / f"{name}.jsonl", "w") as file:
            for number in range(count):
                path = tmp_path / f"{name}{number}.wav"
                soundfile.write(path, talk(("loud", float(rng.uniform(0.5, 1.5))), seed=number), 16_000)
                text = " ".join(rng.choice(WORDS[:10], int(rng.integers(1, 5))))
                line = {"key": path.stem, "source": str(path), "source_len": 80, "target": text}
                file.write(json.dumps(line) + "\n")
    (tmp_path / "model").mkdir()
    make_paraformer(tmp_path / "model")

    command = [sys.executable, "benchmarks/kills.py", "--kills", "3", "--epochs", "2"]
    command += [
        "--model",
        str(tmp_path / "model"),
        "--data",
        str(tmp_path),
        "++train_conf.validate_interval=7",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed 3 times by 0\n" in done.stdout
