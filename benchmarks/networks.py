"""Recognition against upstream: seconds, processor seconds and memory, in processes that take turns.

    python benchmarks/networks.py --models DIR --audio a.wav ... [--task clips] [--threads 2] [--rounds 3]

DIR holds the full-size random models `paraformer-full`, `seaco-paraformer-full` and `fsmn-vad-full` (or the
released ones under these names). FUNASR_REFERENCE_PYTHON names a Python with upstream installed; without it
only ours runs. Each run is a fresh process; a ratio is the median over rounds of upstream's seconds by ours,
and what the two said is compared. Tasks: `load` (AutoModel's construction), `clips` (Paraformer, 30 clips of
10 s, defaults), `long` (SeACo + VAD over 5 minutes), `bf16` (as clips, ours in bfloat16).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from turns import programs, take_turns

RATE = 16000
TASKS = ("load", "clips", "long", "bf16")


def worker(job: dict[str, Any]) -> dict[str, Any]:
    """One run, in the process of one of the two programs. What `funasr` is depends on the interpreter."""
    import torch  # noqa: F401  # before the clock starts: upstream imports it with the package, we when needed

    from funasr import AutoModel

    ours, task, models = job["side"] == "ours", job["task"], Path(job["models"])
    options: dict[str, Any] = {"device": "cpu", "ncpu": job["threads"], "disable_pbar": True}
    if ours:
        options["offline"] = True
        if task == "bf16":
            options["bf16"] = True
    else:
        options |= {"disable_update": True, "log_level": "ERROR"}
    if task == "long":
        options |= {
            "model": str(models / "seaco-paraformer-full"),
            "vad_model": str(models / "fsmn-vad-full"),
        }
        # Upstream's newer schedule cuts elsewhere; equal segments make the comparison one of speed.
        options["vad_kwargs"] = {"dynamic_silence": False}
    else:
        options["model"] = str(models / "paraformer-full")
    before = time.perf_counter(), time.process_time()
    model = AutoModel(**options)
    if task != "load":
        sound = np.load(job["sound"])
        inputs = [sound] if task == "long" else list(sound.reshape(-1, 10 * RATE))
        model.generate(input=[sound[: 3 * RATE]], disable_pbar=True)  # the first call sets things up
        before = time.perf_counter(), time.process_time()
        results = model.generate(input=inputs, disable_pbar=True)
        texts = [result["text"] for result in results]
    else:
        texts = []
    return {
        "seconds": time.perf_counter() - before[0],
        "processor": time.process_time() - before[1],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "texts": texts,
    }


def read_sound(files: Sequence[Path], seconds: int) -> np.ndarray:
    """That much speech: the files one after another, from the start again if they are too short."""
    from funasr.audio.load import load_audio

    sound = np.concatenate([load_audio(file) for file in files])
    return np.resize(sound, seconds * RATE)


def report(task: str, seconds: int, rounds: Sequence[dict[str, dict[str, Any]]]) -> None:
    """One task's medians, and their ratio where both sides ran."""
    for side in rounds[0]:
        runs = [one[side] for one in rounds]
        wall, processor = (statistics.median(r[key] for r in runs) for key in ("seconds", "processor"))
        factor = "" if task == "load" else f"  RTF {wall / seconds:.4f}"
        peak = max(r["peak_mb"] for r in runs)
        print(f"{task:6} {side:10} {wall:7.2f} s {processor:7.2f} processor s {peak:6.0f} MB peak{factor}")
    if "reference" in rounds[0]:
        ratios = [
            statistics.median(one["reference"][key] / one["ours"][key] for one in rounds)
            for key in ("seconds", "processor")
        ]
        # Blanks apart: upstream leaves one where it loses a dangling piece of a word.
        pairs = zip(
            *([t.replace(" ", "") for t in rounds[0][side]["texts"]] for side in rounds[0]), strict=True
        )
        equal = sum(own == theirs for own, theirs in pairs)
        print(
            f"{task:6} ratio      {ratios[0]:7.2f}   {ratios[1]:7.2f}"
            f"            {equal} of {len(rounds[0]['ours']['texts'])} texts equal"
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--audio", type=Path, nargs="+")
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=300, help="how much sound (default 300)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        print(json.dumps(worker(json.loads(options.worker))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "sound.npy", read_sound(options.audio, options.seconds))
        for task in options.task or TASKS[:3]:
            job = {"task": task, "models": str(options.models), "threads": options.threads}
            job["sound"] = f"{folder}/sound.npy"
            rounds = take_turns(__file__, job, programs(), options.rounds)
            report(task, options.seconds, rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
