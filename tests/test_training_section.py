"""The README's training section, run as written beside the sample data: it learns, and in time."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from funasr import AutoModel
from funasr.train.report import read_start
from tests.conftest import ROOT
from tests.test_docs import BLOCKS

SECONDS = 300
SCRIPT = ROOT / "examples/industrial_data_pretraining/paraformer/finetune.sh"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "data", tmp_path / "data")
    return tmp_path


def bash(folder: Path, *arguments: str, **variables: str) -> str:
    """What the commands said. Programs are those beside this Python."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    threads = str(min(2, os.cpu_count() or 1))
    environment = os.environ | {"PATH": programs, "OMP_NUM_THREADS": threads, **variables}
    done = subprocess.run(
        ["bash", "-e", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_section_as_written_learns_within_five_minutes(clone: Path) -> None:
    [block] = [b for b in BLOCKS if b.page == ROOT / "README.md" and "funasr-train" in b.code]
    began = time.monotonic()
    said = bash(clone, "-c", block.code)

    assert time.monotonic() - began < SECONDS
    before, after = (float(rate) for rate in re.findall(r"^ +all +([\d.]+)%", said, flags=re.M))
    assert before == pytest.approx(50.7, abs=1.5)  # as the page says, on another processor too
    assert after < 15
    assert json.loads((clone / "exp/result/summary.json").read_text())["error_rate"] == pytest.approx(
        after / 100, abs=1e-4
    )
    assert "curves.png" in (clone / "exp/whisper/report.md").read_text()


@pytest.mark.slow
def test_the_script_works_from_any_directory(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    variables = {"data_root": str(clone), "data_dir": str(clone / "data/list"), "output_dir": "out"}
    bash(tmp_path / "elsewhere", str(SCRIPT), "++train_conf.max_epoch=1", **variables)

    out = tmp_path / "elsewhere" / "out"
    rates = json.loads((out / "report.json").read_text())["evaluations"]
    assert rates["after"]["error_rate"] < rates["before"]["error_rate"]
    assert Path(read_start(out).model).name == "paraformer-words-en"
    assert "step_in_epoch" in (out / "log.txt").read_text()


HEAR = """
import json, sys
from funasr import AutoModel
model = AutoModel(model=sys.argv[1], device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR")
print("heard:" + json.dumps([model.generate(input=path)[0]["text"] for path in sys.argv[2:]]))
"""


@pytest.mark.reference
def test_upstream_hears_what_we_hear_with_the_model_of_a_run(clone: Path, reference_python: str) -> None:
    variables = {"data_root": str(clone), "data_dir": str(clone / "data/list"), "output_dir": "out"}
    bash(clone, str(SCRIPT), "++train_conf.max_epoch=1", **variables)
    sounds = [str(path) for path in sorted((clone / "data/wav/val").iterdir())[:8]]
    done = subprocess.run(
        [reference_python, "-c", HEAR, str(clone / "out"), *sounds],
        capture_output=True,
        text=True,
        check=True,
    )

    [theirs] = re.findall("heard:(.*)", done.stdout)
    model = AutoModel(model=str(clone / "out"), device="cpu", disable_pbar=True)
    assert json.loads(theirs) == [model.generate(input=sound)[0]["text"] for sound in sounds]
