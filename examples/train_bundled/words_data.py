"""Folders of recordings -> clips in memory, each with its word, its speaker and where it speaks.

People are split once, by a hash of their id, into `train`, `dev` and `test`; a person is in one part only,
whichever folder the recording lies in. One speaker of the Free Spoken Digit Dataset is test, the rest train.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

RATE = 16000
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
TOKENS = ("<blank>", "<s>", "</s>", *DIGITS, *COMMANDS, "<unk>")
IDS = {token: index for index, token in enumerate(TOKENS)}
UNKNOWN = IDS["<unk>"]
FSDD_TEST_SPEAKER = "jackson"

# Speech that holds none of the words, or holds them inside running speech, where they must not be spotted.
FOREIGN = (
    "speaker/librispeech_train_clean_100",
    "speaker/sv_examples",
    "asr/cmn_words",
    "asr/cmn_syllables",
    "asr/ljspeech32",
    "asr/wakewords",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One recording at 16 kHz and the stretch of it that is speech."""

    samples: NDArray[np.int16]
    token: int
    """Vocabulary id; UNKNOWN for speech outside the vocabulary."""
    speaker: str
    source: str
    start: int
    """First sample of speech."""
    end: int


def part_of(speaker: str) -> str:
    """`train` (86 %), `dev` (6 %) or `test` (8 %), from the name alone, so that nobody ever moves."""
    bucket = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 100
    return "dev" if bucket < 6 else "test" if bucket < 14 else "train"


def read_table(path: Path) -> dict[str, str]:
    """`key value` lines; an absent file is an empty table."""
    if not path.is_file():
        return {}
    pairs = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in pairs}


def read_sound(path: Path) -> NDArray[np.int16]:
    """Mono int16 samples at 16 kHz."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate != RATE:
        mono = soxr.resample(mono, rate, RATE)
    return np.clip(np.round(mono * 32768.0), -32768, 32767).astype(np.int16)


def speech_bounds(samples: NDArray[np.int16]) -> tuple[int, int]:
    """First and last sample of the loudest stretch: 10 ms energies above a threshold between floor and peak.

    Bursts shorter than 30 ms that stand more than 150 ms away from the rest are left out.
    """
    hop = RATE // 100
    count = len(samples) // hop
    if count < 5:
        return 0, len(samples)
    frames = samples[: count * hop].astype(np.float32).reshape(count, hop)
    level = 10 * np.log10(np.mean((frames - frames.mean()) ** 2, axis=1) + 1.0)
    level = np.convolve(np.pad(level, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")
    floor, peak = np.percentile(level, 8), level.max()
    threshold = max(peak - 26.0, min(floor + 0.35 * (peak - floor), peak - 6.0))
    loud = np.flatnonzero(level > threshold)
    runs = np.split(loud, np.flatnonzero(np.diff(loud) > 15) + 1)
    kept = [run for run in runs if len(run) >= 3] or [loud]
    # With several far-apart runs keep those with a fair share of the energy (a click is not a word).
    power = [float(np.sum(10 ** (level[run] / 10))) for run in kept]
    kept = [run for run, share in zip(kept, power, strict=True) if share > 0.03 * max(power)]
    start, end = int(kept[0][0]), int(kept[-1][-1]) + 1
    return max(0, (start - 2) * hop), min(len(samples), (end + 3) * hop)


def clip_of(samples: NDArray[np.int16], token: int, speaker: str, source: str) -> Clip:
    """A clip with its speech found by energy."""
    start, end = speech_bounds(samples)
    return Clip(samples=samples, token=token, speaker=speaker, source=source, start=start, end=end)


def read_words(data: Path, part: str) -> list[Clip]:
    """The clips of single words whose speakers belong to `part`."""
    clips = list(_folder(data, "asr/speech_commands", part)) + list(
        _folder(data, "asr/speech_commands_more", part)
    )
    if part != "dev":
        clips += _folder(data, "asr/fsdd", part)
    return clips


def _folder(data: Path, name: str, part: str) -> Iterator[Clip]:
    folder = data / name
    texts, speakers = read_table(folder / "text.txt"), read_table(folder / "utt2spk")
    for key, path in read_table(folder / "wav.scp").items():
        speaker = speakers[key]
        if name == "asr/fsdd":
            belongs = "test" if speaker == FSDD_TEST_SPEAKER else "train"
        else:
            belongs = part_of(speaker)
        if belongs == part and texts[key] in IDS:
            yield clip_of(read_sound(folder / path), IDS[texts[key]], speaker, name)


def read_foreign(data: Path) -> list[Clip]:
    """Speech outside the vocabulary, for training only."""
    clips: list[Clip] = []
    for name in FOREIGN:
        folder = data / name
        speakers = read_table(folder / "utt2spk")
        for key, path in read_table(folder / "wav.scp").items():
            clips.append(clip_of(read_sound(folder / path), UNKNOWN, speakers.get(key, name), name))
    return clips


def read_noises(data: Path) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Recorded noises and room responses, float32 at 16 kHz."""
    folder = data / "noise_rir"
    noises, rooms = [], []
    for key, path in read_table(folder / "wav.scp").items():
        sound = read_sound(folder / path).astype(np.float32) / 32768.0
        (rooms if key.startswith("rir") else noises).append(sound)
    return noises, rooms


