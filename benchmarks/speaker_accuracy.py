"""How well speaker models tell people apart whom none of them was trained on: equal error rates.

    python benchmarks/speaker_accuracy.py --data ../shared/data [--model NAME ...]

Readers: 30 LibriSpeech readers kept out of training, 6 s of one recording each, so pairs of one person share
their room. test-other: six more readers; pairs of one person are of two recordings. Words: people of Speech
Commands, some words in a row. Pieces do not overlap; every pair is a trial. "spectrum" is no model at all:
the mean and the deviation of the filter bank, each over its spread in the test set. It knows the room and the
microphone, which the model is not shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from funasr import AutoModel
from funasr.arrays import Samples
from funasr.features.config import FrontendConfig
from funasr.features.fbank import Fbank
from funasr.speakers.cluster import Voices

ROOT = Path(__file__).resolve().parents[1]
# Who was kept out is the training script's own business.
sys.path.insert(0, str(ROOT / "examples" / "train_bundled"))

from speaker_data import OTHERS, RATE, halves, read_people, read_readers, read_speakers_of_words, take  # noqa: E402
from speaker_trials import equal_error_rate, trial_scores  # noqa: E402

BUNDLED = ROOT / "funasr" / "bundled" / "campplus-small"
Embed = Callable[[Sequence[Samples]], Voices]


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Sounds, whose they are, and which may not be compared because they are of one recording."""

    sounds: tuple[Samples, ...]
    speakers: tuple[str, ...]
    recordings: tuple[str, ...]

    def __add__(self, other: Pieces) -> Pieces:
        return Pieces(
            sounds=self.sounds + other.sounds,
            speakers=self.speakers + other.speakers,
            recordings=self.recordings + other.recordings,
        )


def pieces_of(recordings: Sequence[tuple[str, str, Samples]], seconds: float | None) -> Pieces:
    """(speaker, recording, sound) -> pieces of so many seconds that do not overlap, or the sounds whole."""
    found = []
    for speaker, recording, sound in recordings:
        size = len(sound) if seconds is None else int(seconds * RATE)
        found += [
            (speaker, recording, sound[start : start + size])
            for start in range(0, len(sound) - size + 1, size)
        ]
    speakers, names, sounds = zip(*found, strict=True)
    return Pieces(sounds=sounds, speakers=speakers, recordings=names)


def readers(data: Path, seconds: float | None) -> Pieces:
    """Whole: the halves. Each piece counts as a recording of its own, as there is but one of a reader."""
    sounds = [
        (one.name, f"{one.name} {number}", half.astype(np.float32) / 32768)
        for one in read_readers(data)[2]
        for number, half in enumerate(np.array_split(one.clips[0], 2))
    ]
    pieces = pieces_of(sounds, seconds)
    names = tuple(map(str, range(len(pieces.sounds))))
    return Pieces(sounds=pieces.sounds, speakers=pieces.speakers, recordings=names)


def others(data: Path, seconds: float | None) -> Pieces:
    return pieces_of(
        [
            (name, key, samples.astype(np.float32) / 32768)
            for name, recordings in read_people(data, OTHERS).items()
            for key, samples in recordings
        ],
        seconds,
    )


def words(data: Path) -> Pieces:
    """Two pieces of 1.5 s of each person of the test part, with no recording in common."""
    rng = np.random.default_rng(3)
    people = read_speakers_of_words(data, "test")
    sounds = [(one.name, take(part, 3 * RATE // 2, 1.0, rng)) for one in people for part in halves(one, rng)]
    return Pieces(
        sounds=tuple(sound for _, sound in sounds),
        speakers=tuple(name for name, _ in sounds),
        recordings=tuple(map(str, range(len(sounds)))),
    )


def spectrum(sounds: Sequence[Samples]) -> Voices:
    fbank = Fbank(FrontendConfig(fs=RATE, window="povey", n_mels=80, dither=0.0, upsacle_samples=False))
    frames = [fbank(sound) for sound in sounds]
    rows = np.stack([np.concatenate([one.mean(axis=0), one.std(axis=0)]) for one in frames])
    return np.asarray((rows - rows.mean(axis=0)) / rows.std(axis=0), dtype=np.float32)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", nargs="*", default=[str(BUNDLED)])
    options = parser.parse_args(argv)
    torch.set_num_threads(1)

    models: dict[str, Embed] = {
        Path(name).name: AutoModel(model=name, disable_pbar=True).model.embed for name in options.model
    }
    models["spectrum"] = spectrum
    sets: list[tuple[str, Pieces]] = []
    for name, seconds in (("halves and whole utterances", None), ("3 s", 3.0), ("1.5 s", 1.5)):
        kept_out, other = readers(options.data, seconds), others(options.data, seconds)
        sets += [
            (f"readers kept out, {'halves of 6 s' if seconds is None else name}", kept_out),
            (f"test-other, {'whole utterances' if seconds is None else name}", other),
            (f"both, {name}", kept_out + other),
        ]
    sets.append(("words, 1.5 s", words(options.data)))
    print(
        f"{'equal error rate, %':42}{'pairs same':>12}{'different':>12}" + "".join(f"{m:>20}" for m in models)
    )
    for name, pieces in sets:
        cells, counts = [], (0, 0)
        for embed in models.values():
            same, different = trial_scores(embed(pieces.sounds), pieces.speakers, pieces.recordings)
            rate, threshold = equal_error_rate(same, different)
            cells.append(f"{100 * rate:10.2f} (at {threshold:.2f})")
            counts = (len(same), len(different))
        print(f"{name:42}{counts[0]:12}{counts[1]:12}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
