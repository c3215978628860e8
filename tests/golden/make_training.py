"""What training minimises, computed by the reference: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/make_training.py [FOLDER]

Reference: funasr 1.4.16, torch 2.13, CPU. Weights and inputs are those of seeded.py; no dropout, nothing
shown by the sampler. Writes models/training.json (or FOLDER/training.json): for each class the losses of a
batch of two utterances of one length, and the size of the gradient of its parts. Sentences are such that the
reference's integrate-and-fire keeps their last token (it loses some); the script sees to it.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import seeded  # noqa: E402
import seeded_training as cases  # noqa: E402

from funasr.register import tables  # noqa: E402

CTC = {"dropout_rate": 0.0, "ctc_type": "builtin", "reduce": True, "ignore_nan_grad": True}


def build(name: str, raw: dict[str, Any], vocab: int) -> torch.nn.Module:
    everything = {
        **raw["model_conf"],
        **raw,
        "vocab_size": vocab,
        "input_size": seeded.INPUT,
        "ctc_conf": CTC,
    }
    model = tables.model_classes[name](**everything)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = {key: torch.from_numpy(value) for key, value in seeded.weights(shapes).items()}
    model.load_state_dict(state, strict=True)
    return model.eval()


def lost(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> bool:
    """Does the reference's integrate-and-fire leave a token without sound?"""
    with torch.no_grad():
        memory, _ = model.encode(batch["speech"], batch["speech_lengths"])[:2]
        mask = torch.ones(len(memory), 1, memory.shape[1])
        target = batch["text_lengths"] + 1
        embeds = model.predictor(memory, None, mask, ignore_id=-1, target_label_length=target)[0]
    ends = [row[size - 1].norm() for row, size in zip(embeds, target.tolist(), strict=True)]
    return any(end < 1e-3 for end in ends)


def run(case: str) -> dict[str, float]:
    name, raw, vocab = cases.model(case)
    model = build(name, raw, vocab)
    batch = {key: torch.from_numpy(value) for key, value in cases.batch(case).items()}
    if hasattr(model, "predictor"):
        assert not lost(model, batch), f"{case}: the reference loses a token; take other sentences"
    torch.manual_seed(0)
    random.seed(0)  # a SenseVoice is told the language of four utterances in five; here of both
    loss, stats, _ = model(**batch)
    loss.backward()
    found = {key: float(stats[key]) for key in cases.STATS if stats.get(key) is not None}
    for part in cases.PARTS:
        squares = [
            p.grad.square().sum()
            for key, p in model.named_parameters()
            if key.startswith(part) and p.grad is not None
        ]
        if any(key.startswith(part) for key, _ in model.named_parameters()):
            found[f"gradient {part}"] = float(sum(squares)) ** 0.5
    return found


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "models"
    table = {case: run(case) for case in cases.CASES}
    (folder / "training.json").write_text(json.dumps(table, indent=1) + "\n")
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
