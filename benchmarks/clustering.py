"""Telling speakers apart: speed beside the reference's, and how many windows get the right speaker.

    FUNASR_REFERENCE_PYTHON=... python benchmarks/clustering.py [--model CAM++_DIR] [--rounds 1]

Made-up voices of known speakers (cosine 0.55 inside one, 0.1 between two) are clustered, 14,400 of them for
three hours of speech. With a model, the voices in five minutes of speech are computed too: segments of 2 to
12 s, a call of the reference for each, as in its pipeline. Each measurement is a process of its own; ours and
the reference's take turns. Times are CPU seconds of all threads and, behind them, wall clock: on a busy
machine the first say more.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden"
CASES = ((1600, 5), (3200, 6), (14_400, 8))
"""Windows, speakers."""
REFERENCE_CASES = 2
"""The reference is not asked for the last, which takes it minutes."""
RATE = 16000


def voices(count: int, speakers: int) -> tuple[np.ndarray, np.ndarray]:
    sys.path.insert(0, str(GOLDEN))
    from seeded_speaker import voices as made

    return made(count, speakers, seed=count)


def speech() -> list[np.ndarray]:
    """Five minutes of noise in segments."""
    rng = np.random.default_rng(0)
    lengths = rng.uniform(2, 12, 43)
    lengths *= 300 / lengths.sum()
    return [(0.1 * rng.standard_normal(int(length * RATE))).astype(np.float32) for length in lengths]


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def ours(model: str | None) -> dict[str, Any]:
    from funasr.speakers.cluster import cluster

    found: dict[str, Any] = {}
    cluster(voices(100, 2)[0])  # imports
    for count, speakers in CASES:
        rows, whose = voices(count, speakers)
        cpu, wall, labels = timed(lambda rows=rows: cluster(rows))
        found[f"cluster {count}"] = cpu, wall, agreement(labels, whose)
    found["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if model:
        from funasr import AutoModel

        encoder = AutoModel(model=model, device="cpu").model
        encoder.listen(speech()[:3])
        cpu, wall, heard = timed(lambda: encoder.listen(speech()))
        found["voices"] = cpu, wall, sum(len(one.windows) for one in heard)
    return found


def reference(model: str | None) -> dict[str, Any]:
    import torch
    from funasr.models.campplus.cluster_backend import ClusterBackend
    from funasr.models.campplus.utils import sv_chunk

    from funasr import AutoModel

    found: dict[str, Any] = {}
    backend = ClusterBackend()
    backend(torch.from_numpy(voices(100, 2)[0]), oracle_num=None)
    for count, speakers in CASES[:REFERENCE_CASES]:
        rows, whose = voices(count, speakers)
        cpu, wall, labels = timed(lambda rows=rows: backend(torch.from_numpy(rows), oracle_num=None))
        found[f"cluster {count}"] = cpu, wall, agreement(np.asarray(labels), whose)
    found["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if model:
        encoder = AutoModel(
            model=model, device="cpu", ncpu=torch.get_num_threads(), disable_update=True, disable_pbar=True,
            log_level="ERROR",
        )  # fmt: skip

        def listen(segments: list[np.ndarray]) -> int:
            total = 0
            for samples in segments:
                cut = [chunk[2] for chunk in sv_chunk([[0, len(samples) / RATE, samples]])]
                encoder.generate(input=cut, batch_size=len(cut))
                total += len(cut)
            return total

        listen(speech()[:3])
        found["voices"] = timed(lambda: listen(speech()))
    return found


def agreement(labels: np.ndarray, whose: np.ndarray) -> float:
    """Share of windows whose label is that of most windows of their speaker."""
    right = sum(np.bincount(labels[whose == one] - labels.min()).max() for one in np.unique(whose))
    return float(right / len(whose)) * (len(np.unique(labels)) == len(np.unique(whose)))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="directory of a CAM++ in the official layout")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--worker", choices=["ours", "reference"], help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    model = str(Path(options.model).resolve()) if options.model else None
    if options.worker:
        print(json.dumps((ours if options.worker == "ours" else reference)(model)))
        return 0
    pythons = {"ours": sys.executable, "reference": os.environ.get("FUNASR_REFERENCE_PYTHON", "")}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name, python in pythons.items() if python}
    with TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name in results:
                command = [pythons[name], str(Path(__file__).resolve()), "--worker", name]
                command += ["--model", model] if model else []
                # The reference is another package of the same name: ours must not be found from here.
                done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
                results[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
    for name, runs in results.items():
        for part, value in runs[0].items():
            if part == "peak MB":
                print(f"{name:10} {part} {value:.0f}")
                continue
            cpu, wall = (min(run[part][index] for run in runs) for index in (0, 1))
            shown = f"{value[2]} windows" if part == "voices" else f"{value[2]:.1%} right"
            print(f"{name:10} {part:14} {cpu:7.2f} s CPU {wall:7.2f} s  {shown}")
    for part in results.get("reference", [{}])[0]:
        if part != "peak MB":
            ratio = min(run[part][0] for run in results["reference"]) / min(
                run[part][0] for run in results["ours"]
            )
            print(f"{part}: {ratio:.1f} times the reference's speed (CPU time)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
