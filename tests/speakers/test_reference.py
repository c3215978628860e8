"""The live oracle behind tests/golden/speaker, on many more random timelines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.speakers.golden import GOLDEN, diarization, networks
from tests.speakers.test_assign import assert_sentences
from tests.speakers.test_turns import equal_timelines
from tests.speakers.test_windows import assert_windows


@pytest.mark.reference
def test_a_thousand_random_timelines_equal_upstreams(reference_python: str, tmp_path: Path) -> None:
    subprocess.run(
        [reference_python, str(GOLDEN / "make_speaker.py"), "1000", str(tmp_path)],
        check=True,
        capture_output=True,
    )

    golden = diarization(tmp_path)
    assert_windows(golden)
    assert_sentences(golden)
    assert equal_timelines(golden) >= 980
    assert golden["clusters"] == diarization()["clusters"]
    with np.load(tmp_path / "networks.npz") as live:
        for name, values in networks().items():
            np.testing.assert_allclose(live[name], values, atol=1e-4)
