"""Optimisers and learning-rate schedules by their official names. An update is one step of the optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from funasr.errors import OptionError, did_you_mean

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = (
    "warmuplr",
    "noamlr",
    "custom_lambdalr",
    "CosineAnnealingLR",
    "warmup_cosine",
    "warmup_stable_decay",
)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """`optim` and `optim_conf`."""

    optim: str = "adam"
    lr: float = 0.0005
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    """Not applied to vectors (biases, norms)."""
    momentum: float = 0.0
    """Of sgd."""

    def __post_init__(self) -> None:
        _check("optim", self.optim, OPTIMIZERS)
        if self.lr <= 0:
            raise OptionError(f"optim_conf.lr={self.lr!r}: expected more than 0")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """`scheduler` and `scheduler_conf`."""

    scheduler: str = "warmuplr"
    warmup_steps: int = 25000
    total_steps: int = 0
    """Updates until the rate is at its end (T_max of CosineAnnealingLR). warmuplr and noamlr have no end."""
    model_size: int = 512
    """noamlr."""
    decay_steps: int = 0
    """warmup_stable_decay: the rate stays at its height until so many updates before total_steps, then falls
    in a straight line. A run can be made longer without changing what it has done."""
    final: float = 0.0
    """CosineAnnealingLR and the warmup_ two: the rate at the end, as a share of `lr`."""

    def __post_init__(self) -> None:
        _check("scheduler", self.scheduler, SCHEDULES)
        if self.warmup_steps < 1:
            raise OptionError(f"scheduler_conf.warmup_steps={self.warmup_steps!r}: expected 1 or more")
        if (
            self.scheduler in ("custom_lambdalr", "warmup_cosine", "CosineAnnealingLR")
            and self.total_steps < 1
        ):
            raise OptionError(f"scheduler {self.scheduler!r} needs scheduler_conf.total_steps, 1 or more")


def build_optimizer(config: OptimConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Over the parameters that learn. Vectors are in a group without weight decay."""
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optim == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    kind = torch.optim.AdamW if config.optim == "adamw" else torch.optim.Adam
    # Fused: one pass over the parameters instead of a dozen; several times faster on CPU as well.
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def build_scheduler(config: ScheduleConfig, optimizer: Optimizer) -> LambdaLR:
    """Call its `step()` once after each update."""
    return LambdaLR(optimizer, schedule(config))


def schedule(config: ScheduleConfig) -> Callable[[int], float]:
    """Updates done -> the factor on `lr` for the next update."""
    warm, total = config.warmup_steps, config.total_steps

    def warmuplr(done: int) -> float:
        n = done + 1
        return math.sqrt(warm) * min(float(n**-0.5), float(n * warm**-1.5))

    def noamlr(done: int) -> float:
        n = done + 1
        return float(config.model_size**-0.5 * min(n**-0.5, n * warm**-1.5))

    def custom_lambdalr(done: int) -> float:
        return done / warm if done < warm else max(0.0, 1 - (done - warm) / max(1, total - warm))

    def cosine(done: int) -> float:
        share = min(1.0, done / total)
        return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * share))

    def warmup_cosine(done: int) -> float:
        if done < warm:
            return (done + 1) / warm
        share = min(1.0, (done - warm) / max(1, total - warm))
        return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * share))

    def warmup_stable_decay(done: int) -> float:
        if done < warm:
            return (done + 1) / warm
        left = max(0.0, (total - done) / max(1, config.decay_steps))
        return config.final + (1 - config.final) * min(1.0, left)

    factors = (warmuplr, noamlr, custom_lambdalr, cosine, warmup_cosine, warmup_stable_decay)
    return dict(zip(SCHEDULES, factors, strict=True))[config.scheduler]


def _check(option: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise OptionError(
            f"{option} {name!r} is not known{did_you_mean(name, known) or '.'} Known: {', '.join(known)}."
        )
