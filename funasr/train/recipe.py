"""What `funasr-train` is told -> a Recipe: the settings of an official config.yaml, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from funasr.config import options, section
from funasr.errors import OptionError, did_you_mean
from funasr.modeldir import ModelDir
from funasr.train.augment import Augmentation
from funasr.train.check import Limits
from funasr.train.criteria import lesson_of
from funasr.train.optim import OptimConfig, ScheduleConfig
from funasr.train.sampler import SamplerConfig
from funasr.train.trainer import TrainConfig

LORA_BIASES = ("none", "all", "lora_only")
ANY_LENGTH = 1 << 40
BUFFER_SHARDS = 8
SPEED_PERTURB = "SpeechPreprocessSpeedPerturb"

# Names of official recipes that say how upstream's program does something that happens here in one way.
UNUSED_DATASET_KEYS = frozenset(
    [
        "buffer_size",
        "dataloader",
        "index_ds",
        "batch_sampler",
        "length_scale_source",
        "num_workers",
        "persistent_workers",
        "pin_memory",
        "preprocessor_speech",
        "preprocessor_speech_conf",
        "preprocessor_text",
        "seaco_id",
        "shuffle",
    ]
)
OWN_DATASET_KEYS = frozenset(
    ["buffer_shards", "data_split_num", "feature_cache", "piece_frames", "prefetch_factor", "running_text"]
)
UNUSED_TRAIN_KEYS = frozenset(
    [
        "deepspeed_config",
        "effective_save_name_excludes",
        "reset_gpu_cache",
        "use_lora",
        "use_wandb",
    ]
)


SETTINGS = frozenset(
    [
        "batch_size",
        "cmvn_file",
        "config",
        "ctc",
        "ctc_conf",
        "cudnn_deterministic",
        "data_list",
        "dataset",
        "dataset_conf",
        "debug",
        "decoder",
        "decoder_conf",
        "deepspeed_config",
        "device",
        "disable_log",
        "disable_pbar",
        "disable_update",
        "enable_tf32",
        "encoder",
        "encoder_conf",
        "excludes",
        "freeze_param",
        "frontend",
        "frontend_conf",
        "hub",
        "ignore_init_mismatch",
        "init_param",
        "input_size",
        "local_path",
        "log_level",
        "lora_bias",
        "loss_conf",
        "lora_only",
        "model",
        "model_conf",
        "model_revision",
        "ncpu",
        "normalize",
        "normalize_conf",
        "optim",
        "optim_conf",
        "output_dir",
        "own",
        "predictor",
        "predictor_conf",
        "remote_code",
        "report",
        "scheduler",
        "scheduler_conf",
        "scope_map",
        "seaco_decoder",
        "seaco_decoder_conf",
        "seed",
        "specaug",
        "specaug_conf",
        "token_list",
        "tokenizer",
        "tokenizer_conf",
        "train_conf",
        "train_data_set_list",
        "trust_remote_code",
        "use_ddp",
        "use_deepspeed",
        "use_fsdp",
        "valid_data_set_list",
        "vocab_size",
        "wandb_token",
        "backend",
    ]
)
"""Names at the top level of official recipes and commands. Those of the model's config.yaml are known too."""


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
    data_split_num: int | None
    """Groups of the files in the training list, of which one at a time is in memory."""
    buffer_shards: int
    """Where that is None: .tar and .parquet files of which the lines are in memory, and mixed, at once."""
    feature_cache: Path | None
    """Where features are kept."""
    train_list: Path | None
    """None, as that of validation, where training code makes its data."""
    valid_list: Path | None
    init_param: Path | None
    """Weights to begin with; None for a network trained from scratch."""
    freeze: tuple[str, ...] = ()
    """Parameters with these names, or below them, do not learn."""
    excludes: tuple[str, ...] = ()
    scope_map: tuple[str, ...] = ()
    lora_only: bool = False
    """What LoRA added learns, and integrate-and-fire; nothing else."""
    lora_bias: str = "none"
    """Biases that learn too: `none`, `all`, or with `lora_only` those of adapted layers."""

    @classmethod
    def of(cls, directory: ModelDir) -> Recipe:
        """Read the settings. Raises OptionError for a name or value that means nothing, InputError for lists
        that are not there."""
        raw = directory.config
        dataset, training = dict(section(raw, "dataset_conf")), dict(section(raw, "train_conf"))
        lesson_of(directory.model)
        # As upstream: at the top level, or in train_conf.
        lora_only = bool(raw.get("lora_only", training.pop("lora_only", False)))
        lora_bias = str(raw.get("lora_bias", training.pop("lora_bias", "none")))
        if lora_bias not in LORA_BIASES:
            raise OptionError(f"lora_bias is {lora_bias!r}; it is {', '.join(LORA_BIASES)}")
        for name in ("num_workers", "prefetch_factor"):
            if dataset.get(name) is not None and name not in training:
                training[name] = dataset[name]
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
            sampler=replace(sampler, max_token_length=ANY_LENGTH),
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
            data_split_num=_count(dataset, "data_split_num"),
            buffer_shards=_count(dataset, "buffer_shards") or BUFFER_SHARDS,
            feature_cache=_path(dataset.get("feature_cache")),
            train_list=_path(raw.get("train_data_set_list")),
            valid_list=_path(raw.get("valid_data_set_list")),
            init_param=directory.weights,
            freeze=_names(raw.get("freeze_param")),
            excludes=_names(raw.get("excludes")),
            scope_map=_names(raw.get("scope_map")),
            lora_only=lora_only,
            lora_bias=lora_bias,
        )


