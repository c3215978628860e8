"""A Recipe and its data -> a run, from the first batch to the mean of the best checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from funasr.errors import InputError
from funasr.features.frontend import WavFrontend
from funasr.text.tokenizer import Tokenizer
from funasr.train.check import Report, check_manifest, manifest_paths
from funasr.train.checkpoint import Progress
from funasr.train.criteria import Parts, lesson_of
from funasr.train.optim import build_optimizer, build_scheduler
from funasr.train.output import write_settings
from funasr.train.recipe import Recipe
from funasr.train.start import build_network
from funasr.train.trainer import Trainer, seed_everything


@dataclass(frozen=True, kw_only=True)
class Data:
    """The two sets of a run, checked."""

    train: Report
    valid: Report


def check_data(recipe: Recipe, tokenizer: Tokenizer, *, open_sounds: bool = False) -> Data:
    """Judge every line of both lists."""

    def check(given: Path) -> Report:
        paths = manifest_paths(given)
        return check_manifest(paths, recipe.limits, tokenizer=tokenizer, open_sounds=open_sounds)

    return Data(train=check(recipe.train_list), valid=check(recipe.valid_list))


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
    trainer.run(
        lesson.examples(data.train.good, replace(parts, augmentation=recipe.augmentation)),
        lesson.examples(data.valid.good, parts),
    )
    return trainer
