"""A Recipe and its data -> a run, from the first batch to the mean of the best checkpoints."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from funasr.config import section
from funasr.errors import InputError, ModelFilesError, OptionError
from funasr.features.frontend import WavFrontend
from funasr.modeldir import ModelDir
from funasr.stages.assembly import build_frontend, build_tokenizer
from funasr.text.words import JiebaSplitter, WordVocabulary, split_words
from funasr.train.cache import FeatureCache
from funasr.train.check import Report, check_manifest, manifest_paths
from funasr.train.checkpoint import Progress
from funasr.train.criteria import Parts, lesson_of
from funasr.train.data import ExampleSource, Slices
from funasr.train.distributed import Ranks
from funasr.train.kinds import PUNCTUATED, SEGMENTS, SPEAKERS, SPEECH, kind_for
from funasr.train.optim import build_scheduler
from funasr.train.output import write_settings
from funasr.train.own import OwnTraining, Sources
from funasr.train.recipe import Recipe
from funasr.train.shards import is_shard
from funasr.train.trainer import Trainer, seed_everything

logger = logging.getLogger(__name__)

NAMES = "speakers.json"
"""In the output directory: the speakers that a run began with."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """The two sets of a run, checked."""

    train: Report
    """Of data in slices (`data_split_num`), the first; the others are checked when their turn comes."""
    valid: Report


def open_parts(directory: ModelDir) -> Parts:
    """What a model's data is read with. Raises ModelFilesError where files are missing."""
    kind, config = kind_for(directory.model), directory.config
    has_frontend = kind in (SPEECH, SEGMENTS)
    frontend = build_frontend(directory) if has_frontend else WavFrontend.from_official({})
    parts = Parts(frontend=frontend, config=config)
    if kind is SPEECH:
        return replace(parts, tokenizer=build_tokenizer(directory))
    if kind is not PUNCTUATED:
        return parts
    unknown = str(section(config, "tokenizer_conf").get("unk_symbol", "<unk>"))
    live, jieba = directory.model == "CTTransformerStreaming", directory.jieba_usr_dict
    return replace(
        parts,
        words=WordVocabulary.from_file(directory.require_tokens(), unk_symbol=unknown),
        split=split_words if jieba is None or live else JiebaSplitter(jieba),
    )


def check_data(recipe: Recipe, parts: Parts, *, open_sounds: bool = False) -> Data:
    """Judge every line of both lists; with `open_sounds` those of all slices, else those of the first."""
    assert recipe.train_list is not None
    assert recipe.valid_list is not None
    train = manifest_paths(recipe.train_list) if open_sounds else slices_of(recipe)[0]
    valid = manifest_paths(recipe.valid_list)
    return Data(
        train=_check(recipe, parts, train, open_sounds), valid=_check(recipe, parts, valid, open_sounds)
    )


def _check(recipe: Recipe, parts: Parts, paths: Sequence[Path], open_sounds: bool = False) -> Report:
    return check_manifest(
        paths,
        recipe.limits,
        kind=kind_for(recipe.directory.model),
        tokenizer=parts.tokenizer,
        open_sounds=open_sounds,
    )


