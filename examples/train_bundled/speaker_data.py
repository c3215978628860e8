"""Recordings of many people -> pieces of equal length, each from one person and through another channel.

Who is kept out of training: 30 of the 224 LibriSpeech readers and 14 % of the Speech Commands speakers, by a
hash of their id; all of `librispeech_test_other`, the Free Spoken Digit Dataset and every other corpus.
16 more readers serve to rank checkpoints.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vad_data import Corpus, play
from words_data import part_of, read_noises, read_sound, read_table, speech_bounds

from funasr.arrays import Features, Samples
from funasr.features.fbank import Fbank
from funasr.train.data import Example

logger = logging.getLogger(__name__)

RATE = 16000
READERS = "speaker/librispeech_train_clean_100"
OTHERS = "speaker/librispeech_test_other"
COMMANDS = ("asr/speech_commands", "asr/speech_commands_more")
HELD_OUT_READERS = 30
DEVELOPMENT_READERS = 16
FEWEST_WORDS = 3
"""Of a Speech Commands speaker whom a model is tried on: fewer say little about a voice."""
TEMPOS = (1.0, 0.9, 1.1)
"""Somebody played slower or faster is another voice, and counts as another speaker."""
READ_TEMPOS = (1.0, 0.85, 0.92, 1.08, 1.17)
"""Of readers, who are few."""

Rng = np.random.Generator
Pcm = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody, and all that is recorded of them, at 16 kHz."""

    name: str
    clips: tuple[Pcm, ...]
    """Single words without the silence around them, or one long stretch of speech."""
    words: bool
    """Clips are single words: several make a piece."""


