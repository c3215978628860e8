"""Paraformer through onnxruntime, beside torch, upstream's funasr_onnx and sherpa-onnx.

    python benchmarks/engines.py --model DIR --ours DIR --audio a.wav ... [--theirs DIR] [--side int8]

DIR of --model has weights; --ours is what `funasr-export ++quantize=true` made of them, --theirs what
upstream's exporter made (AutoModel.export(quantize=True)). 30 clips of 10 s, each run a fresh process,
processes take turns. Ratios are medians over rounds, to ours with integer weights; processor seconds say more
on a busy machine. FUNASR_REFERENCE_PYTHON names a Python with upstream's funasr_onnx and sherpa-onnx; both
run --theirs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from turns import programs, take_turns

RATE = 16000
OURS = ("int8", "fp32", "torch")
REFERENCE = ("funasr_onnx", "sherpa")
"""Both with upstream's integer weights."""


def ours(job: dict[str, Any]) -> Callable[[list[np.ndarray]], list[str]]:
    from funasr import AutoModel

    how = {"int8": {"engine": "onnx", "quantize": True}, "fp32": {"engine": "onnx"}, "torch": {}}[job["side"]]
    folder = job["model"] if job["side"] == "torch" else job["ours"]
    engine = {"engine": "torch", **how}
    model = AutoModel(model=folder, device="cpu", ncpu=job["threads"], offline=True, **engine)
    limits = {} if job["batch"] is None else {"batch_size": job["batch"]}
    return lambda clips: [
        record["text"] for record in model.generate(input=clips, disable_pbar=True, **limits)
    ]


def funasr_onnx(job: dict[str, Any]) -> Callable[[list[np.ndarray]], list[str]]:
    from funasr_onnx import Paraformer

    model = Paraformer(job["theirs"], quantize=True, intra_op_num_threads=job["threads"])

    def recognize(clips: list[np.ndarray]) -> list[str]:
        heard = [model(clip)[0]["preds"] for clip in clips]
        return [one if isinstance(one, str) else one[0] for one in heard]

    return recognize


def sherpa(job: dict[str, Any]) -> Callable[[list[np.ndarray]], list[str]]:
    import sherpa_onnx

    recognizer = sherpa_onnx.OfflineRecognizer.from_paraformer(
        paraformer=job["sherpa"], tokens=job["tokens"], num_threads=job["threads"]
    )

    def recognize(clips: list[np.ndarray]) -> list[str]:
        said = []
        for clip in clips:
            stream = recognizer.create_stream()
            stream.accept_waveform(RATE, clip)
            recognizer.decode_stream(stream)
            said.append(stream.result.text)
        return said

    return recognize


def worker(job: dict[str, Any]) -> dict[str, Any]:
    """One run, in a process of its own."""
    recognize = {"funasr_onnx": funasr_onnx, "sherpa": sherpa}.get(job["side"], ours)(job)
    clips = list(np.load(job["sound"]).reshape(-1, 10 * RATE))
    recognize(clips[:2])  # the first call sets things up
    before = time.perf_counter(), time.process_time()
    texts = recognize(clips)
    return {
        "seconds": time.perf_counter() - before[0],
        "processor": time.process_time() - before[1],
        "peak_mb": peak_mb(),
        "texts": texts,
    }


def peak_mb() -> float:
    """Of this process alone; getrusage's begins with what its parent held."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def prepare_for_sherpa(ours: Path, theirs: Path, folder: Path) -> dict[str, str]:
    """Their graph with the metadata of ours, without which sherpa-onnx does not load it, and a tokens.txt."""
    import onnx

    model = onnx.load(theirs / "model_quant.onnx")
    known = {entry.key for entry in model.metadata_props}
    for entry in onnx.load(ours / "model_quant.onnx").metadata_props:
        if entry.key not in known:
            model.metadata_props.add(key=entry.key, value=entry.value)
    onnx.save(model, folder / "sherpa.onnx")
    tokens = json.loads((ours / "tokens.json").read_text(encoding="utf-8"))
    lines = (f"{token} {number}\n" for number, token in enumerate(tokens))
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    return {"sherpa": str(folder / "sherpa.onnx"), "tokens": str(folder / "tokens.txt")}


def report(rounds: Sequence[dict[str, dict[str, Any]]], seconds: float) -> None:
    base = "int8" if "int8" in rounds[0] else next(iter(rounds[0]))
    for side in rounds[0]:
        wall, processor = (
            statistics.median(one[side][key] for one in rounds) for key in ("seconds", "processor")
        )
        ratios = [
            statistics.median(one[side][key] / one[base][key] for one in rounds)
            for key in ("seconds", "processor")
        ]
        peak = max(one[side]["peak_mb"] for one in rounds)
        print(
            f"{side:12} {wall:7.2f} s  RTF {wall / seconds:.4f} {processor:7.2f} processor s {peak:6.0f} MB"
            f"   {ratios[0]:.2f} and {ratios[1]:.2f} times {base}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--ours", type=Path)
    parser.add_argument("--theirs", type=Path)
    parser.add_argument("--audio", type=Path, nargs="+")
    parser.add_argument("--side", action="append", choices=OURS + REFERENCE)
    parser.add_argument("--batch", type=int, help="clips in a batch of ours; else its own choice")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=300, help="how much sound (default 300)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        print(json.dumps(worker(json.loads(options.worker))))
        return 0
    from networks import read_sound

    found = programs()
    pythons = dict.fromkeys(OURS, found["ours"])
    if "reference" in found and options.theirs:
        pythons |= dict.fromkeys(REFERENCE, found["reference"])
    sides = {side: python for side, python in pythons.items() if not options.side or side in options.side}
    for folder in filter(None, (options.model, options.ours, options.theirs)):
        for path in sorted(folder.glob("model*")):
            print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory() as work:
        np.save(Path(work) / "sound.npy", read_sound(options.audio, options.seconds))
        job: dict[str, Any] = {
            "sound": f"{work}/sound.npy",
            "threads": options.threads,
            "batch": options.batch,
        }
        job |= {name: str(getattr(options, name)) for name in ("model", "ours", "theirs")}
        if "sherpa" in sides:
            job |= prepare_for_sherpa(options.ours, options.theirs, Path(work))
        if options.theirs and not (options.theirs / "tokens.json").exists():
            shutil.copy(options.ours / "tokens.json", options.theirs)
        report(take_turns(__file__, job, sides, options.rounds), options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
