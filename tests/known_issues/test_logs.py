"""Records of a training's log: all of them in its file, and each of them one line."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from rich.console import Console

from funasr.bin.progress import _log_above
from funasr.train.logbook import written_to

logger = logging.getLogger("funasr.train.of_this_test")


@pytest.mark.parametrize("level", [logging.WARNING, logging.INFO])
def test_log_txt_has_what_a_run_tells_whatever_its_host_listens_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    caplog.set_level(level)
    caplog.handler.setLevel(logging.NOTSET)
    package = logging.getLogger("funasr")
    before = (package.level, package.propagate, list(package.handlers))

    with written_to(tmp_path, 0):
        logger.info("step %d", 1)
        logger.warning("a warning")

    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.rpartition(" - ")[2] for line in lines] == ["step 1", "a warning"]
    heard = [record.getMessage() for record in caplog.records]
    assert heard == (["a warning"] if level == logging.WARNING else ["step 1", "a warning"])
    assert (package.level, package.propagate, list(package.handlers)) == before


def test_a_record_above_the_progress_bar_is_one_line_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr("sys.__stdout__", terminal)
    handler = logging.StreamHandler(terminal)
    said = "train, rank: 0, [('loss', 1.0)] :smile: [bold] " + "x" * 300
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with _log_above(Console(file=terminal, width=40, force_terminal=True)):
            logger.warning("%s", said)
    finally:
        root.removeHandler(handler)

    assert said + "\n" in terminal.getvalue()
