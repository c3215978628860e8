"""The small seeded networks of the golden files, as ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from funasr.models.paraformer.bicif import BiCifParaformer
from funasr.models.paraformer.contextual import ContextualParaformer
from funasr.models.paraformer.network import Paraformer
from funasr.models.paraformer.seaco import SeacoParaformer
from funasr.stages.protocols import Hotwords

GOLDEN = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(GOLDEN))

import seeded  # noqa: E402

CLASSES: dict[str, type[Paraformer]] = {
    "Paraformer": Paraformer,
    "BiCifParaformer": BiCifParaformer,
    "SeacoParaformer": SeacoParaformer,
    "ContextualParaformer": ContextualParaformer,
}


def network(name: str) -> Paraformer:
    """A network of that class, in evaluation mode, not packed."""
    model = CLASSES[name].from_official(seeded.config(name), seeded.VOCAB, seeded.INPUT).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = {key: torch.from_numpy(value) for key, value in seeded.weights(shapes).items()}
    model.load_state_dict(state)
    return model


def golden(name: str) -> dict[str, Any]:
    with np.load(GOLDEN / "models" / f"{name}.npz") as arrays:
        return dict(arrays)


def hotwords(count: int, weight: float = 1.0, scale: float = 1.0) -> Hotwords:
    ids = tuple(map(tuple, seeded.phrases(count)))
    return Hotwords(ids=ids, weights=(weight,) * count, scale=scale)
