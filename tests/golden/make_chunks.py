"""Golden outputs of chunk training, computed by the reference: run with its Python.

    PYTHON_OF_THE_REFERENCE tests/golden/make_chunks.py

Reference: funasr 1.4.16, torch 2.13, CPU, as `make_models.py`. Writes models/chunks.npz: for each recipe
(size, stride, pad, encoder and decoder look back) and number of frames what the encoder gives on its layout,
which rows the predictor counts, which rows each token hears, and the losses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import funasr.models.paraformer_streaming.model  # noqa: E402, F401  # registers the classes
import seeded  # noqa: E402

from funasr.register import tables  # noqa: E402

CASES = ((15, 10, 0, 1, 1, 23), (15, 10, 0, 4, 1, 31), (15, 8, 2, 1, 1, 23), (20, 10, 5, 2, 2, 31))
TOKENS = {23: 4, 31: 6}


def build(size: int, stride: int, pad: int, ears: int, eyes: int) -> torch.nn.Module:
    raw: dict[str, Any] = seeded.config("ParaformerStreaming")
    raw["encoder"] = "SANMEncoderChunkOpt"
    raw["encoder_conf"] |= {
        "input_layer": "pe_online",
        "chunk_size": [size],
        "stride": [stride],
        "pad_left": [pad],
        "encoder_att_look_back_factor": [ears],
        "decoder_att_look_back_factor": [eyes],
    }
    raw["decoder_conf"] |= {"sanm_shfit": 5, "num_blocks": 2, "att_layer_num": 2}
    raw["model_conf"] |= {"sampling_ratio": 0.0}
    everything = {**raw["model_conf"], **raw, "vocab_size": seeded.VOCAB, "input_size": seeded.INPUT}
    model = tables.model_classes["ParaformerStreaming"](**everything).eval()
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    state = {key: torch.from_numpy(value) for key, value in seeded.weights(shapes).items()}
    model.load_state_dict(state, strict=True)
    return model


def run(*case: int) -> dict[str, np.ndarray]:
    model, frames = build(*case[:5]), case[5]
    heard: dict[str, Any] = {}
    for name in ("encoder", "predictor", "decoder"):
        getattr(model, name).register_forward_hook(
            lambda _, args, kwargs, out, name=name: heard.__setitem__(name, (args, kwargs, out)),
            with_kwargs=True,
        )
    tokens = TOKENS[frames]
    targets = torch.arange(5, 5 + tokens)[None]
    features = torch.from_numpy(seeded.features(1, frames))
    _, stats, _ = model(features, torch.tensor([frames]), targets, torch.tensor([tokens]))
    return {
        "encoder": heard["encoder"][2][0].numpy().astype(np.float32),
        "counted": heard["predictor"][1]["mask_chunk_predictor"].numpy()[0, :, 0] > 0,
        "heard": heard["decoder"][0][4].numpy()[0] > 0,
        "losses": np.array([float(stats[key]) for key in ("loss_att", "loss_pre", "loss")]),
    }


def main() -> None:
    torch.set_num_threads(1)
    with torch.no_grad():
        golden = {f"{json.dumps(case)} {key}": value for case in CASES for key, value in run(*case).items()}
    np.savez_compressed(HERE / "models" / "chunks.npz", **golden)


if __name__ == "__main__":
    main()
