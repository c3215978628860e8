"""Recordings and their texts as a data set: what a manifest lists -> features and token ids."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.errors import InputError
from funasr.features.frontend import WavFrontend
from funasr.text.tokenizer import Tokenizer
from funasr.train.augment import Augmentation as Augmentation
from funasr.train.augment import Augmenter
from funasr.train.cache import FeatureCache
from funasr.train.data import Example
from funasr.train.sounds import read_sound
from funasr.train.utterance import Utterance


class Recordings:
    """The features of utterances. Sound is read when it is asked for, and not kept."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        frontend: WavFrontend,
        augmentation: Augmentation | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        """`cache` is for sound as it is: with an augmentation every epoch has features of its own."""
        self.utterances = tuple(utterances)
        self._frontend = frontend
        idle = augmentation is None or augmentation.idle
        self._augmenter = None if idle or augmentation is None else Augmenter(augmentation, frontend.fs)
        self._cache = cache if idle else None
        self._frames = np.array([utterance.frames for utterance in utterances], dtype=np.int64)

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        """(N,) frames of 10 ms, the unit of `batch_size` in `dataset_conf`."""
        if self._augmenter is None:
            return self._frames
        speeds = self._augmenter.speeds(epoch, len(self._frames))
        return np.asarray(np.rint(self._frames / speeds), dtype=np.int64)

    def speed(self, epoch: int, index: int) -> float:
        """How much faster than it is a sound is heard."""
        if self._augmenter is None:
            return 1.0
        return float(self._augmenter.speeds(epoch, len(self._frames))[index])

    def features(self, epoch: int, index: int) -> Features:
        """(T, D). Raises InputError, which names the line of the manifest, for sound that cannot be used."""
        utterance = self.utterances[index]
        known = self._cache.get(utterance) if self._cache is not None else None
        if known is not None:
            return known
        samples = read_sound(utterance, self._frontend.fs)
        if self._augmenter is not None:
            samples = self._augmenter.apply(samples, epoch, index, self.speed(epoch, index))
        features = self._frontend(samples)
        if len(features) == 0:
            raise InputError(f"{utterance.where}: {utterance.source} holds too little sound for one frame")
        if self._cache is not None:
            self._cache.put(utterance, features)
        return features


class SpeechExamples:
    """An `ExampleSource` over checked utterances."""

    def __init__(self, recordings: Recordings, tokenizer: Tokenizer) -> None:
        self.utterances = recordings.utterances
        self._recordings = recordings
        self._tokenizer = tokenizer

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        return self._recordings.lengths(epoch)

    def load(self, epoch: int, index: int) -> Example:
        """Raises InputError, which names the line of the manifest, for sound that cannot be used."""
        utterance = self.utterances[index]
        features = self._recordings.features(epoch, index)
        target = np.array(self._tokenizer.encode(utterance.text), dtype=np.int64)
        return Example(key=utterance.key, features=features, target=target)
