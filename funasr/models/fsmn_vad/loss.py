"""What training an fsmn-vad minimises. Read by training only. B batch, T frames."""

from __future__ import annotations

import torch
from torch import Tensor

from funasr.models.fsmn_vad.network import FsmnVad

DOUBT = 1e-5
"""The least probability that is told from none: one wrong frame must not outweigh all others."""


class FsmnVadLoss:
    """Cross entropy of each frame: does somebody speak? Classes that mean the same are one."""

    def __call__(
        self, model: FsmnVad, features: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """features (B, T, D), lengths (B,), targets (B, T) 1 speech, 0 none, -1 unknown -> loss, statistics.

        Statistics are detached scalars: `loss`; `acc`, the share of frames that are told right; `missed`, of
        speech that is taken for silence; `invented`, the other way; and `tokens`, the number of frames.
        """
        logits, _ = model(features, model.initial_state(len(features)))
        known = targets >= 0
        silence = model.silence(logits.float())[known].clamp(DOUBT, 1 - DOUBT)
        spoken = targets[known].bool()
        right = torch.where(spoken, 1 - silence, silence)
        loss = -right.log().sum() / known.sum().clamp(min=1)
        wrong = (right < 0.5).detach()
        return loss, {
            "loss": loss.detach(),
            "acc": 1 - wrong.float().sum() / known.sum().clamp(min=1),
            "missed": (wrong & spoken).sum() / spoken.sum().clamp(min=1),
            "invented": (wrong & ~spoken).sum() / (~spoken).sum().clamp(min=1),
            "tokens": known.sum(),
        }
