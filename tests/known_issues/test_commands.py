"""Ways in which the commands left their user without an answer: each stays fixed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from funasr.bin import export, inference, live

SAMPLE = str(Path(inference.__file__).parents[1] / "bundled" / "samples" / "one-word.flac")


def run(*arguments: str, module: str = "inference") -> tuple[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", f"funasr.bin.{module}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, done.stderr.splitlines()


def test_hotwords_that_have_no_effect_and_a_device_that_is_not_there_are_told_of() -> None:
    out, err = run("-m", "bundled-asr", "--hotword", "left", "--device", "cuda:99", SAMPLE, "/absent.wav")

    assert out == f"{SAMPLE}: left\n"
    assert [line for line in err if "takes no hotwords" in line] == [
        "funasr: model 'bundled-asr' takes no hotwords; paraformer-zh does. They are ignored."
    ]
    assert any("device 'cuda:99' is not available here; using cpu" in line for line in err)
    assert sum("absent.wav" in line for line in err) == 1


def test_quiet_is_quiet() -> None:
    assert run("-q", "--hotword", "left", SAMPLE) == ("left\n", [])
    assert run(
        "-q",
        "--two-pass",
        "-m",
        "none",
        "--hotword",
        "left",
        "--file",
        SAMPLE,
        "--speed",
        "99",
        module="live",
    ) == ("left\n", [])


@pytest.mark.parametrize(
    "arguments", [["-f", "xyz", "a.wav"], ["--ncpu", "two", "a.wav"], ["a.wav", "--spk-num"]]
)
def test_a_bad_value_is_answered_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert inference.main(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("funasr: argument ")
    assert line.endswith("funasr --help lists what there is")


def test_a_live_command_with_a_bad_value_is_answered_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert live.main(["--speed", "fast"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("funasr-live: argument --speed: invalid float value: 'fast'.")


def test_a_detector_in_place_of_a_recognizer_is_called_by_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert inference.main(["-m", "bundled-vad", SAMPLE]) == 2
    assert "or name a recognizer as the model" in capsys.readouterr().err


def test_a_command_that_fails_leaves_no_folder_that_was_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    silence = tmp_path / "nothing.wav"
    soundfile.write(silence, np.zeros(0), 16000)

    assert inference.main(["-m", "./typo", "-o", "out/of/it", SAMPLE]) == 2
    assert export.main(["++model=bundled-asr", "++output_dir=out/of/it", f"++input={silence}"]) == 2
    assert not (tmp_path / "out").exists()

    (tmp_path / "out" / "of").mkdir(parents=True)
    assert inference.main(["-m", "./typo", "-o", "out/of/it", SAMPLE]) == 2
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["of"]
