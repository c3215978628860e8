"""The random numbers of a run: seeded at its beginning, kept in its checkpoints."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

RandomState = dict[str, Any]


def seed_everything(seed: int) -> None:
    """Python, numpy and torch, with all its devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state(device: torch.device) -> RandomState:
    """Where the generators of this process stand, as plain values and tensors."""
    version, python, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: RandomState = {
        "python": [version, list(python), gauss],
        "numpy": [torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: RandomState, device: torch.device) -> None:
    """Go on drawing where `random_state` was taken."""
    version, python, gauss = state["python"]
    random.setstate((version, tuple(python), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
