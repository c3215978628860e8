"""What training a Paraformer minimises. Read by training only. hotword_loss.py has those that hear hotwords.

Two passes a batch: the first (no gradient) sees how many tokens the model gets wrong; the second is given the
true embedding of some of those (the glancing sampler), and is what learns. B batch, T frames, U tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from funasr.models.paraformer.chunks import ChunkLayout, ChunkRecipe, encode
from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.paraformer.network import Encoded, Paraformer
from funasr.nn.cif import CifPredictorV3, Prediction, token_bounds, weigh
from funasr.nn.ctc import ctc_loss
from funasr.nn.layers import Padding, frame_mask
from funasr.nn.losses import label_smoothing_loss, quantity_loss, share_right
from funasr.nn.specaug import spec_augment

Decode = Callable[[Tensor], Tensor]


class ParaformerLoss:
    """Cross entropy on tokens plus the error in their number; for BiCif also that of the timestamp head."""

    def __init__(self, config: ParaformerConfig) -> None:
        self.config = config

    def __call__(
        self, model: Paraformer, features: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """features (B, T, input), lengths (B,), targets (B, L) ids, target_lengths (B,) -> loss, statistics.

        Statistics are detached scalars: `loss`, `loss_att`, `acc` (of the first pass), `loss_pre`, for BiCif
        `loss_pre2`, with a CTC head `loss_ctc`, and `tokens` (the targets the loss was averaged over).
        """
        config = self.config
        labels, counts = with_end(targets, target_lengths, config)
        encoded, predicted, decode = self._listen(model, self._masked(model, features), lengths, counts)
        return self._weigh(model, encoded, predicted, decode, labels, counts)

    def _masked(self, model: Paraformer, features: Tensor) -> Tensor:
        if model.training and self.config.specaug is not None:
            return spec_augment(features, self.config.specaug)
        return features

    def _weigh(
        self,
        model: Paraformer,
        encoded: Encoded,
        predicted: Prediction,
        decode: Decode,
        labels: Tensor,
        counts: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """All that is behind the predictor."""
        config = self.config
        with torch.no_grad():
            first = model.decoder.logits(decode(predicted.embeds)).argmax(dim=-1)
        embeds = predicted.embeds
        if model.training and config.sampling_ratio > 0:
            shown = glance(first, labels, config.sampling_ratio, config.ignore_id)
            embeds = torch.where(shown[:, :, None], self._true_embeds(model, labels).to(embeds.dtype), embeds)
        logits = model.decoder.logits(decode(embeds))
        loss_att = label_smoothing_loss(
            logits,
            labels,
            smoothing=config.lsm_weight,
            ignore_id=config.ignore_id,
            normalize_length=config.length_normalized_loss,
        )
        loss_pre = self._quantity(predicted.quantity, counts)
        loss = (1 - config.ctc_weight) * loss_att + config.predictor_weight * loss_pre
        stats = {
            "loss_att": loss_att,
            "acc": share_right(first, labels, config.ignore_id),
            "loss_pre": loss_pre,
        }
        if isinstance(model.predictor, CifPredictorV3):
            loss_pre2 = self._fine_quantity(model.predictor, encoded, counts)
            # As upstream: the timestamp head counts half.
            loss = loss + 0.5 * config.predictor_weight * loss_pre2
            stats["loss_pre2"] = loss_pre2
        if config.ctc_weight:
            # It hears no end of the sentence.
            words = counts - config.predictor_bias
            scores = model.ctc(encoded.memory)
            loss_ctc = ctc_loss(scores, encoded.lengths, labels, words, config.blank_id)
            loss = loss + config.ctc_weight * loss_ctc
            stats["loss_ctc"] = loss_ctc
        stats |= {"loss": loss, "tokens": counts.sum()}
        return loss, {name: value.detach() for name, value in stats.items()}

    def _listen(
        self, model: Paraformer, features: Tensor, lengths: Tensor, counts: Tensor
    ) -> tuple[Encoded, Prediction, Decode]:
        """Everything in front of the decoder, and the decoder as a function of (B, U, D) embeddings alone."""
        encoded = model.encode(features, lengths, padded=_padded(lengths, features.shape[1]))
        predicted: Prediction = model.predictor(encoded.memory, lengths, counts)
        padded = _padded(counts, predicted.embeds.shape[1])
        return encoded, predicted, lambda embeds: model.decode(embeds, counts, encoded, padded=padded)

    def _quantity(self, predicted: Tensor, counts: Tensor) -> Tensor:
        return quantity_loss(predicted, counts, normalize_length=self.config.length_normalized_loss)

    def _fine_quantity(self, predictor: CifPredictorV3, encoded: Encoded, counts: Tensor) -> Tensor:
        return self._quantity(predictor.fine_weights(encoded.memory, encoded.lengths).sum(dim=1), counts)

    def _true_embeds(self, model: Paraformer, labels: Tensor) -> Tensor:
        ids = labels.clamp(min=0)
        if self.config.share_embedding:
            assert model.decoder.output_layer is not None
            return model.decoder.output_layer.weight[ids]
        return model.decoder.embedded(ids)


class ParaformerStreamingLoss(ParaformerLoss):
    """The same of a model that hears blocks. Each batch draws a recipe; evaluation takes the first."""

    def __init__(self, config: ParaformerConfig, recipes: Sequence[ChunkRecipe]) -> None:
        super().__init__(config)
        self.recipes = tuple(recipes)

    def _listen(
        self, model: Paraformer, features: Tensor, lengths: Tensor, counts: Tensor
    ) -> tuple[Encoded, Prediction, Decode]:
        drawn = int(torch.randint(len(self.recipes), ())) if model.training else 0
        layout = ChunkLayout.trained(lengths, self.recipes[drawn], self.config.encoder.kernel_size)
        memory = encode(model.encoder, features, layout)
        rows = layout.collect(memory)
        with torch.autocast(memory.device.type, enabled=False):
            everywhere = torch.full_like(lengths, memory.shape[1])
            alphas = layout.collect(model.predictor.weights(memory.float(), everywhere)[:, :, None]).squeeze(
                2
            )
            predicted = dealt(rows.float(), alphas, counts)
            fired = firing_frames(predicted.alphas, counts)
        tokens = Padding.of(counts, fired.shape[1], memory.dtype)
        keys = layout.for_tokens(fired, memory.dtype)

        def decode(embeds: Tensor) -> Tensor:
            hidden: Tensor = model.decoder(embeds.to(memory.dtype), tokens, memory, keys)
            return hidden

        return Encoded(rows, lengths, None), predicted, decode


def dealt(memory: Tensor, alphas: Tensor, counts: Tensor) -> Prediction:
    """memory (B, T, D), alphas (B, T) -> the tokens when each row's weights are scaled to its count (B,)."""
    quantity = alphas.sum(dim=1)
    scaled = alphas * (counts / quantity.clamp(min=1e-6))[:, None]
    size = int(counts.max())
    embeds = weigh(memory, token_bounds(scaled, counts), size) * frame_mask(counts, size)[:, :, None]
    return Prediction(embeds, counts, scaled, quantity)


