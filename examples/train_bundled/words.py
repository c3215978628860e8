"""The bundled recognizer of twenty English words: the data of words.yaml, its loss, and its last lessons.

README.md beside this says what it does.
"""

from __future__ import annotations

import os

# One process trains, others prepare batches: numpy must not take every core for its small products.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import dataclasses
import json
import logging
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import words_data
import words_synth
from bundle import Setup, made, setup_of, take_average, write_model
from torch import Tensor, nn
from words_augment import FINISH, FIRST_LESSONS, LAST_LESSONS, REFUSALS, Augmenter, Recipe, WordSource
from words_data import TOKENS, UNKNOWN, Clip
from words_dev import FixedSource, dev_sets, sharpen
from words_loss import TimesLoss, WordsLoss

from funasr.config import section
from funasr.features.cmvn import compute_cmvn, write_cmvn
from funasr.features.frontend import WavFrontend
from funasr.models.paraformer.bicif import BiCifParaformer
from funasr.models.paraformer.loss import with_end
from funasr.train import recipe as recipes
from funasr.train.criteria import Parts
from funasr.train.data import collate
from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler
from funasr.train.own import OwnTraining, Sources
from funasr.train.sampler import SamplerConfig, plan_epoch
from funasr.train.trainer import Criterion, Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WordsSetup(Setup):
    cache: str = ""
    """Where sound that was read and synthesized is kept, for both recognizers; else the output directory."""
    first_epochs: int = 4
    """Epochs of mostly single words with little in their way; what follows is harder."""
    last_epochs: int = 12
    """Over these the learning rate falls to nothing, nothing is masked, and there is less noise."""
    refusal_epochs: int = 4
    """Of those, the ones with many phrases that must give no words."""
    epoch_size: int = 9600
    """Utterances made up for one epoch."""
    takes: int = 60
    """Synthesized recordings of each word; `other_takes` of other words and sentences."""
    other_takes: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """All sound a run uses, in memory."""

    train: list[Clip]
    dev: list[Clip]
    foreign: list[Clip]
    noises: list[np.ndarray[Any, np.dtype[np.float32]]]
    rooms: list[np.ndarray[Any, np.dtype[np.float32]]]


