"""Optimisers and learning-rate schedules by their official names. An update is one step of the optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from funasr.errors import OptionError, did_you_mean

# Name -> class of torch, and the fields of OptimConfig that go to it beside lr.
_MOMENTS = ("betas", "eps")
_OPTIMIZERS: dict[str, tuple[Callable[..., Optimizer], tuple[str, ...]]] = {
    "adam": (torch.optim.Adam, _MOMENTS),
    "adamw": (torch.optim.AdamW, _MOMENTS),
    # fairseq's Adam takes weight decay from the weights and not through the gradient: torch's AdamW.
    "fairseq_adam": (torch.optim.AdamW, _MOMENTS),
    "sgd": (torch.optim.SGD, ("momentum", "nesterov")),
    "adadelta": (torch.optim.Adadelta, ("rho", "eps")),
    "adagrad": (torch.optim.Adagrad, ("lr_decay", "eps")),
    "adamax": (torch.optim.Adamax, _MOMENTS),
    "asgd": (torch.optim.ASGD, ("lambd", "alpha", "t0")),
    "rmsprop": (torch.optim.RMSprop, ("alpha", "eps", "momentum", "centered")),
    "rprop": (torch.optim.Rprop, ("etas", "step_sizes")),
}
OPTIMIZERS = tuple(_OPTIMIZERS)
FUSED = ("adam", "adamw", "fairseq_adam", "sgd", "adagrad")
"""One pass over the parameters instead of a dozen; several times faster on CPU as well."""
UNDECAYED = ("rprop",)
"""Without weight decay."""

FACTORS = (
    "warmuplr",
    "noamlr",
    "custom_lambdalr",
    "CosineAnnealingLR",
    "warmup_cosine",
    "warmup_stable_decay",
    "tri_stage",
)
# Name -> class of torch, and the fields of ScheduleConfig that go to it: those it needs, those it may have.
_SCHEDULES: dict[str, tuple[Callable[..., LRScheduler], tuple[str, ...], tuple[str, ...]]] = {
    "steplr": (lr_scheduler.StepLR, ("step_size",), ("gamma",)),
    "multisteplr": (lr_scheduler.MultiStepLR, ("milestones",), ("gamma",)),
    "exponentiallr": (lr_scheduler.ExponentialLR, ("gamma",), ()),
    "CosineAnnealingWarmRestarts": (
        lr_scheduler.CosineAnnealingWarmRestarts,
        ("T_0",),
        ("T_mult", "eta_min"),
    ),
    "ReduceLROnPlateau": (
        lr_scheduler.ReduceLROnPlateau,
        (),
        ("factor", "patience", "threshold", "cooldown", "min_lr"),
    ),
    "cycliclr": (
        lr_scheduler.CyclicLR,
        ("base_lr", "max_lr"),
        ("step_size_up", "step_size_down", "mode", "gamma", "cycle_momentum"),
    ),
    "onecyclelr": (
        lr_scheduler.OneCycleLR,
        ("max_lr",),
        (
            "total_steps",
            "epochs",
            "steps_per_epoch",
            "pct_start",
            "anneal_strategy",
            "div_factor",
            "final_div_factor",
            "cycle_momentum",
        ),
    ),
}
SCHEDULES = (*FACTORS, *_SCHEDULES)


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """`optim` and `optim_conf`. What is None is torch's default."""

    optim: str = "adam"
    lr: float = 0.0005
    betas: tuple[float, float] = (0.9, 0.999)
    """adam, adamw, fairseq_adam, adamax."""
    eps: float | None = None
    weight_decay: float = 0.0
    """Not applied to vectors (biases, norms)."""
    momentum: float = 0.0
    """sgd, rmsprop."""
    nesterov: bool = False
    """sgd."""
    rho: float | None = None
    """adadelta."""
    lr_decay: float | None = None
    """adagrad."""
    lambd: float | None = None
    """asgd, as t0."""
    alpha: float | None = None
    """asgd, rmsprop."""
    t0: float | None = None
    centered: bool = False
    """rmsprop."""
    etas: tuple[float, float] | None = None
    """rprop, as step_sizes."""
    step_sizes: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.optim == "lbfgs":
            raise OptionError(
                "optim 'lbfgs' asks for the loss several times an update, which batches that are drawn once "
                f"cannot give. Use one of {', '.join(OPTIMIZERS)}."
            )
        _check("optim", self.optim, OPTIMIZERS)
        if self.lr <= 0:
            raise OptionError(f"optim_conf.lr={self.lr!r}: expected more than 0")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """`scheduler` and `scheduler_conf`. What is None is torch's default, or has to be given."""

    scheduler: str = "warmuplr"
    warmup_steps: int = 25000
    total_steps: int = 0
    """Updates until the rate is at its end. warmuplr and noamlr have no end."""
    model_size: int = 512
    """noamlr."""
    decay_steps: int = 0
    """warmup_stable_decay: the rate stays at its height until so many updates before total_steps, then falls
    in a straight line. A run can be made longer without changing what it has done. tri_stage: its end."""
    final: float = 0.0
    """CosineAnnealingLR and the warmup_ two: the rate at the end, as a share of `lr`."""
    hold_steps: int = 0
    """tri_stage: updates at the full rate, behind warmup_steps and before decay_steps."""
    phase_ratio: tuple[float, float, float] | None = None
    """tri_stage: the three parts as shares of total_steps instead."""
    init_lr_scale: float = 0.01
    """tri_stage: the rate at the beginning, as a share of `lr`."""
    final_lr_scale: float = 0.01
    """tri_stage: and at the end."""
    T_max: int | None = None
    """CosineAnnealingLR: total_steps by its name in torch."""
    eta_min: float | None = None
    """CosineAnnealingLR and CosineAnnealingWarmRestarts: the lowest rate."""
    T_0: int | None = None
    T_mult: int | None = None
    step_size: int | None = None
    milestones: tuple[int, ...] | None = None
    gamma: float | None = None
    factor: float | None = None
    """ReduceLROnPlateau, as the five below. It follows the loss of each validation; patience counts those."""
    patience: int | None = None
    threshold: float | None = None
    cooldown: int | None = None
    min_lr: float | None = None
    base_lr: float | None = None
    """cycliclr."""
    max_lr: float | None = None
    """cycliclr and onecyclelr."""
    step_size_up: int | None = None
    step_size_down: int | None = None
    mode: str | None = None
    cycle_momentum: bool | None = None
    epochs: int | None = None
    """onecyclelr: with steps_per_epoch, instead of total_steps."""
    steps_per_epoch: int | None = None
    pct_start: float | None = None
    anneal_strategy: str | None = None
    div_factor: float | None = None
    final_div_factor: float | None = None

    def __post_init__(self) -> None:
        if self.scheduler == "lambdalr":
            raise OptionError(
                "scheduler 'lambdalr' needs a Python function, which no setting can hold: use "
                "'custom_lambdalr' (warmup_steps, total_steps), or give Trainer a scheduler of your own"
            )
        _check("scheduler", self.scheduler, SCHEDULES)
        if self.warmup_steps < 1:
            raise OptionError(f"scheduler_conf.warmup_steps={self.warmup_steps!r}: expected 1 or more")
        if self.scheduler in _SCHEDULES:
            for name in _SCHEDULES[self.scheduler][1]:
                self._need(name, getattr(self, name) is not None)
        if self.scheduler in ("custom_lambdalr", "warmup_cosine"):
            self._need("total_steps, 1 or more", self.total_steps > 0)
        if self.scheduler == "CosineAnnealingLR":
            self._need("T_max or total_steps, 1 or more", (self.T_max or self.total_steps) > 0)
        if self.scheduler == "onecyclelr":
            given = bool(self.total_steps or (self.epochs and self.steps_per_epoch))
            self._need("total_steps (or epochs and steps_per_epoch)", given)
        if self.scheduler == "tri_stage":
            by_share = self.phase_ratio is not None
            self._need("total_steps beside phase_ratio", not by_share or self.total_steps > 0)
            self._need("decay_steps (or phase_ratio and total_steps)", by_share or self.decay_steps > 0)

    def _need(self, what: str, given: bool) -> None:
        if not given:
            raise OptionError(f"scheduler {self.scheduler!r} needs scheduler_conf.{what}")


