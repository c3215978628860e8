"""`train_conf` as a dataclass: how long, how often, how many together, and what is kept."""

from __future__ import annotations

from dataclasses import dataclass

from funasr.errors import OptionError

CHOICES = {"avg_keep_nbest_models_type": ("acc", "loss"), "loss_weighting": ("token", "rank")}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Official names, and official defaults but for `keep_nbest_models` (500 there)."""

    max_epoch: int = 100
    log_interval: int = 50
    """Batches between two lines in the log."""
    validate_interval: int = 5000
    """Batches of an epoch between two validations; there is always one at its end. -1: as often as saved."""
    save_checkpoint_interval: int = 5000
    """Batches of an epoch between two checkpoints; there is always one at its end. -1: none but that."""
    keep_nbest_models: int = 10
    avg_keep_nbest_models_type: str = "acc"
    avg_nbest_model: int = 10
    accum_grad: int = 1
    """Batches that one update learns from, in each process."""
    loss_weighting: str = "token"
    """What batches count where an update has several, by accumulation or in several processes. `token`: as
    much as they have targets, so that the update is that of one large batch; `rank`: all the same."""
    grad_clip: float = 10.0
    """Gradients with a larger norm are made that long; 0 leaves them as they are."""
    grad_clip_type: float = 2.0
    """Which norm."""
    early_stopping_patience: int = 0
    """Stop after so many epochs without a smaller loss on the validation set; 0 never does."""
    resume: bool = True
    use_fp16: bool = False
    use_bf16: bool = False
    use_fsdp: bool = False
    """Several processes have a share of each weight, instead of each having all (FSDP2 instead of DDP)."""
    use_deepspeed: bool = False
    find_unused_parameters: bool = True
    """With DDP: the loss need not reach every parameter in every batch. False saves a look at its graph."""
    use_tensorboard: bool = False
    seed: int = 0
    num_workers: int = 0
    """Processes that prepare batches; 0 prepares them in this one. The data is the same."""
    prefetch_factor: int = 8
    """Batches that each of these processes is ahead."""
    max_seconds: float | None = None
    """Stop after the update that passes this, as if max_epoch were reached. Such a run is not repeatable."""

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise OptionError(
                    f"train_conf.{name}={getattr(self, name)!r}: expected {' or '.join(map(repr, known))}"
                )
        counts = ("max_epoch", "log_interval", "accum_grad", "keep_nbest_models", "avg_nbest_model")
        for name in (*counts, "prefetch_factor"):
            if getattr(self, name) < 1:
                raise OptionError(f"train_conf.{name}={getattr(self, name)!r}: expected 1 or more")
        for name in ("validate_interval", "save_checkpoint_interval"):
            if getattr(self, name) < 1 and getattr(self, name) != -1:
                raise OptionError(f"train_conf.{name}={getattr(self, name)!r}: expected 1 or more, or -1")
        for name in ("grad_clip", "early_stopping_patience", "num_workers"):
            if getattr(self, name) < 0:
                raise OptionError(f"train_conf.{name}={getattr(self, name)!r}: expected 0 or more")
        if self.grad_clip_type <= 0:
            raise OptionError(f"train_conf.grad_clip_type={self.grad_clip_type!r}: expected more than 0")
        if self.use_fp16 and self.use_bf16:
            raise OptionError("train_conf.use_fp16 and use_bf16 are both on: choose one")
        if self.use_deepspeed:
            raise OptionError(
                "train_conf.use_deepspeed is on: sharing out weights, gradients and optimiser among "
                "processes is FSDP2's work here. Use train_conf.use_fsdp=true and use_deepspeed=false"
            )

    @property
    def validates_every(self) -> int:
        """Batches between validations within an epoch; 0 for none but at its end."""
        return self.saves_every if self.validate_interval == -1 else self.validate_interval

    @property
    def saves_every(self) -> int:
        """Batches between checkpoints within an epoch; 0 for none but at its end."""
        return max(0, self.save_checkpoint_interval)
