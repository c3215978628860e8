"""The golden files of speakers, and what they were made of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

import seeded_speaker as seeded  # noqa: E402

__all__ = ["GOLDEN", "diarization", "networks", "seeded"]


FOLDER = GOLDEN / "speaker"


def networks() -> dict[str, Any]:
    with np.load(FOLDER / "networks.npz") as arrays:
        return dict(arrays)


def diarization(folder: Path = FOLDER) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "diarization.json").read_text())
    return loaded