def build_optimizer(config: OptimConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Over the parameters that learn. Vectors are in a group without weight decay."""
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    if not learning:
        raise OptionError("nothing is left to learn: freeze_param names every parameter of the network")
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optim in UNDECAYED:
        groups = [{"params": learning}]
    groups = [group for group in groups if group["params"]]
    kind, names = _OPTIMIZERS[config.optim]
    given = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    if config.optim in FUSED:
        given["fused"] = True
    return kind(groups, lr=config.lr, **given)


def build_scheduler(config: ScheduleConfig, optimizer: Optimizer) -> LRScheduler:
    """For `advance` after each update; ReduceLROnPlateau's `step` is called with each validation's loss."""
    if config.scheduler not in _SCHEDULES:
        return LambdaLR(optimizer, schedule(config, float(optimizer.param_groups[0]["lr"])))
    kind, needed, optional = _SCHEDULES[config.scheduler]
    given = {name: getattr(config, name) for name in (*needed, *optional)}
    given = {name: value for name, value in given.items() if value is not None}
    if config.scheduler == "onecyclelr" and not config.total_steps:
        given.pop("total_steps", None)
    try:
        scheduler: LRScheduler = kind(optimizer, **given)
    except (TypeError, ValueError) as error:
        raise OptionError(f"scheduler {config.scheduler!r}: {error}") from error
    return scheduler


def advance(scheduler: LRScheduler) -> None:
    """After an update. A schedule at its end stays there; one that follows validations stands still."""
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        return
    if isinstance(scheduler, lr_scheduler.OneCycleLR) and scheduler.last_epoch >= scheduler.total_steps - 1:
        return
    scheduler.step()


def schedule(config: ScheduleConfig, lr: float = 1.0) -> Callable[[int], float]:
    """Updates done -> the factor on `lr` for the next update. For the names in FACTORS."""
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
        share = min(1.0, done / (config.T_max or total))
        final = config.final if config.eta_min is None else config.eta_min / lr
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))

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

    def tri_stage(done: int) -> float:
        shares = config.phase_ratio
        parts = (
            [warm, config.hold_steps, config.decay_steps] if shares is None else [s * total for s in shares]
        )
        rise, hold, fall = parts
        if done < rise:
            return config.init_lr_scale + (1 - config.init_lr_scale) * done / rise
        if done < rise + hold:
            return 1.0
        # As fairseq: from the full rate down to the last by the same factor in each update.
        gone = min(1.0, (done - rise - hold) / fall) if fall else 1.0
        return float(config.final_lr_scale**gone)

    factors = (warmuplr, noamlr, custom_lambdalr, cosine, warmup_cosine, warmup_stable_decay, tri_stage)
    return dict(zip(FACTORS, factors, strict=True))[config.scheduler]


def _check(option: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise OptionError(
            f"{option} {name!r} is not known{did_you_mean(name, known) or '.'} Known: {', '.join(known)}."
        )
