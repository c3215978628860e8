"""A Recipe and its data -> a run, from the first batch to the mean of the best checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from funasr.errors import InputError
from funasr.features.frontend import WavFrontend
from funasr.text.tokenizer import Tokenizer
from funasr.train.check import Report, check_manifest, manifest_paths
from funasr.train.checkpoint import Progress
from funasr.train.criteria import Parts, lesson_of
from funasr.train.data import ExampleSource, Slices
from funasr.train.optim import build_optimizer, build_scheduler
from funasr.train.output import write_settings
from funasr.train.recipe import Recipe
from funasr.train.start import build_network
from funasr.train.trainer import Trainer, seed_everything

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The two sets of a run, checked."""

    train: Report
    """Of data in slices (`data_split_num`), the first; the others are checked when their turn comes."""
    valid: Report


def check_data(recipe: Recipe, tokenizer: Tokenizer, *, open_sounds: bool = False) -> Data:
    """Judge every line of both lists; with `open_sounds` those of all slices, else those of the first."""

    def check(paths: Sequence[Path]) -> Report:
        return check_manifest(paths, recipe.limits, tokenizer=tokenizer, open_sounds=open_sounds)

    train = manifest_paths(recipe.train_list) if open_sounds else slices_of(recipe)[0]
    return Data(train=check(train), valid=check(manifest_paths(recipe.valid_list)))


def slices_of(recipe: Recipe) -> list[list[Path]]:
    """The files of the training list in `data_split_num` groups, or fewer where the files are."""
    files = manifest_paths(recipe.train_list)
    size = -(-len(files) // recipe.data_split_num)
    return [files[start : start + size] for start in range(0, len(files), size)]


def run(
    recipe: Recipe,
    data: Data,
    tokenizer: Tokenizer,
    frontend: WavFrontend,
    device: torch.device,
    *,
    on_step: Callable[[Progress, int], None] | None = None,
) -> Trainer:
    """Train to the end, or on from where an earlier run in the same output directory stopped.

    `on_step` is told where the run stands, and how many batches its slice has, after each of them. Raises
    InputError when one of the lists has nothing to learn from.
    """
    for given, report in ((recipe.train_list, data.train), (recipe.valid_list, data.valid)):
        if not report.good:
            raise InputError(f"{given} has nothing to learn from. " + ". ".join(report.summary()))
    seed_everything(recipe.train.seed)
    network = build_network(recipe, tokenizer, frontend).to(device)
    lesson = lesson_of(recipe.directory.model)
    parts = Parts(tokenizer=tokenizer, frontend=frontend, config=recipe.directory.config)
    optimizer = build_optimizer(recipe.optim, network.parameters())
    trainer = Trainer(
        network,
        lesson.criterion(network, parts),
        optimizer,
        build_scheduler(recipe.schedule, optimizer),
        recipe.train,
        recipe.sampler,
        recipe.output,
        device=device,
        row_seconds=frontend.config.frame_shift * frontend.config.lfr_n / 1000,
        on_step=on_step,
    )
    if trainer.ranks.first:
        write_settings(recipe)
    augmented = replace(parts, augmentation=recipe.augmentation)
    slices = slices_of(recipe)

    def load(number: int) -> ExampleSource:
        if len(slices) == 1:
            return lesson.examples(data.train.good, augmented)
        report = check_manifest(slices[number], recipe.limits, tokenizer=tokenizer)
        if not report.good:
            raise InputError(f"slice {number} has nothing to learn from. " + ". ".join(report.summary()))
        if trainer.ranks.first:
            logger.info("slice %d of %d: %s", number, len(slices), ". ".join(report.summary()))
        return lesson.examples(report.good, augmented)

    trainer.run(Slices(count=len(slices), load=load), lesson.examples(data.valid.good, parts))
    return trainer
