"""Fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Networks in tests are tiny: a second thread would only wait, and on a busy machine for long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the repository: real recordings, released weights, the reference's shapes.

    Tests that read it are skipped where it is absent; in CI it must be there.
    """
    folder = ROOT.parent / "shared"
    if folder.is_dir():
        return folder
    message = f"no folder {folder}: tests on real recordings need it"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def bundled_dir() -> Path:
    """The folder of the models that come with the package."""
    return ROOT / "funasr" / "bundled"


@pytest.fixture(scope="session")
def reference_python() -> str:
    """The interpreter that upstream is installed for, from FUNASR_REFERENCE_PYTHON."""
    python = os.environ.get("FUNASR_REFERENCE_PYTHON")
    if not python:
        pytest.skip("FUNASR_REFERENCE_PYTHON does not name a Python that has upstream FunASR")
    if not Path(python).is_file():
        pytest.fail(f"FUNASR_REFERENCE_PYTHON={python} is not a file")
    return python
