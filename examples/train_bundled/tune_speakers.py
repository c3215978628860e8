"""Find the thresholds of a speaker model (`spk_conf`) on made-up conversations of people in no training.

    python examples/train_bundled/tune_speakers.py --data ../shared/data --model funasr/bundled/campplus-small

A conversation: 1 to 5 of the 30 LibriSpeech readers who were kept out, their 6 s cut into turns, with pauses;
about every second one in a room, with noise, through a microphone. What is counted are windows of 1.5 s with
the wrong speaker. The recordings of `benchmarks/diarization.py` are not looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from speaker_data import RATE, Person, Rng, read_readers, read_surroundings
from speaker_trials import equal_error_rate, trial_scores
from vad_data import Corpus, play

from funasr import AutoModel
from funasr.arrays import Samples
from funasr.speakers.cluster import ClusterOptions, Voices, cluster
from funasr.stages.speaker import SpeakerEncoder

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """The voices of a conversation's windows, and whose they are."""

    voices: Voices
    speakers: Labels


def make_talk(people: Sequence[Person], surroundings: Corpus, rng: Rng) -> tuple[list[Samples], list[int]]:
    """(turns, who speaks in each)."""
    waiting = [_turns(person, rng) for person in people]
    sounds: list[Samples] = []
    order: list[int] = []
    while any(waiting):
        left = [index for index, turns in enumerate(waiting) if turns]
        others = [index for index in left if not order or index != order[-1]]
        who = int(rng.choice(others or left))
        order.append(who)
        sounds.append(waiting[who].pop())
    pauses = [np.zeros(int(rng.uniform(0.2, 0.8) * RATE), dtype=np.float32) for _ in sounds]
    whole = np.concatenate([part for pair in zip(sounds, pauses, strict=True) for part in pair])
    if rng.random() < 0.5:
        whole = play(whole, surroundings, rng)
    turns, at = [], 0
    for sound, pause in zip(sounds, pauses, strict=True):
        turns.append(whole[at : at + len(sound)])
        at += len(sound) + len(pause)
    return turns, order


def _turns(person: Person, rng: Rng) -> list[Samples]:
    """Somebody's recording in two or three parts, at one loudness."""
    sound = person.clips[0].astype(np.float32) / 32768
    sound *= np.float32(0.1 * 10 ** rng.uniform(-0.3, 0.3) / (np.sqrt(np.mean(sound**2)) + 1e-5))
    cuts = np.sort(rng.choice([0.25, 0.4, 0.5, 0.6, 0.75], size=int(rng.integers(1, 3)), replace=False))
    return [np.asarray(part) for part in np.split(sound, (cuts * len(sound)).astype(int))]


def listen(encoder: SpeakerEncoder, people: Sequence[Person], surroundings: Corpus, count: int) -> list[Talk]:
    rng = np.random.default_rng(11)
    talks = []
    for number in range(count):
        chosen = rng.choice(len(people), size=1 + number % 5, replace=False)
        turns, order = make_talk([people[i] for i in chosen], surroundings, rng)
        heard = encoder.listen(turns)
        talks.append(
            Talk(
                voices=np.concatenate([one.voices for one in heard]),
                speakers=np.repeat(order, [len(one.windows) for one in heard]),
            )
        )
    return talks


def wrong(talk: Talk, options: ClusterOptions) -> int:
    """Windows with the wrong speaker, where each speaker is called what fits best."""
    labels = cluster(talk.voices, options)
    table = np.zeros((int(talk.speakers.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(table, (talk.speakers, labels), 1)
    rows, columns = linear_sum_assignment(-table)
    return len(labels) - int(table[rows, columns].sum())


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="funasr/bundled/campplus-small")
    parser.add_argument("--talks", type=int, default=100)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    encoder = AutoModel(model=options.model, disable_pbar=True).model
    _, people = read_readers(options.data)
    surroundings = read_surroundings(options.data)

    halves = [half.astype(np.float32) / 32768 for one in people for half in np.array_split(one.clips[0], 2)]
    names = [one.name for one in people for _ in range(2)]
    same, different = trial_scores(encoder.embed(halves), names)
    rate, threshold = equal_error_rate(same, different)
    print(f"clean halves of 3 s: {100 * rate:.1f} % wrong at {threshold:.2f}")
    print(f"  cosines of one person {np.mean(same):.2f}, of two {np.mean(different):.2f}")

    talks = listen(encoder, people, surroundings, options.talks)
    for name, few in (("split_thr", True), ("merge_thr", False)):
        chosen = [talk for talk in talks if (len(talk.voices) < 20) == few]
        windows = sum(len(talk.voices) for talk in chosen)
        print(f"{len(chosen)} conversations of {'<' if few else '>='} 20 windows, {windows} in all")
        for value in np.arange(0.0, 1.0, 0.05):
            given = ClusterOptions(**{name: float(value)})
            errors = sum(wrong(talk, given) for talk in chosen)
            print(f"  {name} {value:.2f}: {100 * errors / windows:.1f} % wrong")
        counts = [int(talk.speakers.max()) + 1 for talk in chosen]
        known = sum(
            wrong(talk, ClusterOptions(count=count)) for talk, count in zip(chosen, counts, strict=True)
        )
        print(f"  number known: {100 * known / windows:.1f} % wrong")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
