"""funasr-train --report, with a run and for one that is over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from funasr.bin.train import main
from tests.tiny_models import WORDS, make_paraformer, talk

RUN = [
    "++model=model",
    "++train_data_set_list=val.jsonl",
    "++valid_data_set_list=val.jsonl",
    "++output_dir=out",
    "++device=cpu",
    "++train_conf.max_epoch=2",
    "++train_conf.log_interval=1",
    "++optim_conf.lr=0.01",
]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    make_paraformer(tmp_path / "model")
    lines = []
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", talk(("loud", 0.8), seed=number), 16_000)
        target = " ".join(WORDS[number % 2 : number % 2 + 2])
        lines.append({"key": str(number), "source": f"{number}.wav", "source_len": 80, "target": target})
    (tmp_path / "val.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_a_run_ends_with_its_report(
    desk: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")  # which is what the command does where nobody has set up logging before
    assert main([*RUN, "--report"]) == 0

    assert str(Path("out") / "report.md") in capsys.readouterr().out
    report = json.loads((desk / "out" / "report.json").read_text())
    assert list(report["evaluations"]) == ["before", "after", "model.pt.avg10"]
    assert report["model"] == str(desk / "model")
    assert [point["step"] for point in report["curves"]["val"]] == [1, 2]
    assert (desk / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "curves.png" in (desk / "out" / "report.md").read_text()


def test_a_run_that_is_over_gets_one_from_anywhere(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(RUN) == 0
    assert not (desk / "out" / "report.md").exists()
    (desk / "elsewhere").mkdir()
    monkeypatch.chdir(desk / "elsewhere")
    for path in (desk / "model").iterdir():  # what it began with is gone
        path.unlink()

    assert main(["--report", "../out"]) == 0

    text = (desk / "out" / "report.md").read_text()
    assert "No figures for before" in text
    assert "| after |" in text
    assert main(["--report", "."]) == 2
    assert "not the output directory of a run" in capsys.readouterr().err
