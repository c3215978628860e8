"""What training a SenseVoice minimises: CTC on the text, cross entropy on the four tags. Training only.

B batch, T frames, U ids. The first QUERIES ids of a target are tags: language, emotion, event, style.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from funasr.models.sense_voice.network import SenseVoiceSmall
from funasr.nn.ctc import ctc_loss
from funasr.nn.losses import accuracy, label_smoothing_loss
from funasr.nn.specaug import SpecAugLfrConfig, spec_augment
from funasr.stages.sense_voice import EMOTION_AND_EVENT, QUERIES, WITHOUT_ITN

TOLD = 0.8
"""Share of the training utterances whose language the network is told; of the others it has to find out."""


class SenseVoiceLoss:
    """Callable with (network, features, lengths, targets, target_lengths)."""

    def __init__(
        self,
        languages: Mapping[int, int],
        styles: Mapping[int, int],
        *,
        smoothing: float = 0.0,
        specaug: SpecAugLfrConfig | None = None,
    ) -> None:
        """languages and styles: id of a tag -> the row of the network's queries that asks for it."""
        self._languages, self._styles = languages, styles
        self._smoothing, self._specaug = smoothing, specaug

    def __call__(
        self,
        model: SenseVoiceSmall,
        features: Tensor,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """features (B, T, input), lengths (B,), targets (B, U), target_lengths (B,) -> loss, statistics.

        Statistics are detached scalars: `loss`, `loss_ctc`, `loss_rich`, `acc` (of the tags), and `tokens`.
        """
        if model.training and self._specaug is not None:
            features = spec_augment(features, self._specaug)
        tags, words = targets[:, :QUERIES], targets[:, QUERIES:]
        hidden = model(features, lengths, self.questions(tags, told=TOLD if model.training else 1.0))
        logits = model.ctc(hidden)
        loss_ctc = ctc_loss(logits[:, QUERIES:], lengths, words, target_lengths - QUERIES)
        loss_rich = label_smoothing_loss(logits[:, :QUERIES], tags, smoothing=self._smoothing)
        loss = loss_ctc + loss_rich
        stats = {
            "loss_ctc": loss_ctc,
            "loss_rich": loss_rich,
            "acc": accuracy(logits[:, :QUERIES], tags),
            "loss": loss,
            "tokens": target_lengths.sum(),
        }
        return loss, {name: value.detach() for name, value in stats.items()}

    def questions(self, tags: Tensor, *, told: float) -> Tensor:
        """tags (B, QUERIES) -> rows of queries (B, QUERIES); a language that nobody asks for is "auto", 0."""
        language, style = torch.zeros_like(tags[:, 0]), torch.full_like(tags[:, 0], WITHOUT_ITN)
        for id_, row in self._languages.items():
            language = language.masked_fill(tags[:, 0] == id_, row)
        for id_, row in self._styles.items():
            style = style.masked_fill(tags[:, 3] == id_, row)
        known = torch.rand(language.shape, device=tags.device) < told
        feelings = [torch.full_like(language, row) for row in EMOTION_AND_EVENT]
        return torch.stack([language * known, *feelings, style], dim=1)
