"""Speed of fsmn-vad beside the reference's: the state machine alone, and the whole call over 20 minutes.

    FUNASR_REFERENCE_PYTHON=... python benchmarks/vad.py MODEL_DIR [AUDIO] [--minutes 20] [--rounds 3]

Each measurement is a process of its own; ours and the reference's take turns, so that a busy machine slows
both. AUDIO is repeated to the length asked for; without it, a noise that speaks in syllables stands in. The
reference runs with dynamic_silence=False, which makes its segments ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

RATE = 16000


def made_up(seconds: float) -> np.ndarray:
    """Noise in syllables, phrases and pauses."""
    rng = np.random.default_rng(0)
    time_s = np.arange(int(seconds * RATE)) / RATE
    loud = (np.sin(2 * np.pi * 4 * time_s) > -0.5) * (np.sin(2 * np.pi * 0.13 * time_s) > -0.3)
    voice = sum(np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 12))
    return (loud * 0.1 * voice + 0.002 * rng.standard_normal(len(time_s))).astype(np.float32)


def best_of(count: int, work: Callable[[], Any]) -> tuple[float, Any]:
    times = []
    for _ in range(count):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def ours(model: str, audio: str, threads: int) -> dict[str, Any]:
    import torch

    from funasr.config import load_yaml
    from funasr.features.frontend import WavFrontend
    from funasr.models.fsmn_vad.network import FsmnVad
    from funasr.nn.weights import load_weights
    from funasr.stages.vad import SpeechDetector
    from funasr.vad.endpoint import Endpointer
    from funasr.vad.options import VadOptions
    from funasr.vad.segments import finished

    torch.set_num_threads(threads)
    folder = Path(model)
    raw = load_yaml(folder / "config.yaml")
    network = FsmnVad.from_official(raw)
    load_weights(network, folder / "model.pt")
    network.eval()
    frontend = WavFrontend.from_official(raw["frontend_conf"], folder / "am.mvn")
    options = VadOptions.from_official(raw["model_conf"])
    samples = np.load(audio)

    detector = SpeechDetector(network, frontend, options)
    detector.segments(samples[: RATE * 30])
    whole, segments = best_of(2, lambda: detector.segments(samples))
    features_s, features = best_of(1, lambda: frontend(samples))
    network_s, scores = best_of(1, lambda: network.score(features[None], network.initial_state())[0][0])

    def endpoint() -> Any:
        one = Endpointer(options)
        return finished(one.accept(scores) + one.flush())

    machine, _ = best_of(5, endpoint)
    return {
        "whole": whole,
        "machine": machine,
        "features": features_s,
        "network": network_s,
        "segments": [[s.start_ms, s.end_ms] for s in segments],
    }


def reference(model: str, audio: str, threads: int) -> dict[str, Any]:
    """The whole call, and once more with a clock around the network and the state machine."""
    import torch

    from funasr import AutoModel

    detector = AutoModel(
        model=model, device="cpu", ncpu=threads, disable_update=True, disable_pbar=True, log_level="ERROR"
    )
    samples = np.load(audio)

    def call() -> Any:
        return detector.generate(input=samples, fs=RATE, dynamic_silence=False)[0]["value"]

    detector.generate(input=samples[: RATE * 30], fs=RATE, dynamic_silence=False)
    encoder = detector.model.encoder

    def timed(name: str, inner: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = inner(*args, **kwargs)
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - start
            return result

        return run

    with torch.no_grad():
        whole, segments = best_of(2, call)
        spent: dict[str, float] = {}
        encoder.forward = timed("network", encoder.forward, spent)
        for name in ("DetectLastFrames", "DetectCommonFrames"):
            setattr(detector.model, name, timed("machine", getattr(detector.model, name), spent))
        call()
    return {
        "whole": whole,
        "machine": spent.get("machine", 0.0),
        "network": spent["network"],
        "segments": segments,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="directory in the official layout of fsmn-vad")
    parser.add_argument("audio", nargs="?", help="16 kHz mono wav")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=["ours", "reference"], help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        measure = ours if options.worker == "ours" else reference
        print(json.dumps(measure(options.model, options.audio, options.threads)))
        return 0

    pythons = {"ours": sys.executable, "reference": os.environ.get("FUNASR_REFERENCE_PYTHON", "")}
    with TemporaryDirectory() as folder:
        samples = made_up(60) if options.audio is None else read_wav(options.audio)
        samples = np.resize(samples, int(options.minutes * 60 * RATE))
        np.save(f"{folder}/audio.npy", samples)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name, python in pythons.items() if python}
        for _ in range(options.rounds):
            for name in results:
                command = [
                    pythons[name],
                    __file__,
                    str(Path(options.model).resolve()),
                    f"{folder}/audio.npy",
                    "--worker",
                    name,
                ]
                command += ["--threads", str(options.threads)]
                # The reference is another package of the same name: ours must not be found from here.
                done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
                results[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
    seconds = options.minutes * 60
    for name, runs in results.items():
        parts = {
            part: statistics.median(run[part] for run in runs)
            for part in ("whole", "features", "network", "machine")
            if part in runs[0]
        }
        shown = "  ".join(f"{part} {value:.3f} s" for part, value in parts.items())
        print(f"{name:10} {shown}  (RTF {parts['whole'] / seconds:.5f}, {len(runs[0]['segments'])} segments)")
    if "reference" in results:
        for part, wanted in (("whole", 2.5), ("machine", 10)):
            ratios = [b[part] / a[part] for a, b in zip(results["ours"], results["reference"], strict=True)]
            print(f"{part}: {statistics.median(ratios):.1f} times the reference's speed (wanted: {wanted})")
        same = results["ours"][0]["segments"] == results["reference"][0]["segments"]
        print(f"segments equal: {same}")
    return 0


def read_wav(path: str) -> np.ndarray:
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


if __name__ == "__main__":
    raise SystemExit(main())
