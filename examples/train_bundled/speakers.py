"""The bundled speaker model: the data of speakers.yaml, its loss, and what is measured at the end.

A CAM++ of half the usual width learns to tell 1,521 people from one another, in pieces of 1 to 1.5 s, most of
which come through rooms, telephones, microphones and noise. `speaker_data` says who is kept out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle import Setup, setup_of, take_average, write_model
from muon import Muon
from quick_campplus import QuickCampplus
from speaker_data import (
    Lesson,
    Pairs,
    Person,
    halves,
    read_readers,
    read_speakers_of_words,
    read_surroundings,
    take,
)
from speaker_spread import STRAY, directions, gather, rotate, variances_of_all
from speaker_trials import equal_error_rate, trial_scores
from torch import Tensor, nn
from torch.optim import Optimizer
from vad_data import Corpus

from funasr.features.config import FrontendConfig
from funasr.features.fbank import Fbank
from funasr.models.campplus.loss import AngularMarginLoss, PairLoss
from funasr.models.campplus.network import Campplus
from funasr.stages.speaker import SpeakerEncoder
from funasr.train.criteria import Parts
from funasr.train.data import Batch
from funasr.train.own import OwnTraining, Sources
from funasr.train.recipe import Recipe
from funasr.train.trainer import Criterion

logger = logging.getLogger(__name__)

RATE = 16000
LESSONS = {
    0: Lesson(frames=98, pairs=36, clean=(0.8, 0.5), short=0.0, masked=0.0),
    3: Lesson(frames=98, pairs=36),
    # By then the network knows these people better than others.
    12: Lesson(frames=98, pairs=36, clean=(0.6, 0.2), masked=0.4, readers=0.6),
    # 1.5 s is what diarization looks at.
    15: Lesson(frames=148, pairs=24, clean=(0.6, 0.2), masked=0.4, readers=0.6),
}
"""By the epoch from which on they are taught."""
VALIDATION = Lesson(frames=148, pairs=24, batches=4)
FBANK = FrontendConfig(fs=RATE, window="povey", n_mels=80, dither=0.0, upsacle_samples=False)


@dataclass(frozen=True, kw_only=True)
class SpeakersSetup(Setup):
    lr: float = 0.02
    """Of matrices, which Muon teaches."""
    other_lr: float = 2e-3
    """Of vectors and of the directions of names."""


class Naming(nn.Module):
    """The `Criterion`: which piece is of the same speaker as this one, and which speaker is it?

    Pairs teach from the first batch on, names more in the long run. At first names only follow: their
    directions are learnt, and the network learns nothing from them. Then their say grows, and their margin.
    """

    margin, begin, end = 0.2, 400, 1200
    """They grow between these updates."""

    def __init__(self, size: int, speakers: int) -> None:
        super().__init__()
        self.pairs = PairLoss()
        self.names = AngularMarginLoss(size, speakers, margin=0.0, scale=30.0)
        self.updates: Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if torch.is_grad_enabled():
            self.updates += 1
        say = min(max((int(self.updates) - self.begin) / (self.end - self.begin), 0.0), 1.0)
        self.names.margin = say * self.margin
        speakers = batch.targets[:, 0]
        voices = model(torch.cat(batch.features.chunk(2, dim=1))).float()
        paired, stats = self.pairs(*voices.chunk(2), speakers)
        still = voices.detach()
        named, more = self.names(still + say * (voices - still), speakers.repeat(2))
        return paired + named, {**stats, "named": more["loss"], "named_acc": more["acc"]}


class Development:
    """People in no training: how often pieces of 1.5 s, with no word in common, are taken for another's."""

    def __init__(self, readers: Sequence[Person], callers: Sequence[Person]) -> None:
        rng = np.random.default_rng(1)
        size = 3 * RATE // 2
        self._sets = [
            (
                [
                    clip / np.float32(32768)
                    for one in readers
                    for clip in np.split(one.clips[0][: 4 * size], 4)
                ],
                [one.name for one in readers for _ in range(4)],
            ),
            (
                [take(part, size, 1.0, rng) for one in callers for part in halves(one, rng)],
                [one.name for one in callers for _ in range(2)],
            ),
        ]

    def error(self, model: Campplus) -> float:
        """Mean of readers and callers."""
        model.eval()
        encoder = SpeakerEncoder(model)
        trials = [trial_scores(encoder.embed(pieces), names) for pieces, names in self._sets]
        rates = [equal_error_rate(*scores)[0] for scores in trials]
        logger.info("equal error rates of development people, %%: %s", [round(100 * x, 2) for x in rates])
        return float(np.mean(rates))


