"""A recipe -> a run: the settings of an official config.yaml, and what `funasr-train` makes of them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from funasr import registry
from funasr.config import options, section
from funasr.errors import InputError, OptionError
from funasr.features.frontend import WavFrontend
from funasr.modeldir import ModelDir
from funasr.models.paraformer.loss import ParaformerLoss
from funasr.nn.weights import initialize_weights, load_weights
from funasr.text.tokenizer import Tokenizer
from funasr.train.check import Limits, Report, check_manifest, manifest_paths
from funasr.train.data import Batch
from funasr.train.optim import OptimConfig, ScheduleConfig, build_optimizer, build_scheduler
from funasr.train.sampler import SamplerConfig
from funasr.train.speech import Augmentation, SpeechExamples
from funasr.train.trainer import Criterion, Stats, TrainConfig, Trainer, seed_everything

logger = logging.getLogger(__name__)

TRAINABLE = ("Paraformer", "BiCifParaformer")
SPEED_PERTURB = "SpeechPreprocessSpeedPerturb"

# Names of official recipes that say how upstream's program does something that happens here in one way.
UNUSED_DATASET_KEYS = frozenset(
    [
        "buffer_size",
        "data_split_num",
        "dataloader",
        "index_ds",
        "batch_sampler",
        "length_scale_source",
        "num_workers",
        "prefetch_factor",
        "preprocessor_speech",
        "preprocessor_speech_conf",
        "preprocessor_text",
        "shuffle",
    ]
)
UNUSED_TRAIN_KEYS = frozenset(
    [
        "deepspeed_config",
        "effective_save_name_excludes",
        "find_unused_parameters",
        "grad_clip_type",
        "reset_gpu_cache",
        "use_wandb",
    ]
)
LATER_TRAIN_KEYS = frozenset(["use_deepspeed", "use_fsdp", "use_fp16", "use_lora"])
"""What would change the run and is not built: it may be named, and must be off."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run is made from."""

    directory: ModelDir
    """Settings and files of the model to begin with; its config is that of the run."""
    output: Path
    train: TrainConfig
    sampler: SamplerConfig
    limits: Limits
    optim: OptimConfig
    schedule: ScheduleConfig
    augmentation: Augmentation
    train_list: Path
    valid_list: Path
    init_param: Path | None
    """Weights to begin with; None for a network trained from scratch."""
    freeze: tuple[str, ...] = ()
    """Parameters with these names, or below them, do not learn."""
    excludes: tuple[str, ...] = ()
    scope_map: tuple[str, ...] = ()

    @classmethod
    def of(cls, directory: ModelDir) -> Recipe:
        """Read the settings. Raises OptionError for a name or value that means nothing, InputError for lists
        that are not there."""
        raw = directory.config
        dataset, training = dict(section(raw, "dataset_conf")), dict(section(raw, "train_conf"))
        on = [name for name in LATER_TRAIN_KEYS if training.pop(name, False)]
        if on:
            raise OptionError(f"train_conf.{on[0]} is on; this version trains without it: set it to false")
        if directory.model not in TRAINABLE:
            raise OptionError(
                f"no training of {directory.model!r} is built here yet; {' and '.join(TRAINABLE)} are"
            )
        workers = dataset.get("num_workers")
        if workers is not None and "num_workers" not in training:
            training["num_workers"] = workers
        train = options(
            TrainConfig, _known(training, UNUSED_TRAIN_KEYS) | {"seed": raw.get("seed", 0)}, "train_conf"
        )
        sampler: SamplerConfig = _part(SamplerConfig, dataset)
        limits: Limits = _part(Limits, dataset)
        return cls(
            directory=directory,
            output=Path(str(raw["output_dir"])),
            train=train,
            # What is too long is told by the check; here it would be left out without a word.
            sampler=replace(sampler, max_token_length=limits.max_token_length),
            limits=limits,
            optim=options(
                OptimConfig, {"optim": raw.get("optim", "adam"), **section(raw, "optim_conf")}, "optim_conf"
            ),
            schedule=options(
                ScheduleConfig,
                {"scheduler": raw.get("scheduler", "warmuplr"), **section(raw, "scheduler_conf")},
                "scheduler_conf",
            ),
            augmentation=_augmentation(dataset, train.seed),
            train_list=Path(str(raw["train_data_set_list"])),
            valid_list=Path(str(raw["valid_data_set_list"])),
            init_param=directory.weights,
            freeze=_names(raw.get("freeze_param")),
            excludes=_names(raw.get("excludes")),
            scope_map=_names(raw.get("scope_map")),
        )


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


class SpeechCriterion:
    """A Paraformer's loss as the trainer calls it."""

    def __init__(self, loss: ParaformerLoss) -> None:
        self._loss = loss

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Stats]:
        return self._loss(
            model,  # type: ignore[arg-type]  # a Paraformer, or one that is wrapped
            batch.features,
            batch.lengths,
            batch.targets,
            batch.target_lengths,
        )


