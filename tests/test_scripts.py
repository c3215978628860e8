"""scripts/install: what it does the second time, and what it says to a machine it cannot use."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def install(venv: Path, extras: str, python: str = "python3") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "scripts" / "install"), extras],
        env={"PATH": os.environ["PATH"], "VENV": str(venv), "PYTHON": python},
        capture_output=True,
        text=True,
        timeout=60,
    )


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("done", "asked"),
    [("dev", "dev"), ("dev", "torch"), ("torch", "base"), ("dev", "base"), ("base", "base")],
)
def test_what_is_installed_is_not_installed_again(tmp_path: Path, done: str, asked: str) -> None:
    (tmp_path / f".installed-{done}").touch()

    run = install(tmp_path, asked, python="/no/such/python")

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_change_of_the_requirements_installs_again(tmp_path: Path) -> None:
    stamp = tmp_path / ".installed-dev"
    stamp.touch()
    os.utime(stamp, (0, 0))
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin" / "python", f'echo "$@" >> {tmp_path}/log')

    run = install(tmp_path, "dev")

    assert run.returncode == 0, run.stderr
    assert "-c constraints.txt -e .[dev]" in (tmp_path / "log").read_text()
    assert stamp.stat().st_mtime > 0


def test_an_old_python_is_told_apart_from_a_missing_venv_package(tmp_path: Path) -> None:
    old = program(tmp_path / "old", "exit 1")
    without_venv = program(tmp_path / "without-venv", 'test "$1" != -m')

    for python in (old, "/no/such/python"):
        run = install(tmp_path / "venv", "torch", python)
        assert run.returncode == 1
        assert "Python 3.10 or newer is needed" in run.stderr
    run = install(tmp_path / "venv", "torch", without_venv)
    assert run.returncode == 1
    assert "apt install python3-venv" in run.stderr
