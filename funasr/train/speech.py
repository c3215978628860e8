"""Recordings and their texts as a data set: what a manifest lists -> features and token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Samples
from funasr.audio.load import load_audio
from funasr.errors import InputError, OptionError
from funasr.features.frontend import WavFrontend
from funasr.text.tokenizer import Tokenizer
from funasr.train.check import Utterance
from funasr.train.data import Example


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to the sound of a training example. Of one epoch and example it is always the same."""

    speed_perturb: tuple[float, ...] = ()
    """Factors to choose from; 1.1 is a tenth faster, and higher. `preprocessor_speech_conf` has them."""
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [factor for factor in self.speed_perturb if not 0.5 <= factor <= 2.0]
        if wrong:
            raise OptionError(f"speed_perturb is {self.speed_perturb}: factors lie between 0.5 and 2")

    def apply(self, samples: Samples, rate: int, epoch: int, index: int) -> Samples:
        """samples (N,) -> (M,)."""
        if not self.speed_perturb:
            return samples
        rng = np.random.default_rng((self.seed, epoch, index))
        return at_speed(samples, float(rng.choice(self.speed_perturb)))


def at_speed(samples: Samples, factor: float) -> Samples:
    """samples (N,) -> (N / factor,): played faster, so that pitch rises with speed."""
    import soxr

    if factor == 1.0:
        return samples
    # As if recorded at a rate that much higher; a ratio of whole numbers, for soxr.
    return np.asarray(soxr.resample(samples, round(1000 * factor), 1000), dtype=np.float32)


class SpeechExamples:
    """An `ExampleSource` over checked utterances. Sound is read when it is asked for, and not kept."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        frontend: WavFrontend,
        tokenizer: Tokenizer,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.utterances = tuple(utterances)
        self._frontend = frontend
        self._tokenizer = tokenizer
        self._augmentation = augmentation
        self._frames = np.array([utterance.frames for utterance in utterances], dtype=np.int64)

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        """(N,) frames of 10 ms, the unit of `batch_size` in `dataset_conf`."""
        return self._frames

    def load(self, epoch: int, index: int) -> Example:
        """Raises InputError, which names the line of the manifest, for sound that cannot be used."""
        utterance = self.utterances[index]
        try:
            samples = load_audio(utterance.source, self._frontend.fs)
        except InputError as error:
            raise InputError(f"{utterance.where}: {error}") from error
        if self._augmentation is not None:
            samples = self._augmentation.apply(samples, self._frontend.fs, epoch, index)
        features = self._frontend(samples)
        if len(features) == 0:
            raise InputError(f"{utterance.where}: {utterance.source} holds too little sound for one frame")
        target = np.array(self._tokenizer.encode(utterance.text), dtype=np.int64)
        return Example(key=utterance.key, features=features, target=target)