def build_network(recipe: Recipe, tokenizer: Tokenizer, frontend: WavFrontend) -> nn.Module:
    """The network with the weights it begins with."""
    network_class = registry.lookup(registry.MODELS, recipe.directory.model)
    network: nn.Module = network_class.from_official(
        recipe.directory.config, tokenizer.vocab_size, frontend.output_size
    )
    if recipe.init_param is not None:
        if recipe.excludes or recipe.scope_map:
            initialize_weights(
                network, recipe.init_param, scope_map=recipe.scope_map, excludes=recipe.excludes
            )
        else:
            load_weights(network, recipe.init_param)
    frozen = 0
    for name, parameter in network.named_parameters():
        if any(name == prefix or name.startswith(prefix + ".") for prefix in recipe.freeze):
            parameter.requires_grad_(False)
            frozen += 1
    unused = [
        p
        for p in recipe.freeze
        if not any((n + ".").startswith(p + ".") for n, _ in network.named_parameters())
    ]
    if unused:
        raise OptionError(f"freeze_param names {', '.join(unused)}: the network has no such parameters")
    if frozen:
        logger.info("%d parameters stay as they are (freeze_param)", frozen)
    return network


def run(
    recipe: Recipe, data: Data, tokenizer: Tokenizer, frontend: WavFrontend, device: torch.device
) -> Trainer:
    """Train to the end, or on from where an earlier run in the same output directory stopped.

    Raises InputError when one of the lists has nothing to learn from.
    """
    for given, report in ((recipe.train_list, data.train), (recipe.valid_list, data.valid)):
        if not report.good:
            raise InputError(f"{given} has nothing to learn from. " + ". ".join(report.summary()))
    seed_everything(recipe.train.seed)
    network = build_network(recipe, tokenizer, frontend).to(device)
    criterion: Criterion = SpeechCriterion(ParaformerLoss(network.config))  # type: ignore[arg-type]
    optimizer = build_optimizer(recipe.optim, network.parameters())
    trainer = Trainer(
        network,
        criterion,
        optimizer,
        build_scheduler(recipe.schedule, optimizer),
        recipe.train,
        recipe.sampler,
        recipe.output,
        device=device,
    )
    write_settings(recipe)
    trainer.run(
        SpeechExamples(data.train.good, frontend, tokenizer, recipe.augmentation),
        SpeechExamples(data.valid.good, frontend, tokenizer),
    )
    return trainer


def write_settings(recipe: Recipe) -> None:
    """Make the output directory a model directory: all that is beside the weights."""
    recipe.output.mkdir(parents=True, exist_ok=True)
    directory = recipe.directory
    metas: dict[str, Any] = {"init_param": "model.pt", "config": "config.yaml"}
    files = {
        ("tokenizer_conf", "token_list"): directory.tokens,
        ("tokenizer_conf", "seg_dict_file"): directory.seg_dict,
        ("tokenizer_conf", "bpemodel"): directory.bpe_model,
        ("frontend_conf", "cmvn_file"): directory.cmvn,
    }
    for (part, name), path in files.items():
        if path is not None:
            if path.parent.resolve() != recipe.output.resolve():
                shutil.copyfile(path, recipe.output / path.name)
            metas.setdefault(part, {})[name] = path.name
    raw = {key: value for key, value in directory.config.items() if key != "init_param"}
    for (part, name), path in files.items():
        if path is not None and isinstance(raw.get(part), Mapping):
            raw[part] = {key: value for key, value in raw[part].items() if key not in (name, "seg_dict")}
    OmegaConf.save(OmegaConf.create(raw), recipe.output / "config.yaml")
    described = {
        "framework": "pytorch",
        "task": "auto-speech-recognition",
        "model": {"type": "funasr"},
        "file_path_metas": metas,
    }
    (recipe.output / "configuration.json").write_text(
        json.dumps(described, indent=2) + "\n", encoding="utf-8"
    )


def _part(cls: type, dataset: Mapping[str, Any]) -> Any:
    """The fields of one dataclass out of `dataset_conf`, all of whose names are known."""
    own = {f.name for f in fields(cls)}
    others = {f.name for kind in (Limits, SamplerConfig, Augmentation) for f in fields(kind)}
    known = own | others | UNUSED_DATASET_KEYS
    unknown = [key for key in dataset if key not in known]
    given = {key: value for key, value in dataset.items() if key in own}
    if unknown:  # the error of `options` names the nearest field
        given[unknown[0]] = dataset[unknown[0]]
    return options(cls, given, "dataset_conf")


def _known(given: Mapping[str, Any], unused: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in unused}


def _augmentation(dataset: Mapping[str, Any], seed: int) -> Augmentation:
    if dataset.get("preprocessor_speech") is None:
        return Augmentation(seed=seed)
    if dataset["preprocessor_speech"] != SPEED_PERTURB:
        raise OptionError(
            f"dataset_conf.preprocessor_speech is {dataset['preprocessor_speech']!r}; "
            f"{SPEED_PERTURB!r} is built"
        )
    conf = section(dataset, "preprocessor_speech_conf")
    return options(
        Augmentation,
        {"speed_perturb": conf.get("speed_perturb") or (), "seed": seed},
        "preprocessor_speech_conf",
    )


def _names(value: Any) -> tuple[str, ...]:
    """A list, or names with commas between them."""
    if not value:
        return ()
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts if str(part).strip())
