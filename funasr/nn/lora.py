"""LoRA: a linear layer that learns by two thin matrices beside its weight. Names are the checkpoint's.

in, out: widths of the layer; r rank; n of its equal parts that are adapted (of a merged q, k, v layer).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from funasr.errors import ModelFilesError

PARTS = ("q", "k", "v", "o")
MARK = "lora_"
"""In the names of the thin matrices, and in no other."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """`lora_*` of the official `encoder_conf` and `decoder_conf`."""

    parts: tuple[str, ...] = ()
    """`lora_list`: of q, k, v and o those that are adapted."""
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.1

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise ModelFilesError(f"lora_list has {unknown[0]!r}: its entries are {', '.join(PARTS)}")
        if self.parts and self.rank < 1:
            raise ModelFilesError(f"lora_rank is {self.rank}: it must be 1 or more")
        if not 0 <= self.dropout < 1:
            raise ModelFilesError(f"lora_dropout is {self.dropout}: it lies between 0 and 1")

    def linear(self, inputs: int, outputs: int, parts: str) -> nn.Linear:
        """A layer whose output is that of `parts` side by side ("qkv"): adapted where any of them is."""
        adapted = [part in self.parts for part in parts]
        return LoraLinear(inputs, outputs, adapted, self) if any(adapted) else nn.Linear(inputs, outputs)


class LoraLinear(nn.Linear):
    """W x + b + alpha / r * B A dropout(x). B is zero at first, so that a fresh layer is the plain one."""

    def __init__(self, inputs: int, outputs: int, adapted: Sequence[bool], config: LoraConfig) -> None:
        super().__init__(inputs, outputs)
        self.adapted = tuple(adapted)
        self.scale, self.dropout = config.alpha / config.rank, config.dropout
        count, part = sum(adapted), outputs // len(adapted)
        self.lora_A = nn.Parameter(torch.empty(config.rank * count, inputs))
        self.lora_B = nn.Parameter(torch.zeros(part * count, config.rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in) -> (..., out)."""
        thin = F.linear(F.dropout(x, self.dropout, self.training), self.lora_A)
        return super().forward(x) + F.linear(thin, self._spread() * self.scale)

    def merged(self) -> nn.Linear:
        """The same as a plain layer, for inference."""
        with torch.no_grad():
            plain = nn.Linear(self.in_features, self.out_features, device="meta")
            weight = self.weight + self.scale * (self._spread() @ self.lora_A)
            plain.weight, plain.bias = nn.Parameter(weight), nn.Parameter(self.bias)
        return plain.train(self.training)

    def _spread(self) -> Tensor:
        """lora_B (n * part, r) -> (out, n * r): each part's own block, and zeros for those without."""
        blocks = self.lora_B.chunk(sum(self.adapted))
        if len(self.adapted) == 1:
            return blocks[0]
        rank, part = blocks[0].shape[1], blocks[0].shape[0]
        rows, given = [], 0
        for adapted in self.adapted:
            before = given * rank
            behind = (len(blocks) - given) * rank
            if adapted:
                rows.append(F.pad(blocks[given], (before, behind - rank)))
                given += 1
            else:
                rows.append(self.lora_B.new_zeros(part, before + behind))
        return torch.cat(rows)


def merge_lora(model: nn.Module) -> None:
    """Put plain layers in the place of adapted ones, with the same results."""
    for name, child in model.named_children():
        if isinstance(child, LoraLinear):
            setattr(model, name, child.merged())
        else:
            merge_lora(child)
