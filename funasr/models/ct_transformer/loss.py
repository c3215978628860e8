"""What training a CT-Transformer minimises. Read by training only. B batch, T words, C labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from funasr.config import section
from funasr.errors import ModelFilesError
from funasr.models.ct_transformer.config import CtTransformerConfig
from funasr.models.ct_transformer.network import CTTransformer
from funasr.nn.layers import frame_mask
from funasr.nn.losses import accuracy

NO_MARK = 1
"""The label `_` of the released models' `punc_list`."""


class CtTransformerLoss:
    """Cross entropy of each word's label, weighted by label; what has no label counts for nothing."""

    def __init__(
        self, config: CtTransformerConfig, *, punc_weight: Sequence[float] = (), ignore_id: int = 0
    ) -> None:
        """`punc_weight`: a weight for each label; without it all count 1.

        Raises ModelFilesError when there is not one for each.
        """
        if punc_weight and len(punc_weight) != config.labels:
            raise ModelFilesError(
                f"config.yaml: model_conf.punc_weight has {len(punc_weight)} entries; it must have one for "
                f"each of the {config.labels} labels of punc_list"
            )
        self.ignore_id = ignore_id
        self.weights = torch.tensor([float(weight) for weight in punc_weight] or [1.0] * config.labels)

    @classmethod
    def from_official(cls, raw: Mapping[str, Any], config: CtTransformerConfig) -> CtTransformerLoss:
        """`punc_weight` and `ignore_id` of a config.yaml's model_conf."""
        model = section(raw, "model_conf")
        return cls(
            config,
            punc_weight=tuple(model.get("punc_weight") or ()),
            ignore_id=int(model.get("ignore_id", 0)),
        )

    def __call__(
        self,
        model: CTTransformer,
        ids: Tensor,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
        boundaries: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """ids (B, T), lengths (B,), targets (B, T) labels, target_lengths (B,) -> loss, statistics.

        boundaries (B,), for networks of live texts: how many words of each row were there before. Words
        labelled `ignore_id`, and those behind `target_lengths`, are not learned from.

        Statistics are detached scalars: `loss`, `acc` over all words, `f1` over all marks, and `tokens` (the
        number of words the loss was averaged over).
        """
        known = frame_mask(target_lengths, targets.shape[1])
        labels = targets.masked_fill(~known, self.ignore_id)
        logits = model(ids, lengths, boundaries).float()
        weights = self.weights.to(logits.device)
        loss = F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), weights, ignore_index=self.ignore_id, reduction="sum"
        )
        # The mean over words, each as heavy as its label.
        seen = labels != self.ignore_id
        loss = loss / (weights[labels] * seen).sum().clamp(min=1e-8)
        stats = {
            "loss": loss.detach(),
            "acc": accuracy(logits, labels, self.ignore_id),
            "f1": mark_f1(logits, labels, self.ignore_id),
            "tokens": seen.sum(),
        }
        return loss, stats


@torch.no_grad()
def mark_f1(logits: Tensor, labels: Tensor, ignore_id: int = 0) -> Tensor:
    """F1 over all marks together; `_` is none. logits (B, T, C), labels (B, T); 0 where there is no mark."""
    seen = labels != ignore_id
    guess = logits.argmax(dim=-1)
    found, there = (guess > NO_MARK) & seen, (labels > NO_MARK) & seen
    hits = (found & (guess == labels)).sum()
    return 2 * hits / (found.sum() + there.sum()).clamp(min=1)
