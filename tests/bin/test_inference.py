"""The funasr command, typed as a user would, mistakes included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from funasr.bin.inference import _choose, _parser, main
from tests.tiny_models import make_ct_punc, make_paraformer, make_vad, talk


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    make_paraformer(folder / "asr")
    make_vad(folder / "vad")
    make_ct_punc(folder / "punc")
    for name, seed in (("one", 1), ("two", 2)):
        sound = talk(("quiet", 0.5), ("loud", 1.5), ("quiet", 1.0), ("loud", 1.0), ("quiet", 0.5), seed=seed)
        soundfile.write(folder / f"{name}.wav", sound, 16000)
    (folder / "bad.wav").write_bytes(b"not sound at all")
    return folder


@pytest.fixture
def models(work: Path) -> list[str]:
    return ["-m", str(work / "asr"), "--vad-model", str(work / "vad"), "--device", "cpu"]


def test_one_file_is_a_line_of_text_and_nothing_else(
    work: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(work / "one.wav"), *models]) == 0

    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert out.strip()
    assert err == ""


def test_a_bad_file_among_others_is_named_and_the_others_are_done(
    work: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(work / name) for name in ("one.wav", "bad.wav", "absent.wav", "two.wav")]

    assert main([*names, *models]) == 1

    out, err = capsys.readouterr()
    assert [line.split(": ")[0] for line in out.splitlines()] == [names[0], names[3]]
    assert [line.split(": ")[1] for line in err.splitlines()] == names[1:3]


@pytest.mark.parametrize("form", ["srt", "vtt", "tsv", "json", "text"])
def test_each_format_has_the_words_of_the_text(
    form: str, work: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(work / "one.wav"), *models])
    words = capsys.readouterr().out.split()

    assert main([str(work / "one.wav"), "-f", form, "--timestamps", *models]) == 0

    out = capsys.readouterr().out
    if form == "json":
        out_words = json.loads(out)["text"].split()
    else:
        out_words = [word for word in out.split() if word in words]
    assert out_words == words
    if form == "srt":
        assert out.startswith("1\n00:00:00,")
    if form == "vtt":
        assert out.startswith("WEBVTT")
    if form == "json":
        record = json.loads(out)
        assert record["audio_duration_s"] == 4.5
        assert len(record["segments"]) == 2
        assert len(record["timestamp"]) == len(words)


def test_an_output_directory_gets_one_file_an_input(work: Path, models: list[str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "subs"

    assert main([str(work / "one.wav"), str(work / "two.wav"), "-f", "srt", "-o", str(out), *models]) == 0

    assert sorted(path.name for path in out.iterdir()) == ["one.srt", "two.srt"]
    assert "-->" in (out / "one.srt").read_text()


def test_the_documented_form_prints_one_record_a_line(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        f"++model={work / 'asr'}",
        f"++vad_model={work / 'vad'}",
        "++device=cpu",
        f"++input={work / 'one.wav'}",
        "++vad_kwargs.max_single_segment_time=30000",
    ]

    assert main(arguments) == 0

    record = json.loads(capsys.readouterr().out)
    assert record["key"] == "one"
    assert len(record["timestamp"]) == len(record["text"].split())


def test_a_punctuation_model_sets_marks_and_leaves_the_words(
    work: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(work / "one.wav"), *models])
    words = capsys.readouterr().out.split()

    assert main([str(work / "one.wav"), *models, "--punc-model", str(work / "punc")]) == 0

    text = capsys.readouterr().out.strip()
    assert text[-1] in "。？.?"
    assert "".join(char for char in text if char not in "，。？、,.? ") == "".join(words)


@pytest.mark.parametrize(
    ("arguments", "punctuation"),
    [
        (["-m", "paraformer-zh"], "ct-punc"),
        (["-m", "paraformer"], "ct-punc"),
        (["-l", "en"], "ct-punc"),
        (["-m", "paraformer-zh", "--punc-model", "ct-punc-c"], "ct-punc-c"),
        (["-m", "paraformer-zh", "--punc-model", "none"], None),
        (["-m", "someone/else"], None),
        (["-m", "bundled-paraformer-words-en"], None),
        ([], None),
        (["--punc-model", "ct-punc-c"], "ct-punc-c"),
    ],
)
def test_released_recognizers_that_write_no_marks_come_with_ct_punc(
    arguments: list[str], punctuation: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FUNASR_MODEL", raising=False)

    assert _choose(_parser().parse_args(["a.wav", *arguments])).punc_model == punctuation


def test_the_documented_form_punctuates_a_text(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"++model={work / 'punc'}", "++device=cpu", "++input=今天天气不错"]) == 0

    record = json.loads(capsys.readouterr().out)
    assert len(record["punc_array"]) == 6
    assert record["punc_array"][-1] in (3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to transcribe"),
        (["x.wav", "-m", "paraformr-zh"], "Did you mean 'paraformer-zh'"),
        (["++model=paraformer-zh"], "no ++input"),
        (["++modell=x", "++input=a.wav"], "no option 'modell'. Did you mean 'model'"),
        (["+"], "cannot read the argument '+'"),
        (["a.wav", "--fromat", "srt"], "no flag '--fromat'. Did you mean '--format'?"),
        (["a.wav", "-l", "xx"], "no model is known for -l xx"),
    ],
)
def test_a_mistake_is_answered_in_one_line_with_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    err = capsys.readouterr().err
    assert err.startswith("funasr: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_lists_are_read_and_their_keys_stay_apart(
    work: Path, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.scp", "b.scp"):
        (tmp_path / name).write_text(f"same {work / 'one.wav'}\n../../escape {work / 'two.wav'}\n")
    out = tmp_path / "out"

    assert main([str(tmp_path / "a.scp"), str(tmp_path / "b.scp"), "-o", str(out), *models]) == 0

    names = {path.name for path in out.iterdir()}
    assert names == {"same.txt", "same_2.txt", "_.._escape.txt", "_.._escape_2.txt"}
    assert not (tmp_path / "escape.txt").exists()


def test_the_sides_of_a_stereo_call_are_lines_of_their_own(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = talk(("loud", 1.5), ("quiet", 3.0))
    right = talk(("quiet", 2.5), ("loud", 1.5), ("quiet", 0.5), seed=1)
    soundfile.write(tmp_path / "call.wav", np.stack([left, right], axis=1), 16000)

    assert main([str(tmp_path / "call.wav"), "--channels", "split", *models]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in lines] == ["[channel 0", "[channel 1"]


def test_sound_comes_from_stdin_too(work: Path, models: list[str]) -> None:
    command = [sys.executable, "-m", "funasr.bin.inference", "-", *models]
    run = subprocess.run(command, input=(work / "one.wav").read_bytes(), capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert run.stdout.strip()


@pytest.mark.parametrize("where", ["taken", "taken/below"])
def test_an_output_directory_that_cannot_be_made_is_one_line(
    where: str, work: Path, models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file")

    assert main([str(work / "one.wav"), "-o", str(tmp_path / where), *models]) == 2

    err = capsys.readouterr().err
    assert "cannot make the directory" in err
    assert len(err.splitlines()) == 1


def test_a_full_disk_is_one_line(work: Path, models: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "funasr.bin.inference", str(work / "one.wav"), *models],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert run.returncode == 2
    assert run.stderr.startswith("funasr: cannot write the results")
    assert len(run.stderr.splitlines()) == 1


def test_help_is_instant_and_lists_examples() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "funasr.bin.inference", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "examples:" in run.stdout
    assert "torch" not in run.stderr
    assert "numpy" not in run.stderr


def test_a_reader_that_stops_early_is_no_error(work: Path, models: list[str]) -> None:
    command = [sys.executable, "-m", "funasr.bin.inference", str(work / "one.wav"), *models, "-f", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait() == 0
    assert "Traceback" not in err
