"""Record the demo clips with voices that were in no training: a few words each, some over a telephone line.

    python examples/train_bundled/make_samples.py --out funasr/bundled/samples

Needs espeak-ng, flite and festival (with festvox-us-slt-hts). Writes FLAC and MP3 files and `text.txt`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One clip: who says which words, and what happens to the sound."""

    name: str
    engine: str
    voice: str
    words: str
    pause_ms: int = 60
    """Silence between two words."""
    telephone: bool = False
    """8 kHz, 300-3400 Hz, a little noise."""
    rate: int = 16000
    form: str = "flac"


SAMPLES = (
    Sample(
        name="digits-scottish",
        engine="espeak-ng",
        voice="en-gb-scotland",
        words="six three nine five",
        pause_ms=150,
    ),
    Sample(
        name="commands-caribbean",
        engine="espeak-ng",
        voice="en-029",
        words="yes stop right left",
        pause_ms=300,
    ),
    Sample(name="digits-arctic-female", engine="flite", voice="slt", words="one two three four five six"),
    Sample(name="answers-arctic-male", engine="flite", voice="rms", words="yes no yes", form="mp3"),
    Sample(name="digits-hts", engine="festival", voice="cmu_us_slt_arctic_hts", words="zero eight six two"),
    Sample(
        name="phone-male",
        engine="flite",
        voice="rms",
        words="four zero two nine one",
        telephone=True,
        rate=8000,
    ),
    Sample(
        name="phone-female",
        engine="flite",
        voice="slt",
        words="eight three seven five",
        telephone=True,
        rate=8000,
    ),
    Sample(name="pauses", engine="flite", voice="slt", words="three two one go", pause_ms=1200),
    Sample(name="one-word", engine="flite", voice="rms", words="left", rate=44100),
    Sample(
        name="mixed-scottish",
        engine="espeak-ng",
        voice="en-gb-scotland+m7",
        words="six off left nine",
        form="mp3",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES:
        sound, rate = spoken(sample)
        soundfile.write(out / f"{sample.name}.{sample.form}", finished(sample, sound, rate), sample.rate)
    lines = "".join(f"{sample.name}.{sample.form} {sample.words}\n" for sample in SAMPLES)
    (out / "text.txt").write_text(lines, encoding="utf-8")
    return 0


def spoken(sample: Sample) -> tuple[NDArray[np.float32], int]:
    """The words one by one, silence between and around them; samples (N,) and their rate."""
    pieces: list[NDArray[np.float32]] = []
    rate = 0
    for word in sample.words.split():
        sound, rate = synthesized(sample.engine, sample.voice, word)
        pieces += [trimmed(sound), np.zeros(sample.pause_ms * rate // 1000, dtype=np.float32)]
    quiet = np.zeros(rate // 4, dtype=np.float32)
    return np.concatenate([quiet, *pieces, quiet]), rate


def synthesized(engine: str, voice: str, text: str) -> tuple[NDArray[np.float32], int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        save = f'(utt.save.wave (SynthText "{text}") "{path}" \'riff)'
        command = {
            "espeak-ng": ["espeak-ng", "-v", voice, "-s", "150", "-w", str(path), text],
            "flite": ["flite", "-voice", voice, "-o", str(path), "-t", text],
            "festival": ["festival", "-b", f"(voice_{voice})", save],
        }[engine]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        samples, rate = soundfile.read(path, dtype="float32")
    return samples, rate


def trimmed(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1]


def finished(sample: Sample, sound: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """At the sample's own rate and level, through a telephone line where it asks for one."""
    rng = np.random.default_rng(len(sample.name))
    sound = soxr.resample(sound, rate, sample.rate)
    if sample.telephone:
        line = butter(4, (300, 3400), btype="bandpass", fs=sample.rate, output="sos")
        sound = sosfilt(line, sound + rng.normal(0, 0.002, len(sound)))
    return np.asarray(0.5 * sound / np.abs(sound).max(), dtype=np.float32)


if __name__ == "__main__":
    sys.exit(main())
