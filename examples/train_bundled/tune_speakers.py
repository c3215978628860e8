"""Find the thresholds of a speaker model (`spk_conf`) on made-up conversations of people in no training.

    python examples/train_bundled/tune_speakers.py --data ../shared/data --model funasr/bundled/campplus-small

A conversation: 1 to 5 of the 46 LibriSpeech readers who were kept out and the 6 of test-other. Some say much,
some little, in turns of 0.5 to 3.5 s; half of them follow at once, so that a segment holds several. Half of
the talks are in a room, with noise, through a microphone. What is counted is time with the wrong speaker. The
recordings of `benchmarks/diarization.py` are not looked at.

How far voices lie apart (`between`, `within`) is measured on the same readers and on the Speech Commands
speakers of the development part; --out writes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.optimize import linear_sum_assignment
from speaker_data import (
    OTHERS,
    RATE,
    Person,
    Rng,
    read_people,
    read_readers,
    read_speakers_of_words,
    read_surroundings,
    take,
)
from speaker_spread import STRAY, Rows, variances_of_all
from speaker_trials import equal_error_rate, trial_scores
from vad_data import Corpus, play

from funasr import AutoModel
from funasr.arrays import Samples
from funasr.result import Segment
from funasr.speakers.cluster import ClusterOptions, normalized
from funasr.speakers.evidence import Spread
from funasr.stages.speaker import Heard, SpeakerEncoder, SpeakerOptions, diarize

Labels = NDArray[np.int64]
FRAME_MS = 10
LONG_PAUSE = 0.4
"""Seconds. It parts segments."""
SECONDS = (1.0, 2.0, 4.0, 6.0, 20.0)
"""That somebody speaks in a conversation, or less where no more is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    sound: Samples
    segments: tuple[Segment, ...]
    speakers: Labels
    """Of each frame of 10 ms, -1 where nobody speaks."""
    people: int


PIECES = 6
"""Of 1.5 s, that are heard of somebody to learn how far voices lie apart."""


