"""Names and shapes of all parameters, at the released sizes, against the reference's lists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from funasr.nn.weights import unallocated
from tests.models.small import CLASSES, GOLDEN, seeded

KINDS = {
    "paraformer": "Paraformer",
    "bicif-paraformer": "BiCifParaformer",
    "seaco-paraformer": "SeacoParaformer",
    "contextual-paraformer": "ContextualParaformer",
}
TOTALS = {
    "paraformer": (956, 220_084_533),
    "bicif-paraformer": (968, 225_074_998),
    "seaco-paraformer": (1095, 247_339_018),
    "contextual-paraformer": (970, 228_064_565),
}


def full_config(name: str) -> dict[str, Any]:
    raw = seeded.config(name)
    raw["encoder_conf"] |= {"output_size": 512, "linear_units": 2048, "num_blocks": 50}
    raw["decoder_conf"] |= {"linear_units": 2048, "num_blocks": 16, "att_layer_num": 16}
    raw["predictor_conf"] |= {"idim": 512}
    if "inner_dim" in raw["model_conf"]:
        raw["model_conf"] |= {"inner_dim": 512}
    if "seaco_decoder_conf" in raw:
        raw["seaco_decoder_conf"] |= {"linear_units": 1024, "num_blocks": 4}
    return raw


def own_shapes(kind: str) -> dict[str, list[int]]:
    with unallocated():
        model = CLASSES[KINDS[kind]].from_official(full_config(KINDS[kind]), 8404, 560)
    return {name: list(value.shape) for name, value in model.state_dict().items()}


def listed_shapes(kind: str) -> dict[str, list[int]]:
    listed = {}
    for name, shape in json.loads((GOLDEN / "shapes" / f"{kind}.json").read_text()).items():
        numbered = re.fullmatch(r"(.*)\{0\.\.(\d+)\}(.*)", name)
        names = [name]
        if numbered:
            names = [f"{numbered[1]}{i}{numbered[3]}" for i in range(int(numbered[2]) + 1)]
        listed.update(dict.fromkeys(names, shape))
    return listed


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_its_official_name_and_shape(kind: str) -> None:
    own = own_shapes(kind)

    assert own == listed_shapes(kind)
    count, numbers = TOTALS[kind]
    assert len(own) == count
    total = 0
    for shape in own.values():
        size = 1
        for extent in shape:
            size *= extent
        total += size
    assert total == numbers


@pytest.mark.parametrize("kind", ["paraformer", "bicif-paraformer", "seaco-paraformer"])
def test_the_compact_lists_are_those_of_the_reference(kind: str, shared: Path) -> None:
    full = json.loads((shared / "reference" / "shapes" / f"{kind}-full.json").read_text())

    assert listed_shapes(kind) == {name: entry[0] for name, entry in full.items()}
