"""Losses -> updates: gradients gathered over batches and processes, scaled, clipped, and judged.

An update learns from a group of batches: `accum_grad` of each process. With token weighting its gradient is
that of one batch which holds them all.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from funasr.errors import FunASRError
from funasr.train.config import TrainConfig
from funasr.train.distributed import Ranks
from funasr.train.optim import advance

logger = logging.getLogger(__name__)

UNIT = 256.0
"""Losses are added as weight / UNIT times themselves, so that gradients keep their order of size until the
sum of the weights is known. A power of two: it rounds nothing."""
MOST_SKIPPED = 100
"""Updates in a row that may be thrown away. fp16 begins with too large a scale, and throws away some 15."""


class Updater:
    """Optimiser, schedule and loss scale, and what the batches of the open group have weighed so far."""

    def __init__(
        self,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        config: TrainConfig,
        ranks: Ranks,
        device: torch.device,
    ) -> None:
        self.optimizer, self.scheduler = optimizer, scheduler
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.use_fp16)
        self._config, self._ranks, self._device = config, ranks, device
        self._skipped = 0
        self._clear()

    def backward(self, loss: Tensor, weight: Tensor | float, group: int) -> None:
        """Add the gradient of a batch; `group` is the number of batches in this process' group."""
        if self._alone(group):
            share = loss
        elif self._config.loss_weighting == "rank":
            share = loss / group
        else:
            share = loss * (weight / UNIT)
        with torch.no_grad():
            self._tally[0] += weight
            self._tally[1] += ~torch.isfinite(loss.detach())
        self._gathered += 1
        self.scaler.scale(share).backward()  # type: ignore[no-untyped-call]

    def step(self, batch_total: int) -> float | None:
        """Clip and step, and return the norm of the gradient before.

        None where the gradient or a loss of the group was not finite, in any process: then nothing changes,
        and all processes know. Raises FunASRError when that does not end.
        """
        tally = self._ranks.sum(self._tally)
        self.scaler.unscale_(self.optimizer)
        if not self._alone(self._gathered) and self._config.loss_weighting == "token":
            self._multiply(UNIT * self._ranks.world / max(float(tally[0]), 1e-8))
        norm = self._clip()
        faults = int(tally[1])
        finite = math.isfinite(norm) and not faults
        if finite:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            advance(self.scheduler)
        else:
            self._tell(batch_total, faults)
            if self.scaler.is_enabled():
                # Told rather than left to the scaler: with shares of weights not every process saw the fault.
                self.scaler.update(self.scaler.get_scale() * self.scaler.get_backoff_factor())
        self._skipped = 0 if finite else self._skipped + 1
        self.optimizer.zero_grad(set_to_none=True)
        self._clear()
        if self._skipped >= MOST_SKIPPED:
            raise FunASRError(
                f"batch {batch_total}: {MOST_SKIPPED} updates in a row had no finite loss or gradient. Try a "
                "lower optim_conf.lr, a longer warm-up, or train_conf.use_bf16 instead of use_fp16"
            )
        return norm if finite else None

    def validated(self, loss: float | None) -> None:
        """Tell a schedule that follows the loss on the validation set."""
        if isinstance(self.scheduler, ReduceLROnPlateau) and loss is not None:
            self.scheduler.step(loss)

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return float(self.optimizer.param_groups[0]["lr"])

    def _clear(self) -> None:
        self._tally = torch.zeros(2, dtype=torch.float64, device=_exact(self._device))
        self._gathered = 0

    def _alone(self, group: int) -> bool:
        """Whether an update is one batch of one process, whatever it weighs."""
        return group <= 1 and self._ranks.world == 1

    def _multiply(self, factor: float) -> None:
        gradients = [parameter.grad for parameter in self._parameters() if parameter.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, factor)

    def _clip(self) -> float:
        gradients = [parameter.grad for parameter in self._parameters() if parameter.grad is not None]
        kind = self._config.grad_clip_type
        total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, kind)), kind)
        norm = float(total.full_tensor() if isinstance(total, DTensor) else total)
        limit = self._config.grad_clip or math.inf
        if norm > limit:
            # As torch's clip_grad_norm_, which passes over gradients that are short enough as well.
            torch._foreach_mul_(gradients, limit / (norm + 1e-6))
        return norm

    def _parameters(self) -> Iterator[nn.Parameter]:
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def _tell(self, batch_total: int, faults: int) -> None:
        if self._ranks.first:
            what = "loss" if faults else "gradient"
            scale = f" (loss scale {self.scaler.get_scale():g})" if self.scaler.is_enabled() else ""
            logger.warning("batch %d: the %s is not finite%s; no update", batch_total, what, scale)


def _exact(device: torch.device) -> torch.device:
    """Where float64 is: Apple's GPUs have none."""
    return torch.device("cpu") if device.type == "mps" else device
