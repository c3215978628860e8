"""Golden events of upstream's state machine on scripted scores -> tests/golden/vad/automaton.json.

Run with the reference's python (upstream installed in an environment of its own) and a directory in
the official layout of fsmn-vad (any weights: the network is replaced by the script):

    $FUNASR_REFERENCE_PYTHON tests/golden/make_vad.py MODEL_DIR [OUT]
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
import torch

from funasr import AutoModel  # upstream's, in the environment of its own

OUT = Path(__file__).parent / "vad" / "automaton.json"
HOP, WINDOW = 160, 400


class Scripted(torch.nn.Module):
    """Answers with the scores it was given, whatever it hears."""

    def __init__(self, silence):
        super().__init__()
        self.silence = torch.tensor(silence, dtype=torch.float32)
        self.seen = 0
        self.dummy = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, *args, **kwargs):
        count = x.shape[1]
        part = self.silence[self.seen : self.seen + count]
        self.seen += count
        out = torch.zeros(1, count, 248)
        out[0, :, 0] = part
        out[0, :, 1] = 1 - part
        return out


def expand(runs):
    return np.concatenate([np.full(count, value) for value, count in runs])


def upstream(folder, case):
    model = AutoModel(
        model=folder,
        device="cpu",
        ncpu=1,
        disable_update=True,
        disable_pbar=True,
        log_level="ERROR",
        **case["options"],
    )
    scores = expand(case["scores"])
    samples = np.zeros(WINDOW + HOP * (len(scores) - 1), dtype=np.float32)
    if case["levels"]:
        levels = np.repeat(expand(case["levels"]), HOP)
        samples[: len(levels)] = levels[: len(samples)]
    model.model.encoder = Scripted(scores)
    if case["chunk_ms"] is None:
        return model.generate(input=samples, fs=16000, **case["call"])[0]["value"]
    step = case["chunk_ms"] * 16
    cache, calls = {}, []
    for start in range(0, len(samples), step):
        got = model.generate(
            input=samples[start : start + step],
            cache=cache,
            is_final=start + step >= len(samples),
            chunk_size=case["chunk_ms"],
            **case["call"],
        )
        calls.append(got[0]["value"])
    return calls


def random_scores(rng, runs):
    """Runs of speech and silence, some short, some of doubtful frames."""
    out = []
    for index in range(runs):
        low, high = rng.choice([(1, 20), (10, 40), (30, 120), (100, 400)])
        value = (
            rng.choice([0.99, 0.9, 0.6, 0.24, 0.22])
            if index % 2 == 0
            else rng.choice([0.01, 0.05, 0.19, 0.21, 0.3])
        )
        out.append([value, rng.randint(low, high)])
    return out


def cases():
    # Without do_extend=0: there upstream counts the frame that turned speech off twice, and warns of it.
    rng = random.Random(22)
    for index in range(150):
        case = {"options": {}, "call": {"dynamic_silence": False}, "chunk_ms": None, "levels": None}
        case["scores"] = random_scores(rng, rng.randint(1, 24))
        kind = index % 6
        if kind in (0, 1, 2):
            case["options"] = {
                "max_single_segment_time": rng.choice([60000, 60000, 3000, 1000, 15000]),
                "max_end_silence_time": rng.choice([800, 300, 200, 150, 155, 255, 2000]),
            }
            if rng.random() < 0.2:
                case["options"]["detect_mode"] = 0
            if rng.random() < 0.2:
                case["options"]["speech_2_noise_ratio"] = rng.choice([0.5, 2.0])
            if rng.random() < 0.2:
                case["options"]["sil_to_speech_time_thres"] = rng.choice([100, 180])
                case["options"]["speech_to_sil_time_thres"] = rng.choice([50, 100])
        if kind == 1:
            case["chunk_ms"] = rng.choice([60, 200, 600, 1000])
        if kind == 3:
            case["call"] = {"dynamic_silence": True}
            case["scores"] = random_scores(rng, 60)
        if kind == 4:
            case["call"] = {"dynamic_silence": True}
            case["scores"] = random_scores(rng, 30)
            case["chunk_ms"] = rng.choice([60, 200, 600, 1000])
        if kind == 5:
            gate = rng.choice(
                [{"decibel_thres": -20.0}, {"snr_thres": 10.0}, {"decibel_thres": 0.0, "snr_thres": 5.0}]
            )
            case["options"] = {**gate, "noise_frame_num_used_for_snr": rng.choice([100, 20])}
            total = sum(count for _, count in case["scores"])
            case["levels"] = []
            while total > 0:
                count = rng.randint(5, 60)
                case["levels"].append([rng.choice([0.0, 0.001, 0.01, 0.1, 0.5]), count])
                total -= count
        yield case


def main():
    folder = str(Path(sys.argv[1]).resolve())
    done = []
    for case in cases():
        case["value"] = upstream(folder, case)
        done.append(case)
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else OUT
    out.write_text(json.dumps(done, separators=(",", ":")).replace('{"options"', '\n{"options"') + "\n")
    print(f"{len(done)} cases, {out.stat().st_size} bytes -> {out}")


if __name__ == "__main__":
    main()
