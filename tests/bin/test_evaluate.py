"""funasr-eval as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from funasr import AutoModel
from funasr.bin.evaluate import main
from tests.conftest import ROOT
from tests.tiny_models import make_paraformer

SAMPLES = ROOT / "funasr" / "bundled" / "samples"
TEXTS = dict(line.split(maxsplit=1) for line in (SAMPLES / "text.txt").read_text().splitlines())


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two recordings that the bundled model hears right, one of them with a text that is wrong at its end."""
    monkeypatch.chdir(tmp_path)
    lines = [
        {"key": "digits", "source": str(SAMPLES / "digits-scottish.flac"), "target": "SIX, three nine five!"},
        {"key": "yes", "source": str(SAMPLES / "answers-arctic-male.mp3"), "target": "yes no yes go"},
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(*settings: str) -> int:
    return main(["++model=bundled-asr", "++device=cpu", *settings])


def test_the_totals_are_a_table_and_each_utterance_a_line(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("++data=test.jsonl", "++output_dir=result", "++batch_size=2") == 0

    said = capsys.readouterr()
    assert "WER" in said.out
    assert "12.50%" in said.out  # 1 of 8
    assert "2 utterances, 1 without error" in said.out
    assert "go > - (1)" in said.out
    assert said.err == ""
    lines = [json.loads(line) for line in (desk / "result" / "utterances.jsonl").read_text().splitlines()]
    assert [line["hyp"] for line in lines] == ["six three nine five", "yes no yes"]
    assert json.loads((desk / "result" / "summary.json").read_text())["deletions"] == 1


def test_texts_can_be_compared_as_they_stand(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", "++data=test.jsonl", "++normalize=false") == 0

    assert json.loads(capsys.readouterr().out)["error_rate"] == pytest.approx(3 / 8)  # SIX, and five!


def test_two_lists_do_and_bad_lines_are_named(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "no.wav").write_bytes(b"no sound")
    (desk / "wav.scp").write_text(f"a {SAMPLES / 'one-word.flac'}\nb no.wav\nc c.wav\n")
    (desk / "text.txt").write_text("a left\nb right\n")

    assert run("--json", "++data=wav.scp", "++text=text.txt") == 1

    said = capsys.readouterr()
    totals = json.loads(said.out)
    assert (totals["utterances"], totals["failed"], totals["lines_left_out"]) == (1, 1, 1)
    assert totals["error_rate"] == 0.0
    assert "wav.scp: c has no target" in said.err
    assert "b: " in said.err
    assert "no.wav" in said.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["++data=none.jsonl"], "none.jsonl"),
        (["++model=null", "++data=test.jsonl"], "no ++model=... given. example: funasr-eval"),
        ([], "no ++data=... given"),
        (["++data=test.jsonl", "++unit=syllable"], "unit is 'syllable'"),
        (["++data=test.jsonl", "++batch_sise=3"], "batch_size"),
        (["++data=test.jsonl", "++normalize=perhaps"], "normalize is 'perhaps'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    desk: Path, settings: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*settings) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


PROGRAM = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchaudio"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import funasr.bin.report
from funasr.bin.evaluate import main

assert main(sys.argv[1:]) == 0
assert "torch" not in sys.modules
"""


def test_a_graph_is_evaluated_without_torch(desk: Path) -> None:
    (desk / "model").mkdir()
    exported = AutoModel(model=str(make_paraformer(desk / "model")), device="cpu", disable_pbar=True)
    graph = Path(exported.export(output_dir=desk / "graph"))
    assert not (graph / "model.pt").exists()
    settings = [f"++model={graph}", "++data=test.jsonl", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *settings], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["utterances"] == 2
