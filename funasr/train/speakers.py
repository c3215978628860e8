"""Recordings and who speaks in them as a data set: two pieces of a speaker side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.errors import InputError, OptionError
from funasr.features.config import FrontendConfig
from funasr.features.fbank import Fbank
from funasr.train.augment import Augmentation, Augmenter
from funasr.train.data import PADDING, Example
from funasr.train.sounds import read_sound
from funasr.train.utterance import Utterance

RATE = 16000


def speaker_fbank(bins: int) -> Fbank:
    """The features that speaker models are used with, whatever their config.yaml names."""
    return Fbank(FrontendConfig(fs=RATE, window="povey", n_mels=bins, dither=0.0, upsacle_samples=False))


class SpeakerExamples:
    """An `ExampleSource`: `features` are two pieces of equal length behind one another, `target` the speaker.

    The second piece is of another recording of the same speaker where there is one, else of the other half.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        speakers: Mapping[str, int],
        *,
        bins: int,
        piece_frames: int,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        """`speakers`: number of each name; one that is not among them has PADDING for a target."""
        if piece_frames < 20:
            raise OptionError(f"dataset_conf.piece_frames is {piece_frames}: expected 20 or more (of 10 ms)")
        self._utterances = tuple(utterances)
        self._speakers, self._seed, self._frames = dict(speakers), seed, piece_frames
        self._fbank = speaker_fbank(bins)
        config = self._fbank.config
        self._samples = config.window_samples + (piece_frames - 1) * config.hop_samples
        idle = augmentation is None or augmentation.idle
        self._augmenter = None if idle or augmentation is None else Augmenter(augmentation, RATE)
        self._of: dict[str, list[int]] = {}
        for index, utterance in enumerate(self._utterances):
            self._of.setdefault(utterance.text, []).append(index)

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        return np.full(len(self._utterances), 2 * self._frames, dtype=np.int64)

    def load(self, epoch: int, index: int) -> Example:
        """Raises InputError, which names the line of the manifest, for sound that cannot be used."""
        rng = np.random.default_rng((self._seed, epoch, index, 2))
        utterance = self._utterances[index]
        own = self._of[utterance.text]
        others = [other for other in own if other != index]
        first = self._sound(index, epoch, 2 * index)
        if others:
            halves = (first, self._sound(others[int(rng.integers(len(others)))], epoch, 2 * index + 1))
        else:
            halves = (first[: len(first) // 2], first[len(first) // 2 :])
        pieces = [self._piece(half, rng) for half in halves]
        number = self._speakers.get(utterance.text, PADDING)
        return Example(
            key=utterance.key, features=np.concatenate(pieces), target=np.array([number], dtype=np.int64)
        )

    def _sound(self, index: int, epoch: int, draw: int) -> Samples:
        samples = read_sound(self._utterances[index], RATE)
        if len(samples) < 2 * self._fbank.config.window_samples:
            where = self._utterances[index].where
            raise InputError(
                f"{where}: {len(samples) * 1000 // RATE} ms of sound are too short to tell a voice"
            )
        if self._augmenter is None:
            return samples
        # No speed: a faster voice is another one's.
        return self._augmenter.apply(samples, epoch, draw)

    def _piece(self, samples: Samples, rng: np.random.Generator) -> Features:
        """From anywhere in it; what is shorter is repeated."""
        start = int(rng.integers(max(len(samples) - self._samples, 0) + 1))
        piece = np.resize(samples[start : start + self._samples], self._samples)
        rows = self._fbank(np.ascontiguousarray(piece))
        return np.asarray(rows - rows.mean(axis=0, keepdims=True), dtype=np.float32)