def make_talk(people: Sequence[Person], surroundings: Corpus, rng: Rng) -> Talk:
    waiting = [_turns(person, rng) for person in people]
    parts: list[Samples] = []
    segments: list[Segment] = []
    truth: list[Labels] = []
    begin = at = 0
    before = -1
    while any(waiting):
        left = [index for index, turns in enumerate(waiting) if turns]
        before = int(rng.choice([index for index in left if index != before] or left))
        turn = waiting[before].pop()
        at += len(turn)
        pause = rng.uniform(0, 0.25) if rng.random() < 0.5 else rng.uniform(LONG_PAUSE, 1.2)
        silence = int(pause * 100) * RATE // 100
        parts += [turn, np.zeros(silence, dtype=np.float32)]
        truth += [np.full(len(turn) // 160, before), np.full(silence // 160, -1)]
        if pause >= LONG_PAUSE or not any(waiting):
            segments.append(Segment(start_ms=begin // 16, end_ms=at // 16))
            begin = at + silence
        at += silence
    sound = np.concatenate(parts) + rng.standard_normal(at, dtype=np.float32) * np.float32(1e-4)
    if rng.random() < 0.5:
        sound = play(sound, surroundings, rng)
    return Talk(sound=sound, segments=tuple(segments), speakers=np.concatenate(truth), people=len(people))


def _turns(person: Person, rng: Rng) -> list[Samples]:
    """A part of somebody's recording, in turns of whole frames, at one loudness."""
    whole = person.clips[0].astype(np.float32) / 32768
    start = int(rng.integers(max(len(whole) - 20 * RATE, 0) + 1))
    sound = whole[start : start + int(rng.choice(SECONDS) * RATE)]
    sound *= np.float32(0.1 * 10 ** rng.uniform(-0.3, 0.3) / (np.sqrt(np.mean(sound**2)) + 1e-5))
    turns = []
    while len(sound) >= RATE // 2:
        length = int(rng.choice([rng.uniform(0.5, 1.2), rng.uniform(1.2, 3.5)]) * 100) * RATE // 100
        if len(sound) - length < RATE // 2:
            length = len(sound) // 160 * 160
        turns.append(sound[:length])
        sound = sound[length:]
    return turns


def pieces_of(
    encoder: SpeakerEncoder, people: Sequence[Person], surroundings: Corpus, rng: Rng
) -> tuple[Rows, Labels]:
    """Voices (N, E), of length 1, of pieces of these people, half through a channel; and whose (N,)."""
    rows = []
    for person in people:
        sounds = [take(person, 3 * RATE // 2, 1.0, rng) for _ in range(PIECES)]
        heard = [sound if rng.random() < 0.5 else play(sound, surroundings, rng) for sound in sounds]
        rows.append(normalized(encoder.embed(heard)).astype(np.float64))
    return np.concatenate(rows), np.repeat(np.arange(len(people)), PIECES)


def wrong(talk: Talk, heard: Sequence[Heard], options: ClusterOptions) -> int:
    """Frames with the wrong speaker, where each speaker is called what fits best."""
    found = np.zeros(len(talk.speakers), dtype=np.int64)
    for turn in diarize(talk.segments, heard, SpeakerOptions(cluster=options)).turns:
        found[turn.start_ms // FRAME_MS : turn.end_ms // FRAME_MS] = int(turn.speaker)
    spoken = talk.speakers >= 0
    table = np.zeros((talk.people, int(found.max()) + 1), dtype=np.int64)
    np.add.at(table, (talk.speakers[spoken], found[spoken]), 1)
    return int(spoken.sum() - table[linear_sum_assignment(-table)].sum())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="funasr/bundled/campplus-small")
    parser.add_argument("--talks", type=int, default=60)
    parser.add_argument("--out", type=Path, help="a YAML file for the variances, to be put into spk_conf")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    encoder = AutoModel(model=options.model, disable_pbar=True).model
    _, development, kept_out = read_readers(options.data)
    others = [
        Person(name=name, clips=(np.concatenate([sound for _, sound in heard]),), words=False)
        for name, heard in read_people(options.data, OTHERS).items()
    ]
    people, surroundings = development + kept_out, read_surroundings(options.data)

    for length in (1.5, 3.0):
        pieces = [
            (one.name, one.clips[0][at : at + int(length * RATE)] / np.float32(32768))
            for one in people
            for at in range(0, len(one.clips[0]) - int(length * RATE) + 1, int(length * RATE))
        ]
        voices = encoder.embed([sound for _, sound in pieces])
        rate, threshold = equal_error_rate(*trial_scores(voices, [name for name, _ in pieces]))
        print(f"pieces of {length} s: {100 * rate:.1f} % wrong at {threshold:.2f}")

    rng = np.random.default_rng(11)
    talks = []
    for number in range(options.talks):
        count = 1 + number % 5
        chosen = [people[index] for index in rng.choice(len(people), size=count, replace=False)]
        # Only of the others more than 6 s are recorded.
        chosen[:2] = [others[index] for index in rng.choice(len(others), size=min(count, 2), replace=False)]
        talks.append(make_talk(chosen, surroundings, rng))
    heard = [
        encoder.listen([talk.sound[s.start_ms * 16 : s.end_ms * 16] for s in talk.segments]) for talk in talks
    ]

    def show(name: str, *options: ClusterOptions) -> None:
        """options: for talks of all numbers of people, or for each number."""
        errors, spoken = np.zeros(6), np.zeros(6)
        for talk, one in zip(talks, heard, strict=True):
            errors[[0, talk.people]] += wrong(talk, one, options[min(talk.people, len(options)) - 1])
            spoken[[0, talk.people]] += (talk.speakers >= 0).sum()
        print(f"{name:28}" + "".join(f"{rate:6.1f}" for rate in 100 * errors / spoken), flush=True)

    print(f"{'% of time, wrong speaker':28}" + "".join(f"{x:>6}" for x in ("all", *range(1, 6))))
    show("all one speaker", ClusterOptions(count=1))
    show("number known", *(ClusterOptions(count=count) for count in range(1, 6)))
    rng = np.random.default_rng(5)
    callers = read_speakers_of_words(options.data, "dev", fewest=4)
    kinds = [pieces_of(encoder, kind, surroundings, rng) for kind in (people, callers)]
    between, within = variances_of_all(kinds)
    told = {"between": np.round(between, 5).tolist(), "within": np.round(STRAY * within, 5).tolist()}
    if options.out is not None:
        OmegaConf.save(OmegaConf.create(told), options.out)
    spread = Spread(between=tuple(told["between"]), within=tuple(told["within"]))
    for weight in (0.3, 0.4, 0.5, 0.6):
        for stay in (0.5, 0.8):
            given = ClusterOptions(spread=replace(spread, weight=weight, stay=stay))
            show(f"weight {weight} stay {stay}", given)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
