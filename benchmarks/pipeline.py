"""Whole recordings with speakers against upstream: seconds, processor seconds, in processes that take turns.

    FUNASR_REFERENCE_PYTHON=... python benchmarks/pipeline.py --models DIR --audio a.wav ... [--task speakers]
        [--ours DIR --engine fp32|int8]

DIR holds the full-size random models `seaco-paraformer-full`, `fsmn-vad-full`, `ct-punc-272727-full` and
`cam++-full` (or the released ones under these names). Each run is a fresh process; a ratio is the median over
rounds of upstream's seconds by ours. Without a reference only ours runs. With --engine ours runs through
onnxruntime, the graphs being in --ours under the same names, as `funasr-export ++quantize=true` writes them;
integer weights hear a little else, so texts differ then. Tasks:

    whole     SeACo, voice activity, punctuation and CAM++ over `--seconds` of sound
    speakers  CAM++ as it is called inside of that: the segments of the same sound, a call of the reference
              for each, as its pipeline does
    without   as whole, but no speakers
"""

from __future__ import annotations

import argparse
import json
import resource
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
TASKS = ("whole", "speakers", "without")
ENGINES = {
    "torch": {"engine": "torch"},
    "fp32": {"engine": "onnx"},
    "int8": {"engine": "onnx", "quantize": True},
}


def worker(job: dict[str, Any]) -> dict[str, Any]:
    """One run, in the process of one of the two programs. What `funasr` is depends on the interpreter."""
    import torch

    torch.set_num_threads(job["threads"])
    sound = np.load(job["sound"])
    work, said = _speakers(job, sound) if job["task"] == "speakers" else _whole(job, sound)
    work(sound[: 20 * RATE])  # the first call sets things up
    before = time.perf_counter(), time.process_time()
    result = work(sound)
    return {
        "seconds": time.perf_counter() - before[0],
        "processor": time.process_time() - before[1],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "said": said(result),
    }


def _auto(job: dict[str, Any], **names: str) -> Any:
    from funasr import AutoModel

    ours = job["side"] == "ours"
    own: dict[str, Any] = {"disable_update": True, "log_level": "ERROR"}
    if ours:
        own = {"offline": True, **ENGINES[job["engine"]]}
    folder = Path(job["ours"] if ours else job["models"])
    paths = {kind: str(folder / f"{name}-full") for kind, name in names.items()}
    # Upstream's newer schedule cuts elsewhere; equal segments make the comparison one of speed.
    more = {"vad_kwargs": {"dynamic_silence": False}} if "vad_model" in names else {}
    return AutoModel(device="cpu", ncpu=job["threads"], disable_pbar=True, **paths, **(own | more))


Work = tuple[Callable[[np.ndarray], Any], Callable[[Any], str]]


def _whole(job: dict[str, Any], sound: np.ndarray) -> Work:
    names = {"model": "seaco-paraformer", "vad_model": "fsmn-vad", "punc_model": "ct-punc-272727"}
    if job["task"] == "whole":
        names["spk_model"] = "cam++"
    model = _auto(job, **names)
    # Blanks and capitals apart: upstream writes its own at the beginning of sentences.
    return (lambda one: model.generate(input=one)), (lambda r: "".join(r[0]["text"].split()).lower())


def _speakers(job: dict[str, Any], sound: np.ndarray) -> Work:
    """The voices of all speech, cut beforehand."""
    detector = _auto(job, model="fsmn-vad")
    found = detector.generate(input=sound, dynamic_silence=False)[0]["value"]
    segments = [sound[start * RATE // 1000 : end * RATE // 1000] for start, end in found]
    model = _auto(job, model="cam++")
    if job["side"] == "ours":

        def listen(one: np.ndarray) -> int:
            chosen = segments if len(one) == len(sound) else segments[:3]
            return sum(len(heard.windows) for heard in model.model.listen(chosen))
    else:
        from funasr.models.campplus.utils import sv_chunk

        def listen(one: np.ndarray) -> int:
            total = 0
            for samples in segments if len(one) == len(sound) else segments[:3]:
                cut = [chunk[2] for chunk in sv_chunk([[0, len(samples) / RATE, samples]])]
                model.generate(input=cut, batch_size=len(cut))
                total += len(cut)
            return total

    return listen, (lambda count: f"{len(segments)} segments, {count} windows")


def report(task: str, seconds: int, rounds: Sequence[dict[str, dict[str, Any]]]) -> None:
    """One task's medians, and their ratio where both sides ran."""
    for side in rounds[0]:
        runs = [one[side] for one in rounds]
        wall, processor = (statistics.median(r[key] for r in runs) for key in ("seconds", "processor"))
        peak = max(r["peak_mb"] for r in runs)
        shown = f"{task:9} {side:10} {wall:7.2f} s {processor:7.2f} processor s {peak:6.0f} MB peak"
        print(f"{shown}  RTF {wall / seconds:.4f}")
    if "reference" in rounds[0]:
        ratios = [
            statistics.median(one["reference"][key] / one["ours"][key] for one in rounds)
            for key in ("seconds", "processor")
        ]
        own, theirs = (rounds[0][side]["said"] for side in ("ours", "reference"))
        equal = "results equal" if own == theirs else "results DIFFER"
        print(f"{task:9} ratio      {ratios[0]:7.2f}   {ratios[1]:7.2f}            {equal}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--ours", type=Path, help="where our graphs are; default: --models")
    parser.add_argument("--engine", choices=ENGINES, default="torch")
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
    from networks import read_sound

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "sound.npy", read_sound(options.audio, options.seconds))
        for task in options.task or TASKS:
            job = {"task": task, "models": str(options.models.resolve()), "threads": options.threads}
            job |= {"sound": f"{folder}/sound.npy", "engine": options.engine}
            job["ours"] = str((options.ours or options.models).resolve())
            rounds = take_turns(__file__, job, programs(), options.rounds)
            report(task, options.seconds, rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