def split_readers(names: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """(to train on, development, kept out). By a hash of the name, so that nobody moves when the set grows
    a little."""
    order = sorted(set(names), key=lambda name: hashlib.sha1(name.encode()).hexdigest())
    seen = HELD_OUT_READERS + DEVELOPMENT_READERS
    return sorted(order[seen:]), sorted(order[HELD_OUT_READERS:seen]), sorted(order[:HELD_OUT_READERS])


def read_people(data: Path, folder: str, part: str | None = None) -> dict[str, list[tuple[str, Pcm]]]:
    """speaker -> (key, samples) of each recording, by key; of people of one part, or of all."""
    paths, speakers = read_table(data / folder / "wav.scp"), read_table(data / folder / "utt2spk")
    people: dict[str, list[tuple[str, Pcm]]] = {}
    for key in sorted(paths):
        if part is None or part_of(speakers[key]) == part:
            people.setdefault(speakers[key], []).append((key, read_sound(data / folder / paths[key])))
    return people


def read_readers(data: Path) -> tuple[list[Person], list[Person], list[Person]]:
    """LibriSpeech readers (to train on, development, kept out)."""
    people = read_people(data, READERS)
    train, development, held_out = (
        [Person(name=name, clips=tuple(x for _, x in people[name]), words=False) for name in part]
        for part in split_readers(people)
    )
    return train, development, held_out


def read_speakers_of_words(data: Path, part: str, fewest: int = FEWEST_WORDS) -> list[Person]:
    """Speech Commands speakers of `train`, `dev` or `test` with words enough."""
    clips: dict[str, list[Pcm]] = {}
    for folder in COMMANDS:
        for name, recordings in read_people(data, folder, part).items():
            for _, samples in recordings:
                start, end = speech_bounds(samples)
                clips.setdefault(name, []).append(samples[start:end])
    return [
        Person(name=name, clips=tuple(clips[name]), words=True)
        for name in sorted(clips)
        if len(clips[name]) >= fewest
    ]


def read_surroundings(data: Path) -> Corpus:
    """Noises and rooms, as `vad_data.play` takes them."""
    noises, rooms = read_noises(data)
    return Corpus(
        clips=(),
        sources=(),
        noises=tuple((noise * 32767).astype(np.int16) for noise in noises),
        rooms=tuple(
            (room[np.abs(room).argmax() :] / np.abs(room).max() * 32767).astype(np.int16) for room in rooms
        ),
    )


def take(person: Person, length: int, tempo: float, rng: Rng) -> Samples:
    """`length` samples of a person, at `tempo` times the speed and pitch."""
    needed = int(length * tempo) + 2
    source = _words(person, needed, rng) if person.words else _stretch(person, needed, rng)
    at = np.arange(length, dtype=np.float32) * np.float32(tempo)
    piece: Samples = np.interp(at, np.arange(len(source), dtype=np.float32), source).astype(np.float32)
    return piece


def _stretch(person: Person, length: int, rng: Rng) -> Samples:
    clip = person.clips[int(rng.integers(len(person.clips)))].astype(np.float32) / 32768
    start = int(rng.integers(max(len(clip) - length, 0) + 1))
    return np.resize(clip[start:], length) if len(clip) < length else clip[start : start + length]


def _words(person: Person, length: int, rng: Rng) -> Samples:
    """Words in a random order, each at its own level, with short pauses, from somewhere inside the first."""
    parts: list[Samples] = []
    total = 0
    begin = int(rng.integers(RATE // 4))
    while total < length + begin:
        for index in rng.permutation(len(person.clips)):
            clip = person.clips[index].astype(np.float32)
            clip *= np.float32(10 ** rng.uniform(-1.4, -1.0) / (np.sqrt(np.mean(clip**2)) + 1.0))
            fade = min(160, len(clip) // 2)
            ramp = np.linspace(0, 1, fade, dtype=np.float32)
            clip[:fade] *= ramp
            clip[len(clip) - fade :] *= ramp[::-1]
            pause = np.zeros(int(rng.choice([0.02, rng.uniform(0.02, 0.25)]) * RATE), dtype=np.float32)
            parts += [clip, pause]
            total += len(clip) + len(pause)
            if total >= length + begin:
                break
    return np.concatenate(parts)[begin : begin + length]


def halves(person: Person, rng: Rng) -> tuple[Person, Person]:
    """Two parts of what is recorded of somebody, with nothing in common: words, or parts of a stretch."""
    if person.words:
        order = [person.clips[index] for index in rng.permutation(len(person.clips))]
        middle = len(order) // 2
        first, second = tuple(order[:middle]), tuple(order[middle:])
    else:
        clip = person.clips[int(rng.integers(len(person.clips)))]
        middle = int(rng.uniform(0.4, 0.6) * len(clip))
        first, second = (clip[:middle],), (clip[middle:],)
    return replace(person, clips=first), replace(person, clips=second)


def without_mean(features: Features) -> Features:
    """(T, D) less its mean over time."""
    centred: Features = features - features.mean(axis=0, keepdims=True)
    return centred


def masked(features: Features, share: float, rng: Rng) -> Features:
    """In a share of the pieces a band of up to 12 bins is nothing, in as many up to 20 frames are."""
    size, bins = features.shape
    kept = features.copy()
    if rng.random() < share:
        low = int(rng.integers(bins - 12))
        kept[:, low : low + int(rng.integers(1, 13))] = 0.0
    if rng.random() < share:
        start = int(rng.integers(size - 20))
        kept[start : start + int(rng.integers(1, 21))] = 0.0
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What an epoch holds: so many batches, of so many pairs of pieces of so many frames."""

    frames: int
    pairs: int
    batches: int = 100
    clean: tuple[float, float] = (0.7, 0.4)
    """Share of pieces that go through no channel: of the first of a pair, and of the second. Two pieces that
    sound alike for any other reason than the voice would teach the network that reason."""
    short: float = 0.03
    """Share of pieces that are filled up with zeros, as short turns are."""
    readers: float = 0.55
    """Share of pairs of running speech."""
    masked: float = 0.1
    """Share of pieces with a band of nothing, and with a time of nothing."""


class Pairs:
    """An `ExampleSource`: two pieces of a speaker, one behind the other; (seed, epoch, index) decides."""

    def __init__(
        self,
        people: Sequence[Person],
        surroundings: Corpus,
        fbank: Fbank,
        lessons: Mapping[int, Lesson],
        *,
        seed: int,
    ) -> None:
        """lessons: by the epoch from which on they are taught; 0 is among them."""
        self._voices = [
            (person, tempo) for person in people for tempo in (TEMPOS if person.words else READ_TEMPOS)
        ]
        self._kinds = [
            [index for index, (person, _) in enumerate(self._voices) if person.words == words]
            for words in (False, True)
        ]
        self._surroundings, self._fbank, self._lessons = surroundings, fbank, lessons
        self._seed = seed

    @property
    def speakers(self) -> int:
        """How many there are to tell apart, slower and faster voices counted apart."""
        return len(self._voices)

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        lesson = self._lesson(epoch)
        return np.full(lesson.pairs * lesson.batches, 2 * lesson.frames, dtype=np.int64)

    def load(self, epoch: int, index: int) -> Example:
        rng = np.random.default_rng((self._seed, epoch, index))
        lesson = self._lesson(epoch)
        kind = self._kinds[int(rng.random() >= lesson.readers)]
        speaker = kind[int(rng.integers(len(kind)))]
        person, tempo = self._voices[speaker]
        pieces = []
        for part, clean in zip(halves(person, rng), lesson.clean, strict=True):
            features = without_mean(self._fbank(self._sound(part, tempo, clean, lesson, rng)))
            pieces.append(masked(features, lesson.masked, rng))
        return Example(
            key=f"{epoch}-{index}",
            features=np.concatenate(pieces),
            target=np.array([speaker], dtype=np.int64),
        )

    def _sound(self, person: Person, tempo: float, clean: float, lesson: Lesson, rng: Rng) -> Samples:
        """Samples of somebody that give as many frames as the lesson's pieces have."""
        config = self._fbank.config
        length = config.window_samples + (lesson.frames - 1) * config.hop_samples
        heard = length
        if rng.random() < lesson.short:
            heard = int(rng.uniform(0.35, 0.95) * length)
        piece = take(person, heard, tempo, rng)
        if rng.random() >= clean:
            piece = play(piece, self._surroundings, rng)
        return np.pad(piece, (0, length - heard))

    def _lesson(self, epoch: int) -> Lesson:
        return self._lessons[max(first for first in self._lessons if first <= epoch)]
