"""The live oracle behind tests/golden/text and tests/golden/decode, on many more random cases."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.decode.test_timestamps import assert_equals_upstream as times_equal
from tests.text.test_join import assert_equals_upstream as joined_equal
from tests.text.test_rich import assert_equals_upstream as rich_equal

SCRIPTS = Path(__file__).parents[1] / "golden"


@pytest.mark.reference
def test_twenty_thousand_random_texts_equal_upstreams(reference_python: str, tmp_path: Path) -> None:
    _make("make_text.py", 20_000, reference_python, tmp_path)

    joined_equal(tmp_path / "join.json")
    rich_equal(tmp_path / "rich.json")


@pytest.mark.reference
def test_five_thousand_random_token_times_equal_upstreams(reference_python: str, tmp_path: Path) -> None:
    _make("make_decode.py", 5_000, reference_python, tmp_path)

    assert times_equal(tmp_path / "times.json") > 4_500


def _make(script: str, count: int, python: str, folder: Path) -> None:
    subprocess.run([python, str(SCRIPTS / script), str(count), str(folder)], check=True, capture_output=True)
