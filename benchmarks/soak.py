"""Memory of one live stream over a day: looped speech and silence, faster than real time.

    python benchmarks/soak.py --data ../shared/data [--hours 24] [--model DIR] [--two-pass]

Without --data the sample recordings that come with the package are looped, without --model a small random
network is the recognizer. Prints the resident size of the process after every hour of sound, and fails where
it ends more than 5 MB above what it was after the first. Words mean nothing here; that they keep coming does.
A run of less than two hours is a hint only: what is kept for speed has not settled by then.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Before torch is imported: else its kernels for each new length of an utterance are kept (docs/serving.md).
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "16")

ROOT = Path(__file__).resolve().parents[1]
RATE = 16000
WARM_UP_HOURS = 1
LIMIT_MB = 5.0


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def recordings(data: Path | None) -> list[np.ndarray]:
    """Speech of some minutes, in parts."""
    from funasr.audio.load import load_audio

    if data is None:
        paths = sorted((ROOT / "funasr/bundled/samples").glob("*.flac"))
    else:
        paths = sorted((data / "vad").rglob("*.wav"))[:12]
        paths += sorted((data / "asr/test_zh").rglob("*.wav"))[:12]
    if not paths:
        sys.exit(f"no recordings below {data}")
    return [load_audio(path) for path in paths]


def endless(parts: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Parts in random order, each at another loudness, and pauses of up to 20 s: never the same."""
    rng = np.random.default_rng(0)
    while True:
        for index in rng.permutation(len(parts)):
            yield (parts[index] * rng.uniform(0.3, 1.0)).astype(np.float32)
            pause = np.zeros(int(rng.uniform(0.3, 20) * RATE), np.float32)
            yield pause + (1e-4 * rng.standard_normal(len(pause))).astype(np.float32)


def pieces(sound: Iterator[np.ndarray], seconds: float) -> Iterator[np.ndarray]:
    """So much of it, in pieces of 20 to 400 ms as a network delivers them."""
    rng = np.random.default_rng(1)
    left = int(seconds * RATE)
    for part in sound:
        at = 0
        while at < len(part) and left > 0:
            size = min(int(rng.uniform(0.02, 0.4) * RATE), left)
            yield part[at : at + size]
            left -= len(part[at : at + size])
            at += size
        if left <= 0:
            return


def open_stream(options: argparse.Namespace, folder: Path) -> Any:
    import torch

    from funasr import AutoModel

    torch.set_num_threads(options.threads)
    model = options.model
    if model is None:
        sys.path.insert(0, str(ROOT))
        from tests.tiny_models import make_paraformer

        model = str(make_paraformer(folder, "ParaformerStreaming", seed=5))
    # The detector's calls are many and small, and cost a quarter of torch's time in onnxruntime.
    detector = {"vad_model": "bundled-vad", "vad_kwargs": {"engine": "onnx", "ncpu": 1}}
    common = {"device": "cpu", "disable_pbar": True, **detector}
    streaming = AutoModel(model=model, **common)
    if not options.two_pass:
        return streaming.stream()
    offline = AutoModel(model="bundled-asr", **common)
    return offline.two_pass(streaming)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of recordings")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--model", help="directory or name of a streaming recognizer")
    parser.add_argument("--two-pass", action="store_true", help="the bundled recognizer reads it again")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)

    parts = recordings(options.data)
    with tempfile.TemporaryDirectory() as folder:
        stream = open_stream(options, Path(folder))
    counts: dict[str, int] = {}
    sizes: list[float] = []
    began = time.perf_counter()
    heard = 0
    # A run of less than two hours reports four times, and takes its first quarter for the warm-up.
    every = RATE * 3600 if options.hours >= 2 * WARM_UP_HOURS else RATE * 3600 * options.hours / 4
    for piece in pieces(endless(parts), options.hours * 3600):
        for event in stream.accept(piece):
            counts[type(event).__name__] = counts.get(type(event).__name__, 0) + 1
        heard += len(piece)
        if heard >= every * (len(sizes) + 1):
            gc.collect()
            sizes.append(resident_mb())
            spent = time.perf_counter() - began
            print(
                f"{heard / RATE / 3600:6.2f} h  RSS {sizes[-1]:8.2f} MB ({sizes[-1] - sizes[0]:+.2f})  "
                f"stream {stream.nbytes / 1024:7.1f} KB  {json.dumps(counts)}  "
                f"{heard / RATE / spent:.0f}x real time",
                flush=True,
            )
    stream.flush()
    grown = sizes[-1] - sizes[0]
    print(
        f"after the warm-up: {grown:+.2f} MB, at most {max(sizes) - sizes[0]:+.2f}; allowed {LIMIT_MB:+.2f}"
    )
    return 0 if grown <= LIMIT_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
