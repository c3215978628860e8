"""What training a speaker model minimises: voices of one speaker point one way, apart from others.

B utterances, E embedding size, S speakers of the training set, P pairs of utterances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from funasr.errors import OptionError


class AngularMarginLoss(nn.Module):
    """Additive angular margin softmax: cross entropy over the cosines with one direction per speaker.

    The right speaker's angle counts as larger by `margin` than it is: to be the nearest is not enough. From
    ArcFace, Deng et al. 2019 (arXiv:1801.07698). Holds those directions, which only training needs.
    """

    def __init__(self, size: int, speakers: int, *, margin: float = 0.2, scale: float = 32.0) -> None:
        """size: E. margin: radians; may be changed between updates, to begin without. scale: of cosines."""
        super().__init__()
        self.margin, self.scale = margin, scale
        # Of length 1 or so, as far as an optimiser with steps of a set size is to turn them.
        self.weight = nn.Parameter(torch.randn(speakers, size) / math.sqrt(size))

    def forward(self, voices: Tensor, speakers: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """voices (B, E) of any length, speakers (B,) 0 to S - 1 -> loss, statistics.

        Statistics are detached scalars: `loss`, and `acc`, the share of voices nearest to their own speaker.
        """
        cosines = F.linear(F.normalize(voices.float()), F.normalize(self.weight))
        right = speakers[:, None]
        own = cosines.gather(1, right)
        loss = F.cross_entropy(self.scale * cosines.scatter(1, right, self._with_margin(own)), speakers)
        hits = (cosines.detach().argmax(dim=1) == speakers).float().mean()
        return loss, {"loss": loss.detach(), "acc": hits}

    def _with_margin(self, own: Tensor) -> Tensor:
        """cos(angle + margin); where that would rise again, near the opposite, a line that falls on."""
        sines = (1.0 - own.square()).clamp(min=1e-7).sqrt()
        shifted = own * math.cos(self.margin) - sines * math.sin(self.margin)
        return torch.where(own > -math.cos(self.margin), shifted, own - math.sin(self.margin) * self.margin)


class PairLoss(nn.Module):
    """Which utterance is of the same speaker as this one? Cross entropy over the cosines within a batch.

    Angular prototypical loss with one utterance to compare with, both ways around; from Chung et al. 2020
    (arXiv:2003.11982). It needs no direction per speaker, so it learns from the first batch on.
    """

    def __init__(self, scale: float = 10.0) -> None:
        """scale: of cosines, to begin with; it is learnt."""
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, first: Tensor, second: Tensor, speakers: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """first, second (P, E): two utterances of each of `speakers` (P,) -> loss, statistics.

        Statistics are detached scalars: `loss`, and `acc`, the share of `first` whose nearest `second` is
        their own. Two pairs of one speaker are not told apart.
        """
        likeness = F.normalize(first.float()) @ F.normalize(second.float()).T * self.log_scale.exp()
        own = torch.eye(len(speakers), dtype=torch.bool, device=speakers.device)
        same = speakers[:, None] == speakers[None, :]
        likeness = likeness.masked_fill(same & ~own, -math.inf)
        right = torch.arange(len(speakers), device=speakers.device)
        loss = (F.cross_entropy(likeness, right) + F.cross_entropy(likeness.T, right)) / 2
        hits = (likeness.detach().argmax(dim=1) == right).float().mean()
        return loss, {"loss": loss.detach(), "acc": hits}


@dataclass(frozen=True, kw_only=True)
class SpeakerLossConfig:
    """`loss_conf` of a speaker model's training; ours, as no released config.yaml has one."""

    names_weight: float = 1.0
    """Of telling which speaker of the training list it is (AngularMarginLoss)."""
    pairs_weight: float = 1.0
    """Of telling which pieces of a batch are of one speaker (PairLoss)."""
    margin: float = 0.2
    scale: float = 32.0

    def __post_init__(self) -> None:
        if min(self.names_weight, self.pairs_weight) < 0 or self.names_weight + self.pairs_weight <= 0:
            raise OptionError(
                f"loss_conf has names_weight={self.names_weight} and pairs_weight={self.pairs_weight}: one "
                "of them is more than 0, and none less"
            )


class SpeakerLoss(nn.Module):
    """Both losses over pairs of pieces. Evaluation is of pairs alone, so its speakers may be others."""

    def __init__(self, size: int, speakers: int, config: SpeakerLossConfig) -> None:
        """size: E."""
        super().__init__()
        self.config = config
        self.names: AngularMarginLoss | None = None
        if config.names_weight:
            self.names = AngularMarginLoss(size, speakers, margin=config.margin, scale=config.scale)
        self.pairs = PairLoss().requires_grad_(config.pairs_weight > 0)

    def forward(
        self, model: nn.Module, features: Tensor, targets: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """features (P, 2 T, F): two pieces behind one another, targets (P,) -> loss, statistics.

        Statistics are detached scalars: `loss`; `acc`, the share of pieces whose nearest one in the batch is
        of their speaker; with names while training `acc_names`, the share that is nearest to its own name.
        """
        pieces = torch.cat(features.chunk(2, dim=1))
        voices = model(pieces)
        first, second = voices.chunk(2)
        loss, stats = self.pairs(first, second, targets)
        if not self.training:
            return loss, stats
        loss = self.config.pairs_weight * loss
        if self.names is not None:
            named, of_names = self.names(voices, targets.repeat(2))
            loss = loss + self.config.names_weight * named
            stats["acc_names"] = of_names["acc"]
        stats["loss"] = loss.detach()
        return loss, stats
