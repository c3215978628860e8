"""Golden fires and token times of upstream on random weights -> tests/golden/decode/*.json.

Run with the reference's python (upstream installed in an environment of its own):

    $FUNASR_REFERENCE_PYTHON tests/golden/make_decode.py [COUNT [FOLDER]]

A case: integer weights (1/1024, so that their float32 sum is exact), the sum they are scaled to, the number
of tokens, the upsample rate, the offset in ms, and upstream's times, or null where upstream fails. Exact
equality is expected, but for times outside the utterance and for weights that do not give enough fires.
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
from funasr.models.bicif_paraformer.cif_predictor import cif_wo_hidden
from funasr.models.paraformer.cif_predictor import cif_v1
from funasr.utils.timestamp_tools import ts_prediction_lfr6_standard

OUT = Path(__file__).parent / "decode"


def random_weights(rng):
    """A stretch of speech or two: smooth, spiky or sparse, with silence around and between."""
    weights = [0] * rng.choice((0, 2, 5, 9, 20))
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(("smooth", "spiky", "sparse"))
        for _ in range(rng.randint(1, 40)):
            if kind == "smooth":
                weights.append(rng.randint(50, 250))
            elif kind == "spiky":
                weights.append(rng.choice((0, 0, 1, 5, 300, 700)))
            else:
                weights.append(rng.choice((0,) * 9 + (1000,)))
        weights += [0] * rng.choice((0, 3, 8, 30))
    return weights


def scaled(weights, total):
    alphas = np.array(weights, dtype=np.float32) / np.float32(1024)
    return alphas * (np.float32(total) / alphas.sum()) if alphas.sum() > 0 else alphas


def times(rng):
    weights = random_weights(rng)
    total = max(1, round(sum(weights) / 1024 * rng.choice((1, 1, 1, 0.5, 2))))
    tokens = max(0, total - 1 + rng.choice((0, 0, 0, 0, 1, -1, 2)))
    rate = rng.choice((3, 3, 3, 1))
    offset = rng.choice((0, 0, 0, 1230, 7))
    alphas = torch.from_numpy(scaled(weights, total))
    peaks = cif_wo_hidden(alphas[None], 0.9999)[0]
    try:
        _, stamps = ts_prediction_lfr6_standard(
            alphas.clone(), peaks, ["x"] * tokens, vad_offset=offset, upsample_rate=rate
        )
    except Exception:
        stamps = None
    return [weights, total, tokens, rate, offset, stamps]


def fires(rng):
    """Sums of both predictors, as exact float32 values."""
    weights = random_weights(rng)
    alphas = torch.from_numpy(scaled(weights, max(1, round(sum(weights) / 1024))))[None]
    _, prefix = cif_v1(torch.zeros(1, alphas.shape[1], 4), alphas, 1.0)
    sequential = cif_wo_hidden(alphas, 0.9999)
    return [alphas[0].tolist(), sequential[0].tolist(), prefix[0].tolist()]


def dump(path, rows):
    body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    path.write_text(f"[\n{body}\n]\n")


def main(count, out):
    rng = random.Random(7)
    out.mkdir(exist_ok=True)
    dump(out / "times.json", [times(rng) for _ in range(count)])
    dump(out / "fires.json", [fires(rng) for _ in range(8)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 250, Path(sys.argv[2]) if len(sys.argv) > 2 else OUT)
