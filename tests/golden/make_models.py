"""Golden outputs of small networks, computed by the reference: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/make_models.py

Reference: funasr 1.4.16, torch 2.13, CPU. Weights and inputs are those of seeded.py. Writes
models/CLASS.npz and models/losses.json; tests compare within 1e-4 (float32 sums in another order).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import seeded  # noqa: E402

from funasr.register import tables  # noqa: E402


def build(name: str, **model_conf: float) -> torch.nn.Module:
    """The reference's own class with the seeded weights."""
    raw = seeded.config(name)
    raw["model_conf"] |= model_conf
    everything = {**raw["model_conf"], **raw, "vocab_size": seeded.VOCAB, "input_size": seeded.INPUT}
    model = tables.model_classes[name](**everything).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = {key: torch.from_numpy(value) for key, value in seeded.weights(shapes).items()}
    model.load_state_dict(state, strict=True)
    return model


def run(name: str) -> dict[str, np.ndarray]:
    """Every stage of one class, at batch 1."""
    model = build(name)
    features = torch.from_numpy(seeded.features())
    lengths = torch.tensor([seeded.FRAMES])
    memory, lengths = model.encode(features, lengths)[:2]
    embeds, count, alphas = model.calc_predictor(memory, lengths)[:3]
    count = count.round().long()
    out = {"encoder": memory, "embeds": embeds, "alphas": alphas}
    if hasattr(model, "calc_predictor_timestamp"):
        out["fine"] = model.calc_predictor_timestamp(memory, lengths, count)[2]
    if name == "SeacoParaformer":
        out["log_probs"] = model._seaco_decode_with_ASF(memory, lengths, embeds, count, None)
        for number in seeded.PHRASE_COUNTS:
            listed = [*seeded.phrases(number), [1]]
            out[f"log_probs_{number}"] = model._seaco_decode_with_ASF(memory, lengths, embeds, count, listed)
    elif name == "ContextualParaformer":
        for number in seeded.PHRASE_COUNTS:
            listed = [*seeded.phrases(number), [1]]
            out[f"log_probs_{number}"] = model.cal_decoder_with_predictor(
                memory, lengths, embeds, count, listed
            )[0]
        out["log_probs_half"] = model.cal_decoder_with_predictor(
            memory, lengths, embeds, count, [*seeded.phrases(3), [1]], clas_scale=0.5
        )[0]
    else:
        out["log_probs"] = model.cal_decoder_with_predictor(memory, lengths, embeds, count)[0]
    return {key: value.numpy() for key, value in out.items()}


def losses(name: str) -> dict[str, dict[str, float]]:
    """Sentence length -> what training would minimise, without dropout and without the sampler's luck."""
    model = build(name, sampling_ratio=0.0)
    found = {}
    for count in (3, 4, 6, 8):
        targets = torch.arange(5, 5 + count)[None]
        features, frames = torch.from_numpy(seeded.features()), torch.tensor([seeded.FRAMES])
        _, stats, _ = model(features, frames, targets, torch.tensor([count]))
        keys = [key for key in ("loss", "loss_att", "loss_pre", "loss_pre2") if key in stats]
        found[str(count)] = {key: float(stats[key]) for key in keys}
    return found


def main() -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        table = {name: losses(name) for name in ("Paraformer", "BiCifParaformer")}
    (HERE / "models" / "losses.json").write_text(json.dumps(table, indent=1) + "\n")
    for name in seeded.CLASSES:
        with torch.no_grad():
            golden = run(name)
        np.savez_compressed(HERE / "models" / f"{name}.npz", **golden)
        print(name, {key: value.shape for key, value in golden.items()})


if __name__ == "__main__":
    main()
