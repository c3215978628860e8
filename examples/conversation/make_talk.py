"""Make a conversation: three people say strings of digits in turn, with pauses, and a little noise.

    python examples/conversation/make_talk.py --data ../shared/data --out talk.wav
    funasr talk.wav --spk -f srt

The voices are of the Free Spoken Digit Dataset (asr/fsdd, telephone band). Beside talk.wav is talk.rttm, who
speaks when, with the words of each turn in talk.txt.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

RATE = 16000
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "yweweler")

Samples = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Said:
    """A turn, in seconds."""

    start: float
    end: float
    speaker: str
    words: tuple[str, ...]


def make_talk(
    data: Path, seed: int, *, people: int = 3, turns: int = 9, noise_db: float = -35.0
) -> tuple[Samples, list[Said]]:
    """samples (N,) at 16 kHz and what is said in them. Nobody has two turns in a row, and everybody has two.

    noise_db: the noise, against the loudness of the voices.
    """
    rng = np.random.default_rng(seed)
    names = [str(name) for name in rng.permutation(SPEAKERS)[:people]]
    parts: list[Samples] = [_silence(rng.uniform(0.4, 0.8))]
    said: list[Said] = []
    for name in _order(names, turns, rng):
        start = sum(map(len, parts))
        digits = rng.integers(10, size=int(rng.integers(3, 7)))
        for digit in digits:
            parts += [
                _spoken(data, name, int(digit), int(rng.integers(50))),
                _silence(rng.uniform(0.05, 0.25)),
            ]
        end = sum(map(len, parts)) - len(parts[-1])
        parts.append(_silence(rng.uniform(0.5, 1.2)))
        words = tuple(DIGITS[digit] for digit in digits)
        said.append(Said(start=start / RATE, end=end / RATE, speaker=name, words=words))
    talk = np.concatenate(parts)
    noise = rng.standard_normal(len(talk), dtype=np.float32) * np.float32(0.05 * 10 ** (noise_db / 20))
    return talk + noise, said


def _order(names: Sequence[str], turns: int, rng: np.random.Generator) -> list[str]:
    """Rounds in which everybody speaks once, in a new order that does not begin with who has just spoken."""
    order: list[str] = []
    while len(order) < turns:
        one = [str(name) for name in rng.permutation(names)]
        if not order or one[0] != order[-1]:
            order += one
    return order[:turns]


def _spoken(data: Path, speaker: str, digit: int, take: int) -> Samples:
    """One recording at 16 kHz, as loud as all others."""
    samples, rate = soundfile.read(
        data / "asr" / "fsdd" / "wavs" / f"{speaker}_{digit}_{take:02d}.flac", dtype="float32"
    )
    sound: Samples = soxr.resample(samples, rate, RATE).astype(np.float32)
    return sound * np.float32(0.05 / (np.sqrt(np.mean(sound**2)) + 1e-6))


def _silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), dtype=np.float32)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("talk.wav"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    talk, said = make_talk(options.data, options.seed)
    soundfile.write(options.out, talk, RATE, subtype="PCM_16")
    name = options.out.stem
    lines = [
        f"SPEAKER {name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> {turn.speaker} <NA> <NA>"
        for turn in said
    ]
    options.out.with_suffix(".rttm").write_text("\n".join(lines) + "\n")
    options.out.with_suffix(".txt").write_text(
        "".join(f"{turn.speaker}: {' '.join(turn.words)}\n" for turn in said)
    )
    print(f"{len(talk) / RATE:.1f} s, {len(said)} turns of {len({turn.speaker for turn in said})} people")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