def by_token(clips: Iterable[Clip]) -> dict[int, list[Clip]]:
    """Clips grouped by their word."""
    groups: dict[int, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.token, []).append(clip)
    return groups


def by_speaker(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Clips grouped by who speaks."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.speaker, []).append(clip)
    return groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A test utterance: unchanged recordings, joined."""

    key: str
    samples: NDArray[np.float32]
    words: tuple[str, ...]


def single_words(clips: Sequence[Clip]) -> list[Utterance]:
    """Each recording as it is."""
    return [
        Utterance(
            key=f"{clip.speaker}_{number:04d}",
            samples=clip.samples.astype(np.float32) / 32768.0,
            words=(TOKENS[clip.token],),
        )
        for number, clip in enumerate(clips)
    ]


def joined_words(clips: Sequence[Clip], count: int, seed: int) -> list[Utterance]:
    """`count` strings of 3 to 8 words of one source each, with 0 to 400 ms of silence between the recordings.

    Half of the strings keep the recordings whole, half cut their silence off to 50 ms around the word; half
    stay with one speaker (who may repeat a recording when he has few), half mix speakers.
    """
    rng = np.random.default_rng(seed)
    people = [group for group in by_speaker(clips).values() if len(group) >= 3] or [list(clips)]
    strings = []
    for number in range(count):
        length = int(rng.integers(3, 9))
        pool = people[int(rng.integers(len(people)))] if number % 2 else list(clips)
        chosen = [pool[int(rng.integers(len(pool)))] for _ in range(length)]
        pieces: list[NDArray[np.float32]] = []
        for clip in chosen:
            samples = clip.samples.astype(np.float32) / 32768.0
            if number % 4 >= 2:
                samples = samples[max(0, clip.start - 800) : clip.end + 800]
            pause = int(rng.uniform(0.0, 0.4) * RATE) if rng.random() < 0.7 else 0
            pieces += [samples, np.zeros(pause, dtype=np.float32)]
        words = tuple(TOKENS[clip.token] for clip in chosen)
        strings.append(Utterance(key=f"string_{number:04d}", samples=np.concatenate(pieces), words=words))
    return strings


def telephone(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sound after a telephone line: 8 kHz, 300-3400 Hz, mu-law, back at 16 kHz."""
    import soxr
    from scipy.signal import butter, sosfilt

    narrow = soxr.resample(samples, RATE, 8000)
    narrow = sosfilt(butter(4, (300, 3400), btype="bandpass", fs=8000, output="sos"), narrow)
    mu = np.sign(narrow) * np.log1p(255 * np.minimum(np.abs(narrow), 1)) / np.log(256)
    mu = np.round(mu * 127) / 127
    line = np.sign(mu) * np.expm1(np.abs(mu) * np.log(256)) / 255
    return np.asarray(soxr.resample(line.astype(np.float32), 8000, RATE), dtype=np.float32)