class Speakers(OwnTraining):
    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.setup = setup_of(SpeakersSetup, settings)
        self.folder, self.fbank = Path(self.setup.data), Fbank(FBANK)

    @cached_property
    def readers(self) -> tuple[list[Person], list[Person]]:
        """Of the training, and for development."""
        readers, few_readers, _ = read_readers(self.folder)
        return readers, few_readers

    @cached_property
    def surroundings(self) -> Corpus:
        return read_surroundings(self.folder)

    def data(self, recipe: Recipe, parts: Parts) -> Sources:
        readers, few_readers = self.readers
        people = readers + read_speakers_of_words(self.folder, "train", fewest=2)
        self.development = Development(few_readers, read_speakers_of_words(self.folder, "dev"))
        self.train = Pairs(people, self.surroundings, self.fbank, LESSONS, seed=parts.seed)
        valid = Pairs(people, self.surroundings, self.fbank, {0: VALIDATION}, seed=parts.seed + 1)
        logger.info("%d readers, %d people in all, %d voices", len(readers), len(people), self.train.speakers)
        return self.train, valid

    def network(self, recipe: Recipe, parts: Parts) -> nn.Module:
        model = super().network(recipe, parts)
        assert isinstance(model, Campplus)
        return QuickCampplus(model)

    def criterion(self, network: nn.Module, parts: Parts) -> nn.Module:
        assert isinstance(network, QuickCampplus)
        return Naming(network.model.size, self.train.speakers)

    def optimizer(self, recipe: Recipe, network: nn.Module, criterion: Criterion) -> Optimizer:
        assert isinstance(criterion, nn.Module)
        matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        vectors = [parameter for parameter in network.parameters() if parameter.ndim == 1]
        others = [*vectors, *criterion.parameters()]
        return Muon(matrices, others, lr=self.setup.lr, other_lr=self.setup.other_lr)

    def validated(self) -> None:
        """Checkpoints are ranked by people nobody trained on."""
        progress = self.trainer.progress
        progress.val_acc[progress.name()] = 1 - self._error(self.trainer.model)

    def _error(self, network: nn.Module) -> float:
        assert isinstance(network, QuickCampplus)
        return self.development.error(network.model)

    def finish(self) -> None:
        """Matrices are stored in 16 bits, and computed with in 32."""
        network = take_average(self.trainer)
        logger.info("the mean of the best: %.2f %%", 100 * self._error(network))
        if not self.trainer.ranks.first:
            return
        assert isinstance(network, QuickCampplus)
        model, seed = network.model, self.trainer.config.seed
        # How people in no training lie apart: those in training it has drawn further apart than any others.
        readers, few_readers = self.readers
        rotate(model, directions(*gather(model, readers, self.surroundings, self.fbank, seed=seed)))
        kinds = few_readers, read_speakers_of_words(self.folder, "dev", fewest=4)
        between, within = variances_of_all(
            gather(model, kind, self.surroundings, self.fbank, seed=seed) for kind in kinds
        )
        rows = {"between": between, "within": STRAY * within}
        spread = {name: np.round(row, 5).tolist() for name, row in rows.items()}
        state = {
            name: weight.half() if weight.ndim > 1 else weight for name, weight in model.state_dict().items()
        }
        write_model(self.setup, self.trainer.output, state, {"spk_conf": spread}, "campplus_small.bin")


lesson = Speakers