class Words(OwnTraining):
    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.setup = setup_of(WordsSetup, settings)
        self.output = Path(str(settings["output_dir"]))
        self.seed, self.epochs = int(settings["seed"]), int(section(settings, "train_conf")["max_epoch"])
        self.last_from = self.epochs - self.setup.last_epochs

    @cached_property
    def corpus(self) -> Corpus:
        """Read, or what an earlier run read and synthesized with the same seed."""
        setup, data = self.setup, Path(self.setup.data)
        cached = self._cached(f"corpus-{self.seed}-{setup.takes}-{setup.other_takes}.pickle")
        if not cached.is_file():
            jobs = words_synth.plan(self.seed, setup.takes, setup.other_takes)
            synthetic = words_synth.synthesize(jobs)
            noises, rooms = words_data.read_noises(data)
            words = [clip for clip in synthetic if clip.token != UNKNOWN]
            others = [clip for clip in synthetic if clip.token == UNKNOWN]
            parts = {
                "train": words_data.read_words(data, "train") + words,
                "dev": words_data.read_words(data, "dev"),
                "foreign": words_data.read_foreign(data) + others,
                "noises": noises,
                "rooms": rooms,
            }
            made(cached, lambda path: path.write_bytes(pickle.dumps(parts)))
        return Corpus(**pickle.loads(cached.read_bytes()))

    @cached_property
    def phrases(self) -> list[Clip]:
        """Running speech, synthesized once."""
        cached = self._cached(f"phrases-{self.seed}.pickle")
        if not cached.is_file():
            clips = words_synth.synthesize(words_synth.plan_running_speech(self.seed, 6))
            made(cached, lambda path: path.write_bytes(pickle.dumps(clips)))
        loaded: list[Clip] = pickle.loads(cached.read_bytes())
        return loaded

    def _cached(self, name: str) -> Path:
        return Path(self.setup.cache or self.output) / name

    @cached_property
    def lessons(self) -> dict[int, Augmenter]:
        """By the epoch from which on they are taught."""
        setup, usual = self.setup, self.corpus.foreign
        return {
            0: self._maker(FIRST_LESSONS, usual),
            setup.first_epochs: self._maker(Recipe(), usual),
            self.last_from: self._maker(LAST_LESSONS, usual),
            self.epochs - setup.refusal_epochs: self._maker(REFUSALS, self._refused),
        }

    @property
    def _refused(self) -> list[Clip]:
        """Phrases come four times, so that they are a good part of what is refused."""
        return self.corpus.foreign + 4 * self.phrases

    def _maker(self, recipe: Recipe, foreign: list[Clip]) -> Augmenter:
        corpus = self.corpus
        return Augmenter(corpus.train, foreign, corpus.noises, corpus.rooms, recipe)

    def prepare(self) -> Mapping[str, Any]:
        cmvn = made(self.output / "am.mvn", self._write_statistics)
        tokens = made(self.output / "tokens.json", _write_tokens)
        seg_dict = made(self.output / "seg_dict", _write_seg_dict)
        return {
            "frontend_conf": {"cmvn_file": str(cmvn)},
            "tokenizer_conf": {"token_list": str(tokens), "seg_dict_file": str(seg_dict)},
            "scheduler_conf": self._steps([0, self.setup.first_epochs, self.last_from]),
        }

    def _write_statistics(self, path: Path) -> None:
        """Over 2,000 training utterances, the same for each of the stacked frames as usual."""
        conf = section(self.settings, "frontend_conf")
        plain = WavFrontend.from_official({**conf, "lfr_m": 1, "lfr_n": 1}, None)
        maker = self.lessons[self.setup.first_epochs]
        source = WordSource({0: maker}, plain, size=2000, seed=self.seed + 1)
        shift, scale = compute_cmvn(source.load(0, index).features for index in range(2000))
        write_cmvn(path, np.tile(shift, conf["lfr_m"]), np.tile(scale, conf["lfr_m"]))

    def _steps(self, starts: Sequence[int]) -> dict[str, int]:
        """Updates in the whole run and in its last epochs, from one epoch of each kind."""
        dataset = section(self.settings, "dataset_conf")
        names = ("batch_size", "batch_size_sample_max", "sort_size")
        sampler = SamplerConfig(**{name: dataset[name] for name in names})
        source = self._source(WavFrontend.from_official(section(self.settings, "frontend_conf"), None))
        counts = [
            (end - start) * len(plan_epoch(source.lengths(start), sampler, epoch=start, seed=self.seed))
            for start, end in zip(starts, [*starts[1:], self.epochs], strict=True)
        ]
        return {"total_steps": sum(counts), "decay_steps": counts[-1]}

    def _source(self, frontend: WavFrontend) -> WordSource:
        return WordSource(self.lessons, frontend, size=self.setup.epoch_size, seed=self.seed)

    def data(self, recipe: recipes.Recipe, parts: Parts) -> Sources:
        self.valid = FixedSource(dev_sets(self.corpus.dev), parts.frontend)
        return self._source(parts.frontend), self.valid

    def criterion(self, network: nn.Module, parts: Parts) -> nn.Module:
        assert isinstance(network, BiCifParaformer)
        return WordsLoss(network.config.encoder.output_size, len(TOKENS), masked=self.masked)

    def masked(self) -> bool:
        return self.trainer.progress.epoch < self.last_from

    def validated(self) -> None:
        assert isinstance(self.trainer.model, BiCifParaformer)
        rates = self.valid.word_error_rates(self.trainer.model)
        logger.info(
            "dev word error rate: %s", ", ".join(f"{name} {rate:.2%}" for name, rate in rates.items())
        )

    def finish(self) -> None:
        model = take_average(self.trainer)
        assert isinstance(model, BiCifParaformer)
        self.validated()
        self._last_lessons(model)
        scale = fit_scores(model, self.valid)
        logger.info("the scores are scaled by %.2f, which fits the development words best", scale)
        self.validated()
        if self.trainer.ranks.first:
            write_model(self.setup, self.output, model.state_dict())

    def _last_lessons(self, model: BiCifParaformer) -> None:
        """Short runs from the averaged model: words beside foreign speech are refused; times get exact."""
        maker, whole = self._maker(FINISH, self._refused), self.trainer
        assert isinstance(whole.criterion, nn.Module)
        predictor = model.predictor
        times = [predictor.upsample_cnn, predictor.blstm, predictor.cif_output2]
        everything = [*model.parameters(), *whole.criterion.parameters()]
        head = [parameter for part in times for parameter in part.parameters()]
        size = self.setup.epoch_size
        runs: list[tuple[str, Criterion, list[nn.Parameter], float, int, int]] = [
            ("refuse", whole.criterion, everything, 3e-4, 2, size),
            ("times", TimesLoss(), head, 2e-3, 1, size),
            ("margin", TimesLoss(margin=0.3), head, 2e-3, 1, size // 4),
        ]
        for name, loss, parameters, rate, epochs, count in runs:
            source = WordSource({0: maker}, self.valid.frontend, size=count, seed=self.seed + len(name))
            steps = epochs * len(plan_epoch(source.lengths(0), whole.sampler, epoch=0, seed=self.seed))
            optimizer = build_optimizer(OptimConfig(optim="adamw", lr=rate, betas=(0.9, 0.98)), parameters)
            schedule = ScheduleConfig(
                scheduler="warmup_stable_decay", warmup_steps=20, total_steps=steps, decay_steps=steps
            )
            config = dataclasses.replace(whole.config, max_epoch=epochs, avg_nbest_model=1, max_seconds=None)
            scheduler = build_scheduler(schedule, optimizer)
            run = Trainer(model, loss, optimizer, scheduler, config, whole.sampler, self.output / name)
            run.run(source, self.valid)


lesson = Words


@torch.no_grad()
def fit_scores(model: BiCifParaformer, valid: FixedSource) -> float:
    """Confidences that fit the development words."""
    model.eval()
    output = model.decoder.output_layer
    assert output is not None
    scores: list[Tensor] = []
    truth: list[Tensor] = []
    for start in range(0, len(valid.examples), 64):
        batch = collate(valid.examples[start : start + 64])
        labels, counts = with_end(batch.targets, batch.target_lengths, model.config)
        encoded = model.encode(batch.features, batch.lengths)
        predicted = model.predictor(encoded.memory, batch.lengths, counts)
        logits = output(model.decode(predicted.embeds, counts, encoded))
        scores.append(logits[labels > 2])
        truth.append(labels[labels > 2])
    return sharpen(output, scores, truth, [1.0 + 0.05 * step for step in range(21)])


def _write_tokens(path: Path) -> None:
    path.write_text(json.dumps(list(TOKENS), indent=0) + "\n", encoding="utf-8")


def _write_seg_dict(path: Path) -> None:
    words = [token for token in TOKENS if not token.startswith("<")]
    path.write_text("".join(f"{word} {word}\n" for word in words), encoding="utf-8")
