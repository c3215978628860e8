"""Our filter bank against kaldi-native-fbank, one thread each, turn by turn in one run.

python benchmarks/fbank.py [FILE] [--seconds 120] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported

import kaldi_native_fbank as knf
import numpy as np

from funasr.arrays import Features, Samples
from funasr.features.frontend import FrontendConfig, WavFrontend

RATE = 16000
CONFIG = FrontendConfig(dither=0.0, lfr_m=7, lfr_n=6)
CHUNK = 9600


def voice(seconds: float) -> Samples:
    """Something like speech: a gliding voice in syllables, hiss, pauses."""
    time_s = np.arange(int(seconds * RATE)) / RATE
    pitch = 2 * np.pi * np.cumsum(130 + 40 * np.sin(2 * np.pi * 0.3 * time_s)) / RATE
    sound = sum(np.sin(k * pitch) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * time_s), 0, 1) * (np.sin(2 * np.pi * 0.2 * time_s) > -0.5)
    hiss = np.random.default_rng(0).standard_normal(len(time_s)) * 0.002
    return (0.2 * sound * syllables + hiss).astype(np.float32)


def kaldi(samples: Samples) -> Features:
    """(N,) -> (F, 80) by kaldi-native-fbank."""
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = RATE
    options.frame_opts.window_type = "hamming"
    options.frame_opts.dither = 0
    options.mel_opts.num_bins = 80
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(RATE, samples * 32768)
    bank.input_finished()
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])


def streamed(frontend: WavFrontend, samples: Samples) -> Features:
    stream = frontend.online()
    rows = [stream.accept(samples[i : i + CHUNK]) for i in range(0, len(samples), CHUNK)]
    return np.concatenate([*rows, stream.flush()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", help="sound to use; without it, a made-up voice")
    parser.add_argument("--seconds", type=float, default=120, help="length of the made-up voice")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.file:
        from funasr.audio.load import load_audio

        samples = load_audio(arguments.file, RATE)
    else:
        samples = voice(arguments.seconds)
    frontend = WavFrontend(CONFIG)
    runs: dict[str, Callable[[], Features]] = {
        "kaldi-native-fbank": lambda: kaldi(samples),
        "funasr Fbank": lambda: frontend.fbank(samples),
        "funasr WavFrontend (LFR 7/6)": lambda: frontend(samples),
        f"funasr OnlineFrontend, {CHUNK} samples at a time": lambda: streamed(frontend, samples),
    }
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    difference = np.abs(frontend.fbank(samples) - kaldi(samples))
    print(f"{len(samples) / RATE:.0f} s of sound, one thread, median (fastest) of {arguments.rounds} rounds")
    slowest = statistics.median(taken["kaldi-native-fbank"])
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:48} {median * 1e3:8.1f} ms ({min(seconds) * 1e3:.1f})  {slowest / median:5.1f}x")
    print(f"difference to kaldi-native-fbank: mean {difference.mean():.1e}, worst {difference.max():.1e}")


if __name__ == "__main__":
    main()
