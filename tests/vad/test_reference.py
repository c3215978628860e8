"""The golden events are what upstream says today."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.reference
def test_golden_events_are_those_of_the_installed_reference(
    reference_python: str, shared: Path, tmp_path: Path
) -> None:
    out = tmp_path / "automaton.json"
    model = shared / "data" / "models" / "fsmn-vad-official"

    subprocess.run(
        [reference_python, str(GOLDEN / "make_vad.py"), str(model), str(out)], check=True, cwd=tmp_path
    )

    assert json.loads(out.read_text()) == json.loads((GOLDEN / "vad" / "automaton.json").read_text())
