"""Features as upstream's front ends make them, for tests/features. Run with upstream's Python:

python tests/golden/make_features.py                    # writes features/reference.npz beside this file
python tests/golden/make_features.py IN.npz OUT.npz     # the same for each int16 array of IN.npz
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

VAD_CHUNK = 3200
ASR_CHUNK = 9600
SHORT = (100, 200, 399)
KEPT = {"fbank": 4, "telephone": 8, "vad": 16}
"""Of these, one row in so many is kept: it says as much and keeps the file small."""
MODELS = {
    "fbank": {"fs": 16000},
    "telephone": {"fs": 8000},
    "asr": {"fs": 16000, "lfr_m": 7, "lfr_n": 6},
    "vad": {"fs": 16000, "lfr_m": 5, "lfr_n": 1},
}


def sound() -> np.ndarray:
    """1 s at 16 kHz as int16: a voice gliding upwards, hiss, and a stretch of digital silence."""
    rng = np.random.default_rng(7)
    time = np.arange(16000) / 16000
    pitch = 2 * np.pi * np.cumsum(110 + 60 * time) / 16000
    voice = sum(np.sin(k * pitch) / k * np.exp(-(((k * 140 - 700) / 900) ** 2)) for k in range(1, 40))
    hiss = rng.standard_normal(len(time)) * 0.002
    loudness = np.clip(np.sin(2 * np.pi * 1.6 * time) * 1.4, 0, 1)
    samples = 0.4 * voice * loudness + hiss
    samples[12800:] = 0
    return np.round(samples * 32767).clip(-32768, 32767).astype(np.int16)


def statistics() -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale for 560 values; one that stacks fewer frames uses the first ones."""
    rng = np.random.default_rng(8)
    return rng.uniform(-14, -8, 560).astype(np.float32), rng.uniform(0.1, 0.3, 560).astype(np.float32)


def reference(samples: np.ndarray) -> dict[str, np.ndarray]:
    """Upstream's features of int16 samples: whole and in chunks."""
    import torch

    from funasr import AutoModel  # noqa: F401 - registers the front ends
    from funasr.register import tables

    torch.set_num_threads(1)
    wave = torch.from_numpy(samples.astype(np.float32) / 32768)[None]
    shift, scale = statistics()
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        mvn = Path(folder) / "am.mvn"
        values = (" ".join(map(repr, map(float, row))) for row in (shift, scale))
        mvn.write_text("<Nnet>\n<Splice> 560 560\n[ 0 ]\n<AddShift> 560 560\n<LearnRateCoef> 0 [ {} ]\n"
                       "<Rescale> 560 560\n<LearnRateCoef> 0 [ {} ]\n</Nnet>\n".format(*values))  # fmt: skip
        for name, conf in MODELS.items():
            with_cmvn = {"cmvn_file": str(mvn)} if "lfr_m" in conf else {}
            whole = tables.frontend_classes["WavFrontend"](dither=0.0, **conf, **with_cmvn)
            made[name] = whole(wave, [wave.shape[1]])[0][0].numpy()
            if name == "asr":
                for length in SHORT:
                    made[f"short{length}"] = whole(wave[:, :length], [length])[0][0].numpy()
            if with_cmvn:
                chunk = VAD_CHUNK if name == "vad" else ASR_CHUNK
                online = tables.frontend_classes["WavFrontendOnline"](dither=0.0, **conf, **with_cmvn)
                cache: dict = {}
                counts, rows = [], []
                for start in range(0, wave.shape[1], chunk):
                    part = wave[:, start : start + chunk]
                    final = start + chunk >= wave.shape[1]
                    got = online(part, [part.shape[1]], cache=cache, is_final=final)[0]
                    counts.append(got.shape[1] if got.dim() == 3 else 0)
                    rows += [got[0].numpy()] if counts[-1] else []
                made[f"{name}_counts"] = np.array(counts)
                made[f"{name}_chunks"] = np.concatenate(rows)
    return made


def main(arguments: list[str]) -> None:
    if arguments:
        source, target = arguments
        made = {}
        for key, samples in np.load(source).items():
            made |= {f"{key}/{name}": value for name, value in reference(samples).items()}
        np.savez(target, **made)
        return
    samples = sound()
    made = reference(samples)
    for name in ("asr", "vad"):
        chunks = made.pop(f"{name}_chunks")  # upstream's chunks are upstream's whole: no need to keep both
        np.testing.assert_allclose(chunks, made[name], atol=1e-5)
    for name, step in KEPT.items():
        made[name] = made[name][::step]
    np.savez_compressed(Path(__file__).parent / "features" / "reference.npz", samples=samples, **made)


if __name__ == "__main__":
    main(sys.argv[1:])