def slices_of(recipe: Recipe, epoch: int | None = None) -> list[list[Path]]:
    """The files of the training list in `data_split_num` groups, or fewer where the files are.

    Of shards, `buffer_shards` are a group; which are together is drawn anew for each `epoch`.
    """
    assert recipe.train_list is not None
    files = manifest_paths(recipe.train_list)
    shards = any(is_shard(file) for file in files)
    if recipe.data_split_num is not None:
        size = -(-len(files) // recipe.data_split_num)
    else:
        size = recipe.buffer_shards if shards else len(files)
    if shards and epoch is not None and recipe.sampler.shuffle and len(files) > size:
        order = np.random.default_rng((recipe.train.seed, epoch)).permutation(len(files))
        files = [files[place] for place in order]
    return [files[start : start + size] for start in range(0, len(files), size)]


def run(
    recipe: Recipe,
    data: Data | None,
    parts: Parts,
    device: torch.device,
    *,
    own: OwnTraining | None = None,
    on_step: Callable[[Progress, int], None] | None = None,
) -> Trainer:
    """Train to the end, or on from where an earlier run in the same output directory stopped.

    `data` is what the lists hold; None where `own` makes its data. `on_step` is told where the run stands,
    and how many batches its slice has, after each of them. Raises InputError when one of the lists has
    nothing to learn from.
    """
    own = own or OwnTraining(recipe.directory.config)
    if data is not None:
        parts = _with_lists(recipe, data, parts)
    seed_everything(recipe.train.seed)
    sources = own.data(recipe, parts) or _listed(recipe, data, parts)
    network = own.network(recipe, parts).to(device)
    criterion = own.criterion(network, parts)
    if isinstance(criterion, nn.Module):
        criterion = criterion.to(device)
    optimizer = own.optimizer(recipe, network, criterion)
    own.trainer = trainer = Trainer(
        network,
        criterion,
        optimizer,
        build_scheduler(recipe.schedule, optimizer),
        recipe.train,
        recipe.sampler,
        recipe.output,
        device=device,
        row_seconds=_row_seconds(recipe, parts),
        on_validated=lambda progress: own.validated(),
        on_step=on_step,
    )
    if trainer.ranks.first:
        write_settings(recipe)
    trainer.run(*sources)
    own.finish()
    return trainer


def _with_lists(recipe: Recipe, data: Data, parts: Parts) -> Parts:
    """The parts with what the lists tell."""
    for given, report in ((recipe.train_list, data.train), (recipe.valid_list, data.valid)):
        if not report.good:
            raise InputError(f"{given} has nothing to learn from. " + ". ".join(report.summary()))
    kind = kind_for(recipe.directory.model)
    if kind is SPEAKERS:
        return replace(parts, speakers=_speakers(recipe, parts, data))
    if recipe.feature_cache is not None and kind in (SPEECH, SEGMENTS):
        return replace(parts, cache=FeatureCache(recipe.feature_cache, parts.frontend))
    return parts


def _listed(recipe: Recipe, data: Data | None, parts: Parts) -> Sources:
    """What the lists hold, as examples. What is augmented is not kept in a cache."""
    if data is None:
        raise OptionError(
            "the data() of remote_code gave nothing: it gives two sources, to learn and to validate"
        )
    train, valid = data.train.good, data.valid.good
    lesson, first = lesson_of(recipe.directory.model), Ranks.current().first
    augmented = replace(parts, augmentation=recipe.augmentation)
    if recipe.feature_cache is not None and not recipe.augmentation.idle and first:
        logger.info(
            "feature_cache: for validation only, as the sound of training examples differs in every epoch"
        )
    count = len(slices_of(recipe))

    def load(epoch: int, number: int) -> ExampleSource:
        if count == 1:
            return lesson.examples(train, augmented)
        report = _check(recipe, parts, slices_of(recipe, epoch)[number])
        if not report.good:
            raise InputError(f"slice {number} has nothing to learn from. " + ". ".join(report.summary()))
        if first:
            logger.info("slice %d of %d: %s", number, count, ". ".join(report.summary()))
        return lesson.examples(report.good, augmented)

    return Slices(count=count, load=load), lesson.examples(valid, parts)


def _row_seconds(recipe: Recipe, parts: Parts) -> float:
    """Sound in a row of features."""
    kind, config = kind_for(recipe.directory.model), parts.frontend.config
    if kind is PUNCTUATED:
        return 0.0
    return 0.01 if kind is SPEAKERS else config.frame_shift * config.lfr_n / 1000


def _speakers(recipe: Recipe, parts: Parts, data: Data) -> dict[str, int]:
    """Number of each speaker of all training lists; those of the first start of a run."""
    path = recipe.output / NAMES
    if path.is_file() and recipe.train.resume:
        try:
            names = [str(name) for name in json.loads(path.read_text(encoding="utf-8"))]
        except ValueError as error:
            raise ModelFilesError(f"cannot read {path} as JSON: {error}") from error
    else:
        groups = slices_of(recipe)
        found: Iterable[str] = (one.text for one in data.train.good)
        if len(groups) > 1:
            found = (one.text for group in groups for one in _check(recipe, parts, group).good)
        names = sorted(set(found))
        path.parent.mkdir(parents=True, exist_ok=True)
        # Each process writes the same.
        draft = path.with_name(f"{path.name}.{os.getpid()}.part")
        draft.write_text(json.dumps(names, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(draft, path)
    if len(names) < 2:
        raise InputError(f"{recipe.train_list} has one speaker: there must be two to be told apart")
    return {name: number for number, name in enumerate(names)}
