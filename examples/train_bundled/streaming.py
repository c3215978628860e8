"""The bundled streaming recognizer of words: the recordings of words.py, heard as a stream hears them.

It begins with the weights of the recognizer that hears whole utterances; README.md here says what differs.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle import made, setup_of, take_average, write_model
from streaming_loss import (
    FARTHEST,
    FORGETFUL,
    MARGIN,
    SHAPE,
    StreamingLoss,
    answer,
    hear,
    listen,
    state_of_offline,
)
from torch import Tensor, nn
from words import Words, WordsSetup
from words_augment import LAST_LESSONS, Augmenter, Plan, Recipe
from words_data import RATE, TOKENS, UNKNOWN
from words_dev import FixedSource, dev_sets, edit_distance, sharpen

from funasr.models.paraformer.network import Paraformer
from funasr.nn.weights import read_checkpoint
from funasr.stages.protocols import ChunkShape
from funasr.train import recipe as recipes
from funasr.train.criteria import Parts
from funasr.train.data import collate
from funasr.train.own import Sources

logger = logging.getLogger(__name__)

START = Path(__file__).parents[2] / "funasr" / "bundled" / "paraformer-words-en"


@dataclass(frozen=True, kw_only=True)
class StreamingSetup(WordsSetup):
    start: str = str(START)
    """The model directory to begin with."""
    last_epochs: int = 9
    epoch_size: int = 4800


USUAL = Recipe(single=0.34, string=0.48, foreign=0.13)
LAST = dataclasses.replace(LAST_LESSONS, single=0.36, string=0.46, foreign=0.13, mixed_foreign=0.04)


class Streamer(Augmenter):
    """Words anywhere between the borders of chunks: 0 to 600 ms of silence at either end, and long pauses."""

    def plan(self, rng: np.random.Generator) -> Plan:
        plan = super().plan(rng)
        if not plan.pieces:
            return plan
        pieces = [dataclasses.replace(plan.pieces[0], gap=_silence(rng)), *plan.pieces[1:]]
        if len(pieces) > 1 and rng.random() < 0.15:
            place = int(rng.integers(1, len(pieces)))
            pieces[place] = dataclasses.replace(pieces[place], gap=int(rng.uniform(0.5, 3.0) * RATE))
        return Plan(pieces=tuple(pieces), tail=_silence(rng))


def _silence(rng: np.random.Generator) -> int:
    """At either end of an utterance, in samples: people press the button, or their telephone, in mid-word."""
    return int(rng.uniform(0.0, 0.6) * RATE) if rng.random() < 0.5 else 0


class Streams(FixedSource):
    """Development utterances, heard as streams."""

    def heard(self, model: nn.Module, start: int, shape: ChunkShape) -> list[list[int]]:
        assert isinstance(model, Paraformer)
        model.eval()
        found: dict[int, list[int]] = {}
        order = np.argsort(self.lengths(0), kind="stable").tolist()
        for first in range(0, len(order), 64):
            places = order[first : first + 64]
            batch = collate([self.examples[place] for place in places])
            found |= zip(places, hear(model, batch.features, batch.lengths, start, shape), strict=True)
        return [found[place] for place in range(len(order))]

    def errors(self, model: nn.Module, start: int = 1, shape: ChunkShape = SHAPE) -> Counter[str]:
        """Word errors by condition, with `<unk>` dropped as the recognizer drops it."""
        errors = Counter[str]()
        heard = self.heard(model, start, shape)
        for name, example, ids in zip(self.conditions, self.examples, heard, strict=True):
            known = [token for token in ids if 2 < token < UNKNOWN]
            errors[name] += edit_distance(example.target.tolist(), known)
        return errors

    def rates(self, model: nn.Module, start: int = 1, shape: ChunkShape = SHAPE) -> str:
        """The same over the number of words."""
        words = Counter[str]()
        for name, example in zip(self.conditions, self.examples, strict=True):
            words[name] += len(example.target)
        errors = self.errors(model, start, shape)
        return ", ".join(f"{name} {errors[name] / words[name]:.2%}" for name in words)


class Streaming(Words):
    valid: Streams

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.setup: StreamingSetup = setup_of(StreamingSetup, settings)
        self.start = Path(self.setup.start)

    @cached_property
    def lessons(self) -> dict[int, Augmenter]:
        corpus, foreign = self.corpus, self.corpus.foreign + 2 * self.phrases
        return {
            epoch: Streamer(corpus.train, foreign, corpus.noises, corpus.rooms, recipe)
            for epoch, recipe in ((0, USUAL), (self.last_from, LAST))
        }

    def prepare(self) -> Mapping[str, Any]:
        cmvn, tokens, seg_dict = (self._of_start(name) for name in ("am.mvn", "tokens.json", "seg_dict"))
        return {
            "frontend_conf": {"cmvn_file": cmvn},
            "tokenizer_conf": {"token_list": tokens, "seg_dict_file": seg_dict},
            "scheduler_conf": self._steps([0, self.last_from]),
        }

    def _of_start(self, name: str) -> str:
        return str(made(self.output / name, lambda path: shutil.copyfile(self.start / name, path)))

    def data(self, recipe: recipes.Recipe, parts: Parts) -> Sources:
        self.valid = Streams(dev_sets(self.corpus.dev), parts.frontend)
        return self._source(parts.frontend), self.valid

    def network(self, recipe: recipes.Recipe, parts: Parts) -> nn.Module:
        network = Paraformer.from_official(parts.config, parts.vocab_size, parts.frontend.output_size)
        network.load_state_dict(state_of_offline(read_checkpoint(self.start / "model.pt"), network))
        without_dropout(network)
        return network

    def criterion(self, network: nn.Module, parts: Parts) -> nn.Module:
        assert isinstance(network, Paraformer)
        return StreamingLoss(network.config.encoder.output_size, len(TOKENS), masked=self.masked)

    def validated(self) -> None:
        logger.info("dev word error rate as streams: %s", self.valid.rates(self.trainer.model))

    def finish(self) -> None:
        model = take_average(self.trainer)
        assert isinstance(model, Paraformer)
        fitted = fit_weights(model, self.valid)
        scale = fit_scores(model, self.valid)
        logger.info("the scores are scaled by %.2f, which fits the development words best", scale)
        self.validated()
        logger.info("after an hour: %s", self.valid.rates(model, start=FARTHEST))
        logger.info("with no look back: %s", self.valid.rates(model, shape=FORGETFUL))
        if self.trainer.ranks.first:
            write_model(self.setup, self.output, model.state_dict(), {"predictor_conf": fitted})


lesson = Streaming


def without_dropout(model: nn.Module) -> None:
    """No utterance comes twice, and the run is short: what dropout takes in time it does not give back."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def fit_weights(model: Paraformer, valid: Streams) -> dict[str, float]:
    """The `smooth_factor` of the predictor with the fewest word errors: weights may add up to too little."""
    predictor = model.predictor
    tried: dict[float, int] = {}
    for factor in (0.95, 0.975, 1.0, 1.025, 1.05, 1.075, 1.1):
        predictor.config = dataclasses.replace(predictor.config, smooth_factor=factor)
        tried[factor] = sum(valid.errors(model).values())
    best = min(tried, key=lambda factor: (tried[factor], abs(factor - 1.0)))
    logger.info("word errors by smooth_factor: %s", tried)
    predictor.config = dataclasses.replace(predictor.config, smooth_factor=best)
    return {"smooth_factor": best}


@torch.no_grad()
def fit_scores(model: Paraformer, valid: Streams) -> float:
    """Confidences that fit the development words."""
    model.eval()
    output = model.decoder.output_layer
    assert output is not None
    scores: list[Tensor] = []
    truth: list[Tensor] = []
    for start in range(0, len(valid.examples), 64):
        batch = collate(valid.examples[start : start + 64])
        layout, memory, rows, alphas = listen(model, batch.features, batch.lengths)
        alphas = alphas * ((batch.target_lengths + MARGIN) / alphas.sum(dim=1).clamp(min=1e-3))[:, None]
        logits = output(answer(model, layout, memory, rows, alphas, batch.target_lengths))
        scores.append(logits[batch.targets > 2])
        truth.append(batch.targets[batch.targets > 2])
    return sharpen(output, scores, truth, [0.8 + 0.05 * step for step in range(25)])
