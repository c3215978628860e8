"""What the word recognizer minimises: Paraformer's losses, and the known place of each word.

The training utterances are put together from clips, so where each word begins and ends is known. Three terms
use it: a classifier of single frames (it is thrown away afterwards), and the running sums of both predictors'
weights, which should pass 1, 2, 3, ... where the words are. B batch, T rows, U words, N = U + 1 with `</s>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from quick_layers import fine_weights
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from funasr.models.paraformer.bicif import BiCifParaformer
from funasr.models.paraformer.loss import with_end
from funasr.nn.layers import frame_mask
from funasr.nn.losses import accuracy, label_smoothing_loss, quantity_loss
from funasr.nn.specaug import spec_augment
from funasr.train.data import Batch


class WordsLoss(nn.Module):
    """Callable as a `funasr.train.trainer.Criterion`; owns the frame classifier."""

    def __init__(
        self,
        width: int,
        vocabulary: int,
        *,
        masked: Callable[[], bool],
        frames: float = 0.5,
        places: float = 0.4,
    ) -> None:
        super().__init__()
        self.frame_head = nn.Linear(width, vocabulary)
        self._masked, self._frames, self._places = masked, frames, places

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        # torch's flash attention for CPU is four times slower than the plain form on such short rows.
        with sdpa_kernel(SDPBackend.MATH):
            return self._forward(model, batch)

    def _forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(model, BiCifParaformer)
        config, features, lengths = model.config, batch.features, batch.lengths
        if model.training and config.specaug is not None and self._masked():
            features = spec_augment(features, config.specaug)
        labels, counts = with_end(batch.targets, batch.target_lengths, config)
        encoded = model.encode(features, lengths)
        predicted = model.predictor(encoded.memory, lengths, counts)
        logits = model.decoder.logits(model.decode(predicted.embeds, counts, encoded))
        # The timestamp head learns from a quarter of the batch (it is slow) and does not bend the encoder.
        some = slice(None, None, 4) if model.training else slice(None)
        fine = fine_weights(model.predictor, encoded.memory[some].detach(), lengths[some])
        loss_att = label_smoothing_loss(logits, labels, smoothing=config.lsm_weight)
        loss_pre = quantity_loss(predicted.quantity, counts)
        loss_pre2 = quantity_loss(fine.sum(dim=1), counts[some])
        loss = loss_att + config.predictor_weight * (loss_pre + 0.5 * loss_pre2)
        stats = {"acc": accuracy(logits, labels), "loss_att": loss_att, "pre": loss_pre, "pre2": loss_pre2}
        if batch.spans is not None:
            # The predictor hands back weights scaled to the true count; its own are these.
            alphas = predicted.alphas * (predicted.quantity / counts)[:, None]
            rate = model.predictor.config.upsample_times
            coarse_target = word_weights(batch.spans, batch.target_lengths, lengths, alphas.shape[1])
            fine_target = onset_weights(
                batch.spans[some], batch.target_lengths[some], lengths[some], fine.shape[1], rate
            )
            place = running_difference(alphas, coarse_target, lengths)
            place2 = running_difference(fine, fine_target, lengths[some] * rate)
            frame_labels = row_labels(
                batch.spans, batch.targets, batch.target_lengths, lengths, alphas.shape[1]
            )
            frame = F.cross_entropy(
                self.frame_head(encoded.memory).float().flatten(0, 1),
                frame_labels.flatten(),
                ignore_index=-1,
                label_smoothing=config.lsm_weight,
            )
            loss = loss + self._places * (place + place2) + self._frames * frame
            stats |= {"place": place, "place2": place2, "frame": frame}
        stats["loss"] = loss
        return loss, {name: value.detach() for name, value in stats.items()}


class TimesLoss:
    """The timestamp head alone, on the whole batch, as it is read: scaled to the number of tokens."""

    def __init__(self, margin: float = 0.0) -> None:
        self._margin = margin

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(model, BiCifParaformer)
        model.encoder.eval()
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            memory = model.encode(batch.features, batch.lengths).memory
        fine = fine_weights(model.predictor, memory, batch.lengths)
        counts = batch.target_lengths + 1
        loss = quantity_loss(fine.sum(dim=1), counts)
        stats = {"pre2": loss}
        if batch.spans is not None:
            rate = model.predictor.config.upsample_times
            lengths = batch.lengths
            target = onset_weights(
                batch.spans, batch.target_lengths, lengths, fine.shape[1], rate, self._margin
            )
            scaled = fine * (counts / fine.sum(dim=1).clamp(min=1e-3))[:, None]
            place2 = running_difference(scaled, target, lengths * rate)
            loss = 0.3 * loss + place2
            stats["place2"] = place2
        stats["loss"] = loss
        return loss, {name: value.detach() for name, value in stats.items()}


def running_difference(alphas: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """Mean distance of the running sums of two (B, T) weights, over real frames."""
    apart = (alphas.cumsum(dim=1) - target.cumsum(dim=1)).abs()
    mask = frame_mask(lengths, alphas.shape[1])
    return (apart * mask).sum() / mask.sum()


def spread(starts: Tensor, ends: Tensor, size: int) -> Tensor:
    """Intervals (B, N) -> (B, N, size): the share of each interval that lies in frame [i, i + 1)."""
    frames = torch.arange(size, dtype=starts.dtype, device=starts.device)
    upper = torch.minimum(ends[:, :, None], frames + 1)
    lower = torch.maximum(starts[:, :, None], frames)
    return (upper - lower).clamp(min=0) / (ends - starts).clamp(min=1e-3)[:, :, None]


def word_weights(spans: Tensor, counts: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Where the tokens' weights should lie: each word's evenly in its span, `</s>` in the 150 ms behind.

    spans (B, U, 2) in rows -> (B, size)
    """
    last = lengths.to(spans.dtype)[:, None]
    ends = spans[..., 1].clamp(min=1.0).minimum(last)
    starts = spans[..., 0].clamp(min=0.0).minimum(ends - 1.0)
    real = frame_mask(counts, spans.shape[1])
    words = (spread(starts, ends, size) * real[:, :, None]).sum(dim=1)
    behind = (
        torch.where(real, ends, 0.0).amax(dim=1, keepdim=True) if spans.shape[1] else torch.zeros_like(last)
    )
    begin = behind.minimum((last - 1.5).clamp(min=0.0))
    return words + spread(begin, (begin + 2.5).minimum(last), size).sum(dim=1)


