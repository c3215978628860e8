"""Record the sample data: whispered digits and commands, in voices that no bundled model was trained on.

    python data/make_recordings.py

Needs espeak-ng. Writes the sounds of data/wav and the lists `train_wav.scp`, `train_text.txt` (and `val_...`)
in data/list; `scp2jsonl` makes the `.jsonl` lists of them (data/README.md). The voices of the validation list
are in no training list. Another espeak-ng than 1.51 gives other sounds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
RATE = 16000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS += ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
VOICES = {
    "train": (
        "en-us+whisper",
        "en-us+whisperf",
        "en-us-nyc+whisper",
        "en-gb-x-gbclan+whisper",
        "en-gb-x-rp+whisperf",
        "en-gb-x-gbcwmd+whisperf",
    ),
    "val": ("en-gb-scotland+whisper", "en-gb-scotland+whisperf", "en-029+whisper", "en-029+whisperf"),
}
COUNTS = {"train": 130, "val": 40}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT, help="the repository (default: this one)")
    out: Path = parser.parse_args(argv).out
    (out / "data" / "list").mkdir(parents=True, exist_ok=True)
    for number, (part, count) in enumerate(COUNTS.items()):
        rng = np.random.default_rng(number)
        paths, texts = [], []
        for index, words in enumerate(word_strings(count, rng)):
            voice = VOICES[part][index % len(VOICES[part])]
            key = f"{part}_{index:03d}"
            path = f"data/wav/{part}/{key}.ogg"
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            sound = spoken(words, voice, rng)
            soundfile.write(out / path, sound, RATE, format="OGG", subtype="OPUS", compression_level=0.93)
            paths.append(f"{key} {path}\n")
            texts.append(f"{key} {' '.join(words)}\n")
        (out / "data/list" / f"{part}_wav.scp").write_text("".join(paths), encoding="utf-8")
        (out / "data/list" / f"{part}_text.txt").write_text("".join(texts), encoding="utf-8")
    return 0


def word_strings(count: int, rng: np.random.Generator) -> list[list[str]]:
    """Strings of two to five words; every word occurs as often as any other, or once more."""
    sizes = rng.integers(2, 6, count)
    words: list[str] = []
    while len(words) < sizes.sum():
        words += rng.permutation(WORDS).tolist()
    ends = np.cumsum(sizes)
    return [words[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def spoken(words: Sequence[str], voice: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """The words one by one with pauses between, at a speed and a height of this speaker; samples (N,)."""
    speed, height = int(rng.integers(120, 190)), int(rng.integers(30, 70))
    pieces = [np.zeros(RATE // 5, dtype=np.float32)]
    for word in words:
        sound = whispered(word, voice, speed, height)
        pieces += [sound, np.zeros(int(rng.uniform(0.04, 0.2) * RATE), dtype=np.float32)]
    sound = np.concatenate([*pieces, np.zeros(RATE // 10, dtype=np.float32)])
    return np.asarray(rng.uniform(0.2, 0.6) * sound / np.abs(sound).max(), dtype=np.float32)


def whispered(word: str, voice: str, speed: int, height: int) -> NDArray[np.float32]:
    """One word without the silence at both ends."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        subprocess.run(
            ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(height), "-w", str(path), word],
            check=True,
            capture_output=True,
            timeout=60,
        )
        samples, rate = soundfile.read(path, dtype="float32")
    sound = soxr.resample(samples, rate, RATE)
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    return np.asarray(sound[loud[0] : loud[-1] + 1], dtype=np.float32)


if __name__ == "__main__":
    sys.exit(main())
