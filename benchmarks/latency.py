"""Live recognition: the time of each call against upstream's, and how many streams one machine keeps up with.

    python benchmarks/latency.py --models DIR --audio a.wav ... [--threads 2] [--calls 60] [--turn 10]
        [--streams 1 4 16] [--engine torch|onnx ...] [--quantize] [--bf16]

DIR holds `paraformer-streaming-full`, random or released. The documented loop of `generate(input=chunk,
cache=cache)`, 600 ms a call. FUNASR_REFERENCE_PYTHON names a Python with upstream installed; both programs
live in processes of their own and take turns on the same sound, so what disturbs the machine disturbs both.
A turn is `--turn` calls: one call each would leave nobody's weights in the processor's memory, as no live
stream is heard. The texts of all calls are compared. Each `--engine` is a process of ours; onnx wants the
graphs that funasr-export writes beside the weights. `--quantize` adds one with their integer weights,
`--bf16` one in torch with bf16=True. Then streams stepped together, by the last of ours.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

RATE = 16000
CHUNK = [0, 10, 5]
STRIDE = CHUNK[1] * 960
OPTIONS = {"chunk_size": CHUNK, "encoder_chunk_look_back": 4, "decoder_chunk_look_back": 1}
REFERENCE = "reference"
OURS: dict[str, dict[str, Any]] = {
    "torch": {"engine": "torch"},
    "torch bf16": {"engine": "torch", "bf16": True},
    "onnx": {"engine": "onnx"},
    "onnx int8": {"engine": "onnx", "quantize": True},
}
"""Ours, and what they are opened with."""
WARM_UP = 6
"""Calls that are not counted: histories fill up, threads start."""


def serve(job: dict[str, Any]) -> None:
    """In the process of one of the two programs: a line in, seconds and texts of some calls out."""
    import torch

    from funasr import AutoModel

    ours = job["side"] != REFERENCE
    torch.set_num_threads(job["threads"])
    options: dict[str, Any] = {"device": "cpu", "ncpu": job["threads"], "disable_pbar": True}
    options |= {"offline": True, **OURS[job["side"]]} if ours else {}
    options |= {} if ours else {"disable_update": True, "log_level": "ERROR"}
    model = AutoModel(model=job["model"], **options)
    sound = np.load(job["sound"])
    cache: dict[str, Any] = {}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "streams" in asked:
            print(json.dumps(step_together(model, sound, asked["streams"], asked["calls"])), flush=True)
            continue
        answers = []
        for start in range(asked["first"] * STRIDE, asked["stop"] * STRIDE, STRIDE):
            before = time.perf_counter(), time.process_time()
            found = model.generate(
                input=sound[start : start + STRIDE], cache=cache, is_final=False, **OPTIONS
            )
            took = time.perf_counter() - before[0], time.process_time() - before[1]
            answers.append({"seconds": took[0], "processor": took[1], "text": found[0]["text"]})
        print(json.dumps(answers), flush=True)


def step_together(model: Any, sound: np.ndarray, count: int, calls: int) -> list[float]:
    """Seconds of each step of that many streams, a stride of different sound for each."""
    from funasr.stages.protocols import ChunkShape

    streamer = model.model  # what all its streams share; AutoModel.stream makes one at a time
    shape = ChunkShape(encoder_look_back=4, decoder_look_back=1)
    streams = [streamer.stream(shape) for _ in range(count)]
    seconds = []
    for call in range(WARM_UP + calls):
        places = [(call + 7 * number) * STRIDE % (len(sound) - STRIDE) for number in range(count)]
        before = time.perf_counter()
        streamer.advance(streams, [sound[place : place + STRIDE] for place in places])
        seconds.append(time.perf_counter() - before)
    return seconds[WARM_UP:]


class Side:
    """One of the two programs, in its process."""

    def __init__(self, name: str, python: str, job: dict[str, Any]) -> None:
        threads = str(job["threads"])
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        command = [python, __file__, "--serve", json.dumps(job | {"side": name})]
        self.name = name
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._answer()

    def ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        """The next line that is an answer: upstream prints its version, too."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("{", "[")) and line.rstrip().endswith(("}", "]")):
                return json.loads(line)
        raise SystemExit(f"{self.name} ended without an answer")