def onset_weights(
    spans: Tensor, counts: Tensor, lengths: Tensor, size: int, rate: int, margin: float = 0.0
) -> Tensor:
    """Where the fine weights should lie: a unit fires 30 ms after each word's onset and after the last end.

    Times are read from the fires, 1.5 fine frames (30 ms) earlier. A fine frame weighs 0.24 at most, so a
    unit needs 5 of them; here it has 6. spans (B, U, 2) in rows -> (B, size), size in fine frames.

    `margin` is moved from the last unit to the first: sums that come out a little short of 1, 2, 3, ... would
    otherwise fire a whole word later.
    """
    last = (lengths * rate).to(spans.dtype)[:, None]
    real = frame_mask(counts, spans.shape[1])
    end = torch.where(real, spans[..., 1], 0.0).amax(dim=1, keepdim=True) if spans.shape[1] else last / rate
    marks = torch.cat([torch.where(real, spans[..., 0], 1e6), end], dim=1) * rate  # (B, N)
    real = torch.cat([real, torch.ones_like(real[:, :1]) if spans.shape[1] else last > 0], dim=1)
    weights = real.to(spans.dtype)
    lead = torch.full_like(marks, 4.5)
    if margin and spans.shape[1]:
        spoken = (counts > 0).to(spans.dtype)
        weights[:, 0] += margin * spoken
        weights[:, -1] -= margin * spoken
        # A unit is full before the end of its six frames now.
        lead[:, :-1] = 6.0 * (1.0 - margin) - 1.5
    begins = (marks - lead).clamp(min=0.0).minimum((last - 6.0).clamp(min=0.0))
    shares = spread(begins, (begins + 6.0).minimum(last), size)
    return (shares * weights[:, :, None]).sum(dim=1)


def row_labels(spans: Tensor, targets: Tensor, counts: Tensor, lengths: Tensor, size: int) -> Tensor:
    """(B, size) the word that fills a row for the most part, 0 (blank) for none, -1 behind the end."""
    middles = torch.arange(size, dtype=spans.dtype, device=spans.device) + 0.5
    inside = (
        (middles >= spans[..., :1])
        & (middles < spans[..., 1:])
        & frame_mask(counts, spans.shape[1])[:, :, None]
    )
    labels = (
        (inside * targets.clamp(min=0)[:, :, None]).amax(dim=1)
        if spans.shape[1]
        else torch.zeros((len(lengths), size), dtype=torch.int64, device=spans.device)
    )
    return labels.masked_fill(~frame_mask(lengths, size), -1)
