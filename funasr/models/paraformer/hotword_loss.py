"""What training a Paraformer that hears hotwords minimises: SeACo's second decoder, and CLAS. Training only.

Parts of a batch's own sentences are its hotwords; every utterance is offered those of all. B batch, U tokens,
S hotwords an utterance at most, N = B * S + 1 phrases, the last of them "no hotword".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from funasr.models.paraformer.contextual import ContextualParaformer
from funasr.models.paraformer.loss import ParaformerLoss, with_end
from funasr.models.paraformer.phrases import Phrases
from funasr.models.paraformer.seaco import SeacoParaformer
from funasr.nn.layers import Padding, frame_mask
from funasr.nn.losses import accuracy, label_smoothing_loss
from funasr.nn.recurrent import last_hidden

LONGEST = 8
"""Tokens of a hotword in training, at most."""


class ContextualLoss(ParaformerLoss):
    """A Paraformer's, with the batch's hotwords before the decoder."""

    def with_hotwords(
        self,
        model: ContextualParaformer,
        features: Tensor,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
        places: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `ParaformerLoss`; places (B, S, 2) first and last token of each hotword, -1 for none."""
        labels, counts = with_end(targets, target_lengths, self.config)
        encoded, predicted, _ = self._listen(model, self._masked(model, features), lengths, counts)
        dtype = encoded.memory.dtype
        tokens = Padding.of(counts, predicted.embeds.shape[1], dtype)
        ids, sizes, real = phrase_ids(targets, places, self.config.sos)
        vectors = model.decoder.embedded(ids) if model.bias_embed is None else model.bias_embed(ids)
        phrases = _phrases(last_hidden(model.bias_encoder, vectors, sizes), real)

        def decode(embeds: Tensor) -> Tensor:
            x = embeds.to(dtype)
            return model.decoder.biased(x, tokens, encoded.memory, encoded.frames, phrases)

        return self._weigh(model, encoded, predicted, decode, labels, counts)


class SeacoLoss(ParaformerLoss):
    """The cross entropy of the hotword branch: a token where a hotword is, NO_BIAS elsewhere.

    With `train_decoder` a little of the main decoder's beside it. The number of tokens is not learnt.
    """

    def with_hotwords(
        self,
        model: SeacoParaformer,
        features: Tensor,
        lengths: Tensor,
        targets: Tensor,
        target_lengths: Tensor,
        places: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As `ParaformerLoss`, with `loss_seaco`, `acc` of the hotword branch, perhaps `loss_att`.

        places (B, S, 2) first and last token of each hotword, -1 for none.
        """
        config = self.config
        labels, counts = with_end(targets, target_lengths, config)
        _, predicted, decode = self._listen(model, self._masked(model, features), lengths, counts)
        hidden = decode(predicted.embeds)
        ids, sizes, real = phrase_ids(targets, places, config.sos)
        phrases = _phrases(last_hidden(model.bias_encoder, model.decoder.embedded(ids), sizes), real)
        tokens = Padding.of(counts, hidden.shape[1], hidden.dtype)
        logits = model.hotword_logits(predicted.embeds, hidden, tokens, phrases)
        wanted = hotword_labels(targets, target_lengths, places, config.NO_BIAS, config.ignore_id)
        # The place of `</s>` is never a hotword's.
        logits = logits[:, : wanted.shape[1]]
        loss_seaco = label_smoothing_loss(
            logits,
            wanted,
            smoothing=config.seaco_lsm_weight,
            ignore_id=config.ignore_id,
            normalize_length=config.seaco_length_normalized_loss,
        )
        loss = loss_seaco
        stats = {"loss_seaco": loss_seaco, "acc": accuracy(logits, wanted, config.ignore_id)}
        if config.train_decoder:
            stats["loss_att"] = label_smoothing_loss(
                model.decoder.logits(hidden),
                labels,
                smoothing=config.lsm_weight,
                ignore_id=config.ignore_id,
                normalize_length=config.length_normalized_loss,
            )
            loss = loss + config.seaco_weight * stats["loss_att"]
        stats |= {"loss": loss, "tokens": target_lengths.sum()}
        return loss, {name: value.detach() for name, value in stats.items()}


def phrase_ids(targets: Tensor, places: Tensor, sos: int) -> tuple[Tensor, Tensor, Tensor]:
    """targets (B, U), places (B, S, 2) -> ids (N, LONGEST), lengths (N,) >= 1, and which are hotwords (N,).

    The last phrase is "no hotword". A hotword of more than LONGEST tokens ends there.
    """
    first, last = places.reshape(-1, 2).unbind(dim=1)
    real = first >= 0
    rows = torch.arange(len(targets), device=targets.device).repeat_interleave(places.shape[1])
    steps = torch.arange(LONGEST, device=targets.device)
    at = (first[:, None] + steps).clamp(0, targets.shape[1] - 1)
    sizes = torch.where(real, (last - first + 1).clamp(1, LONGEST), 1)
    ids = targets[rows[:, None], at] * (frame_mask(sizes, LONGEST) & real[:, None])
    nothing = torch.zeros_like(ids[:1]).index_fill(1, torch.zeros_like(rows[:1]), sos)
    one = torch.ones_like(sizes[:1])
    return torch.cat([ids, nothing]), torch.cat([sizes, one]), torch.cat([real, one.bool()])


def hotword_labels(
    targets: Tensor, lengths: Tensor, places: Tensor, nothing: int, ignore_id: int = -1
) -> Tensor:
    """(B, U) the token where a hotword is, `nothing` in the rest of each row, ignore_id behind it."""
    size = int(lengths.max())
    steps = torch.arange(size, device=targets.device)
    first, last = places[:, :, :1], places[:, :, 1:]
    inside = ((steps >= first) & (steps <= last) & (first >= 0)).any(dim=1)
    labels = targets[:, :size].masked_fill(~inside, nothing)
    return labels.masked_fill(~frame_mask(lengths, size), ignore_id)


def _phrases(vectors: Tensor, real: Tensor) -> Phrases:
    """vectors (N, D) -> what attention looks at; those that are no hotwords cannot be seen."""
    hidden = torch.zeros(real.shape, device=real.device).masked_fill(~real, -math.inf)
    return Phrases(vectors[None], hidden[None])
