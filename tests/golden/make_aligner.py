"""Golden outputs of a small fa-zh, computed by the reference: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/make_aligner.py

Reference: funasr 1.4.16, torch 2.13, CPU. Writes into aligner/:

    network.npz   encoder and firing weights for seeded features (tolerance 1e-4: sums in another order)
    aligned.json  text and timestamp for seeded sounds and texts that the vocabulary can spell. Times are
                  the same to the millisecond.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import seeded  # noqa: E402
import seeded_dirs  # noqa: E402

from funasr import AutoModel  # noqa: E402
from funasr.register import tables  # noqa: E402

FOLDER = HERE / "aligner"
TEXTS = ["今 天 好", "我们今天去", "hello world", "我 hello a b 好", "来 e l l o 去 world", "a", "今天" * 12]


def network() -> torch.nn.Module:
    """The reference's own class with the seeded weights."""
    raw = seeded_dirs.aligner_config()
    everything = {
        **raw["model_conf"],
        **raw,
        "vocab_size": len(seeded_dirs.TOKENS),
        "input_size": seeded.INPUT,
    }
    model = tables.model_classes["MonotonicAligner"](**everything).eval()
    state = seeded_dirs.weights({key: tuple(value.shape) for key, value in model.state_dict().items()})
    model.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()}, strict=True)
    return model


def encoded(model: torch.nn.Module, count: int = 5) -> dict[str, np.ndarray]:
    """Encoder and weights at batch 1, for a text of `count` tokens."""
    lengths = torch.tensor([seeded.FRAMES])
    memory = model.encode(torch.from_numpy(seeded.features()), lengths)[0]
    alphas = model.calc_predictor_timestamp(memory, lengths, torch.tensor([count + 1]))[2]
    return {"encoder": memory.numpy(), "alphas": alphas.numpy()}


def main() -> None:
    torch.set_num_threads(1)
    own = network()
    with torch.no_grad():
        np.savez_compressed(FOLDER / "network.npz", **encoded(own))
    shapes = {key: tuple(value.shape) for key, value in own.state_dict().items()}
    aligned = []
    with tempfile.TemporaryDirectory() as folder:
        seeded_dirs.write_aligner(Path(folder), shapes)
        model = AutoModel(
            model=folder, device="cpu", ncpu=1, disable_update=True, disable_pbar=True, log_level="ERROR"
        )
        for seed, text in enumerate(TEXTS):
            seconds = 1.0 + 0.75 * seed
            sound = seeded_dirs.sound(seconds, seed)
            record = model.generate(input=(sound, text), data_type=("sound", "text"))[0]
            aligned.append(
                {
                    "seconds": seconds,
                    "seed": seed,
                    "input": text,
                    "text": record["text"],
                    "timestamp": record["timestamp"],
                }
            )
    lines = ",\n".join(" " + json.dumps(entry, ensure_ascii=False) for entry in aligned)
    (FOLDER / "aligned.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(lines)


if __name__ == "__main__":
    main()