def compare_calls(sides: Sequence[Side], calls: int, turn: int) -> None:
    """All calls on each side, `turn` of them in a row; percentiles and their ratios."""
    answers: dict[str, list[dict[str, Any]]] = {side.name: [] for side in sides}
    for start in range(0, WARM_UP + calls, turn):
        for side in sides if start // turn % 2 else sides[::-1]:
            stop = min(start + turn, WARM_UP + calls)
            answers[side.name] += side.ask({"first": start, "stop": stop})
    tables = {}
    for name, given in answers.items():
        wall, processor = (
            1000 * np.array([answer[key] for answer in given[WARM_UP:]]) for key in ("seconds", "processor")
        )
        tables[name] = np.array([*np.percentile(wall, [50, 95, 99]), np.median(processor)])
        print(f"{name:10} " + _row(tables[name], "ms"))
    for name in [name for name in tables if name != REFERENCE and REFERENCE in tables]:
        print(f"{name}: ratio to the reference  " + _row(tables[REFERENCE] / tables[name], "x "))
        # Blanks apart: upstream leaves one where it loses a dangling piece of a word.
        pairs = zip(answers[name], answers[REFERENCE], strict=True)
        equal = sum(own["text"].replace(" ", "") == their["text"].replace(" ", "") for own, their in pairs)
        print(f"{name}: texts of {equal} of {WARM_UP + calls} calls equal")


def _row(values: np.ndarray, unit: str) -> str:
    names = ("p50", "p95", "p99", "processor p50")
    return "  ".join(f"{name} {value:7.2f} {unit}" for name, value in zip(names, values, strict=True))


def compare_streams(side: Side, counts: Sequence[int], calls: int) -> None:
    """Steps of many streams at once, as a share of the time their sound takes."""
    for count in counts:
        seconds = np.array(side.ask({"streams": count, "calls": calls}))
        half, most = 1000 * np.percentile(seconds, [50, 95])
        load = half / (1000 * STRIDE / RATE)
        print(
            f"{count:3} streams  p50 {half:7.2f} ms  p95 {most:7.2f} ms  {load:5.1%} of real time, "
            f"{half / count:6.2f} ms a stream"
        )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path)
    parser.add_argument("--audio", type=Path, nargs="+")
    parser.add_argument("--size", default="full", choices=["tiny", "full"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, default=60)
    parser.add_argument("--turn", type=int, default=10, help="calls in a row")
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--engine", nargs="*", default=["torch"], choices=["torch", "onnx"])
    parser.add_argument("--quantize", action="store_true", help="onnx with integer weights as well")
    parser.add_argument("--bf16", action="store_true", help="torch with bf16=True as well")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        serve(json.loads(options.serve))
        return 0
    from funasr.audio.load import load_audio

    sound = np.concatenate([load_audio(file) for file in options.audio])
    reference = os.environ.get("FUNASR_REFERENCE_PYTHON")
    names = [*options.engine, *["torch bf16"] * options.bf16, *["onnx int8"] * options.quantize]
    programs = dict.fromkeys(names, sys.executable)
    programs |= {REFERENCE: reference} if reference else {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "sound.npy", np.resize(sound, (WARM_UP + options.calls) * STRIDE))
        job = {
            "model": str(options.models / f"paraformer-streaming-{options.size}"),
            "sound": f"{folder}/sound.npy",
            "threads": options.threads,
        }
        sides = [Side(name, python, job) for name, python in programs.items()]
        compare_calls(sides, options.calls, options.turn)
        compare_streams(sides[len(names) - 1], options.streams, max(options.calls // 4, 5))
        for side in sides:
            side.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
