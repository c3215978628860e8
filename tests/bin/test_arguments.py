"""What every command that takes settings says to arguments that are none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from funasr.bin import data, evaluate, export, inference, manifest, start, train

COMMANDS = {
    "funasr-train": train.main,
    "funasr-export": export.main,
    "funasr-eval": evaluate.main,
    "scp2jsonl": manifest.scp2jsonl,
    "jsonl2scp": manifest.jsonl2scp,
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--output_dir=exp"], "'--output_dir=exp' is no flag; settings are written ++output_dir=..."),
        (["--hepl", "x"], "no flag '--hepl'. Did you mean '--help'?"),
        (["++model"], "cannot read the argument '++model': expected ++name=value"),
        (["++a=[1"], "cannot read the arguments ++a=[1: "),
    ],
)
def test_a_mistake_is_one_line(
    name: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert COMMANDS[name](arguments) == 2

    error = capsys.readouterr().err
    assert error.startswith(f"{name}: {said}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("main", [*COMMANDS.values(), inference.main, data.main])
def test_each_command_tells_its_version(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--version"])

    assert done.value.code == 0
    assert capsys.readouterr().out.split()[-1][0].isdigit()


@pytest.mark.parametrize("arguments", [[], ["validat", "x"], ["validate"], ["validate", "x", "--no-opne"]])
def test_funasr_data_answers_a_mistake_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert data.main(arguments) == 2

    error = capsys.readouterr().err
    assert error.startswith("funasr-data: ")
    assert error.count("\n") == 1


def test_the_documented_form_knows_no_other_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert inference.main(["++model=bundled-asr", "--input=a.wav"]) == 2
    assert "settings are written ++input=..." in capsys.readouterr().err


def scripts() -> dict[str, str]:
    """Console script -> the name of its function in funasr/bin/start.py."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    return dict(re.findall(r'^([\w-]+) = "funasr\.bin\.start:(\w+)"$', text, re.MULTILINE))


def test_every_script_runs_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(scripts()) == 11
    for name, function in scripts().items():
        monkeypatch.setattr("sys.argv", [name, "--help"])
        with pytest.raises(SystemExit):
            getattr(start, function)()
        command = re.sub("^funasr-(?=scp|jsonl)|-ds$", "", name)
        assert capsys.readouterr().out.startswith(f"usage: {command} ")


def test_an_interrupt_while_a_command_loads_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupted)

    assert start.funasr() == 130
    assert capsys.readouterr().err == "funasr: interrupted\n"