def firing_frames(alphas: Tensor, counts: Tensor) -> Tensor:
    """alphas (B, T) that sum to counts (B,) or more -> (B, U) the frame in which each token is full."""
    units = torch.arange(1, int(counts.max()) + 1, device=alphas.device).expand(len(alphas), -1)
    sums = token_bounds(alphas, counts)[:, 1:].contiguous()
    return torch.searchsorted(sums, units.to(sums.dtype).contiguous()).clamp(max=alphas.shape[1] - 1)


def with_end(targets: Tensor, lengths: Tensor, config: ParaformerConfig) -> tuple[Tensor, Tensor]:
    """targets (B, L), lengths (B,) -> labels (B, max + bias) with `</s>` behind each row and ignore_id behind
    that, and the new lengths. Without `predictor_bias` nothing is added."""
    size = int(lengths.max())
    labels = targets[:, :size].masked_fill(~frame_mask(lengths, size), config.ignore_id)
    if config.predictor_bias == 0:
        return labels, lengths
    ends = torch.full_like(labels[:, :1], config.ignore_id)
    labels = torch.cat([labels, ends], dim=1).scatter(1, lengths[:, None], config.eos)
    return labels, lengths + 1


def _padded(lengths: Tensor, size: int) -> bool:
    """Whether lengths (B,) differ, asked where that costs nothing: masks that hide nothing are a fifth of a
    small step."""
    return lengths.device.type != "cpu" or bool((lengths < size).any())


def glance(chosen: Tensor, labels: Tensor, ratio: float, ignore_id: int = -1) -> Tensor:
    """Which positions the second pass is shown: (B, U) bool. `chosen` (B, U) is what the first one found.

    A row with w wrong tokens is shown int(w * ratio) of its positions, right or wrong, drawn evenly.
    """
    valid = labels != ignore_id
    wrong = ((chosen != labels) & valid).sum(dim=1)
    shown = (wrong * ratio).long()
    order = torch.rand(labels.shape, device=labels.device).masked_fill(~valid, 2.0)
    return (order.argsort(dim=1).argsort(dim=1) < shown[:, None]) & valid
