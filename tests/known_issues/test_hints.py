"""Commands that error messages tell to run."""

from __future__ import annotations

import re
from pathlib import Path

import funasr
from funasr.errors import install_extra

SOURCES = Path(funasr.__file__).parent


def test_every_extra_that_an_error_names_is_one_and_is_named_in_one_way() -> None:
    project = (SOURCES.parent / "pyproject.toml").read_text(encoding="utf-8")
    _, _, rest = project.partition("[project.optional-dependencies]")
    extras = set(re.findall(r"^(\w+) = \[", rest.partition("[project.scripts]")[0], re.MULTILINE))
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py"))
    named = set(re.findall(r'install_extra\("(\w+)"\)', text))

    assert {"torch", "train", "export", "itn", "hotwords", "eval", "live"} <= named
    assert named <= extras
    assert install_extra("torch") == 'pip install "funasr[torch]"'
    assert text.count("funasr[") == 1  # in install_extra