def refuse_unknown(names: Iterable[str], config: Mapping[str, Any]) -> None:
    """Raises OptionError for a name at the top level that neither `config` nor any training has."""
    for name in sorted(set(names) - SETTINGS - set(config)):
        parts = {"train_conf": TrainConfig, "dataset_conf": SamplerConfig, "optim_conf": OptimConfig}
        inside = [f"{part}.{name}" for part, cls in parts.items() if name in {f.name for f in fields(cls)}]
        hint = f". Did you mean {inside[0]!r}?" if inside else did_you_mean(name, SETTINGS | set(config))
        raise OptionError(f"{name!r} is no setting of the model's config.yaml, and none of training{hint}")


def _part(cls: type, dataset: Mapping[str, Any]) -> Any:
    """The fields of one dataclass out of `dataset_conf`, all of whose names are known."""
    own = {f.name for f in fields(cls)}
    others = {f.name for kind in (Limits, SamplerConfig, Augmentation) for f in fields(kind)} - {"seed"}
    known = own | others | UNUSED_DATASET_KEYS | OWN_DATASET_KEYS
    unknown = [key for key in dataset if key not in known]
    given = {key: value for key, value in dataset.items() if key in own}
    if unknown:  # the error of `options` names the nearest field
        given[unknown[0]] = dataset[unknown[0]]
    return options(cls, given, "dataset_conf")


def _known(given: Mapping[str, Any], unused: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in unused}


def _augmentation(dataset: Mapping[str, Any], seed: int) -> Augmentation:
    given = {f.name: dataset[f.name] for f in fields(Augmentation) if dataset.get(f.name) is not None}
    if dataset.get("preprocessor_speech") is not None:
        if dataset["preprocessor_speech"] != SPEED_PERTURB:
            raise OptionError(
                f"dataset_conf.preprocessor_speech is {dataset['preprocessor_speech']!r}; "
                f"{SPEED_PERTURB!r} is built"
            )
        conf = section(dataset, "preprocessor_speech_conf")
        given["speed_perturb"] = conf.get("speed_perturb") or ()
    return options(Augmentation, given | {"seed": seed}, "dataset_conf")


def _count(dataset: Mapping[str, Any], name: str) -> int | None:
    value = dataset.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise OptionError(f"dataset_conf.{name}={value!r}: expected 1 or more")
    return value


def _path(value: Any) -> Path | None:
    return Path(str(value)) if value else None


def _names(value: Any) -> tuple[str, ...]:
    """A list, or names with commas between them."""
    if not value:
        return ()
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(str(part).strip() for part in parts if str(part).strip())
