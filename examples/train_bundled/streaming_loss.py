"""What the streaming recognizer of words minimises, and how it would hear an utterance as a stream.

It is trained on exactly what a stream hears (`ChunkLayout.streamed`), with the known place of each word.
There is no `</s>`: a stream does not know its end. MARGIN of a token lies on the rows of zeros that a stream
begins with, so that a word fires a little before its end and not, half of the time, when the next one begins;
the tail that a final chunk adds makes up for sums that are short.

B batch, T rows, N rows of the layout, U words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from words_loss import row_labels, running_difference, spread

from funasr.models.paraformer.chunks import ChunkLayout
from funasr.models.paraformer.network import Paraformer
from funasr.nn.cif import running_sum, weigh
from funasr.nn.layers import Padding, frame_mask
from funasr.nn.losses import accuracy, label_smoothing_loss
from funasr.nn.sanm import FsmnBlock, SanmEncoder, SanmEncoderLayer
from funasr.nn.specaug import spec_augment
from funasr.stages.protocols import ChunkShape
from funasr.train.data import Batch

SHAPE = ChunkShape(left=0, size=10, right=5, encoder_look_back=4, decoder_look_back=1)
FORGETFUL = replace(SHAPE, encoder_look_back=0, decoder_look_back=0)
"""What a stream is unless it asks for more; a third of the batches are heard so."""
WINDOW = SHAPE.size + SHAPE.right
MARGIN = 0.2
ENDING = 2.0
"""Rows at the end of a word that its weight lies on."""
TAIL = 0.3
"""`tail_threshold`. Sums of U + MARGIN may be off by half a token either way."""
FARTHEST = 60_000
"""Rows (an hour) that a stream may have run before a training utterance begins."""


class StreamingLoss(nn.Module):
    """Callable as a `funasr.train.trainer.Criterion`; owns the frame classifier."""

    def __init__(self, width: int, vocabulary: int, *, masked: Callable[[], bool]) -> None:
        super().__init__()
        self.frame_head = nn.Linear(width, vocabulary)
        self._masked = masked

    def forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        # torch's flash attention for CPU is four times slower than the plain form on such short rows.
        with sdpa_kernel(SDPBackend.MATH):
            return self._forward(model, batch)

    def _forward(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        assert isinstance(model, Paraformer)
        config, features = model.config, batch.features
        if model.training and config.specaug is not None and self._masked():
            features = spec_augment(features, config.specaug)
        start, shape = (far_start(), any_shape()) if model.training else (1, SHAPE)
        layout, memory, rows, alphas = listen(model, features, batch.lengths, start, shape)
        counts = batch.target_lengths
        labels = batch.targets.masked_fill(~frame_mask(counts, batch.targets.shape[1]), -1)

        wanted = counts + MARGIN
        quantity = alphas.sum(dim=1)
        scaled = alphas * (wanted / quantity.clamp(min=1e-3))[:, None]
        hidden = answer(model, layout, memory, rows, scaled, counts)
        logits = model.decoder.logits(hidden)
        loss_att = label_smoothing_loss(logits, labels, smoothing=config.lsm_weight)
        loss_pre = (quantity - wanted).abs().sum() / counts.sum().clamp(min=1)

        # The network would rather put the margin behind the last word, where it is of no use.
        lead = (alphas[:, : SHAPE.right].sum(dim=1) - MARGIN).abs().mean()
        # Weights of 0 and 1 alone: a word is one row that fires, and many words are not off by their errors.
        later = alphas[:, SHAPE.right :]
        half = (later * (1 - later)).sum() / counts.sum().clamp(min=1)
        loss = loss_att + 0.3 * loss_pre + lead + half
        stats = {
            "acc": accuracy(logits, labels),
            "loss_att": loss_att,
            "pre": loss_pre,
            "lead": lead,
            "half": half,
        }
        if batch.spans is not None:
            size, total, spans = rows.shape[1], batch.lengths + SHAPE.right, batch.spans + SHAPE.right
            place = running_difference(alphas, word_weights(spans, counts, total, size), total)
            each = word_sums(alphas, spans, counts)
            frame = F.cross_entropy(
                self.frame_head(rows).float().flatten(0, 1),
                row_labels(spans, batch.targets, counts, total, size).flatten(),
                ignore_index=-1,
                label_smoothing=config.lsm_weight,
            )
            loss = loss + 0.4 * place + 3.0 * each + 0.5 * frame
            stats |= {"place": place, "each": each, "frame": frame}
        stats["loss"] = loss
        return loss, {name: value.detach() for name, value in stats.items()}


def listen(
    model: Paraformer, features: Tensor, lengths: Tensor, start: int = 1, shape: ChunkShape = SHAPE
) -> tuple[ChunkLayout, Tensor, Tensor, Tensor]:
    """features (B, T, input) -> layout, memory (B, N, D), the rows that count (B, T + right, D), and their
    firing weights (B, T + right)."""
    # Windows that are taken apart need no zeros between them.
    layout = ChunkLayout.streamed(lengths, shape, kernel_size=1)
    memory = encode_windows(model.encoder, features, layout, start, shape.encoder_look_back)
    with torch.autocast(memory.device.type, enabled=False):
        windows = memory.float().view(-1, WINDOW, memory.shape[2])
        alphas = model.predictor.weights(windows, torch.full((len(windows),), WINDOW))
        alphas = layout.collect(alphas.view(len(memory), -1, 1)).squeeze(2)
    return layout, memory, layout.collect(memory), alphas


def encode_windows(
    encoder: SanmEncoder, features: Tensor, layout: ChunkLayout, start: int, back: int
) -> Tensor:
    """What `chunks.encode` computes, in half the time: each window meets the rows it hears and no others."""
    x = layout.spread(encoder.enter(features, start))
    batch, real = len(x), layout.real
    windows = real.shape[1] // WINDOW
    # The keys of a window: the own rows of the windows before it, then all of its own.
    own = real.view(batch, windows, WINDOW)
    heard = torch.cat([_before(own[:, :, : SHAPE.size, None], back).squeeze(3), own], dim=2)
    heard |= ~own.any(dim=2, keepdim=True)  # behind the end, where nobody listens to what comes out
    mask = torch.zeros(heard.shape).masked_fill(~heard, -math.inf).flatten(0, 1)[:, None, None, :]
    rows = real[:, :, None]
    for layer in (*encoder.encoders0, *encoder.encoders):
        assert isinstance(layer, SanmEncoderLayer)
        attention = layer.self_attn
        query, key, value = attention.linear_q_k_v(layer.norm1(x)).chunk(3, dim=-1)
        memory = _remember(attention.fsmn_block, value * rows) * rows
        mixed = layer.dropout(
            attention.linear_out(_attend(query, key, value, attention.heads, mask, back)) + memory
        )
        x = x + mixed if layer.residual else mixed
        x = x + layer.dropout(layer.feed_forward(layer.norm2(x)))
    out: Tensor = encoder.after_norm(x) * rows
    return out


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor, back: int) -> Tensor:
    """Each (B, N, D) -> (B, N, D), window by window."""
    batch, size, width = query.shape
    windows = size // WINDOW
    q = (query * (width // heads) ** -0.5).view(-1, WINDOW, heads, width // heads).transpose(1, 2)
    k, v = (
        _before_and(part.view(batch, windows, WINDOW, heads, -1).transpose(2, 3), back).flatten(0, 1)
        for part in (key, value)
    )
    share = (torch.matmul(q, k.transpose(2, 3)) + mask).softmax(dim=-1)
    return torch.matmul(share.to(v.dtype), v).transpose(1, 2).reshape(batch, size, width)


def _before_and(x: Tensor, back: int) -> Tensor:
    """(B, W, H, window, d) -> (B, W, H, look back * size + window, d)."""
    own = F.pad(x[:, :, :, : SHAPE.size], (0, 0, 0, 0, 0, 0, back, 0))
    return torch.cat([own[:, ago : ago + x.shape[1]] for ago in range(back)] + [x], dim=3)


def _before(own: Tensor, back: int) -> Tensor:
    """(B, W, size, D) -> (B, W, look back * size, D): the own rows before each window, at first zeros."""
    padded = F.pad(own, (0, 0, 0, 0, back, 0))
    parts = [padded[:, ago : ago + own.shape[1]] for ago in range(back)]
    return torch.cat(parts, dim=2) if parts else own[:, :, :0]


def _remember(block: FsmnBlock, x: Tensor) -> Tensor:
    """`FsmnBlock.remember` within each window of x (B, N, D): a convolution as one small matrix a channel."""
    with torch.autocast(x.device.type, enabled=False):
        windows = x.float().view(-1, WINDOW, x.shape[2]).permute(2, 1, 0)  # (D, window, B * W)
        places = torch.arange(WINDOW)
        reach = places[None, :] - places[:, None] + block.left  # [to, from]
        kernel = F.pad(block.weight.squeeze(1), (0, 1))  # (D, K + 1), the last one zero
        size = kernel.shape[1] - 1
        matrix = kernel[:, torch.where((reach >= 0) & (reach < size), reach, size)] + torch.eye(WINDOW)
        mixed: Tensor = _Products.apply(matrix, windows)  # type: ignore[no-untyped-call]
        return mixed.permute(2, 1, 0).reshape(x.shape)


class _Products(torch.autograd.Function):
    """torch.bmm, which is ten times slower on permuted tensors, gradients among them."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        right = right.contiguous()
        ctx.save_for_backward(left, right)
        return torch.bmm(left, right)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        left, right = ctx.saved_tensors
        grad = grads[0].contiguous()
        return torch.bmm(grad, right.transpose(1, 2)), torch.bmm(left.transpose(1, 2), grad)


def answer(
    model: Paraformer, layout: ChunkLayout, memory: Tensor, rows: Tensor, alphas: Tensor, counts: Tensor
) -> Tensor:
    """alphas (B, T) that sum to counts (B,) or more -> what the decoder makes of the tokens (B, U, D)."""
    size = int(counts.max())
    if size == 0:
        return memory[:, :0]
    with torch.autocast(memory.device.type, enabled=False):
        sums = running_sum(alphas)
        real = frame_mask(counts, size)
        embeds = weigh(rows.float(), F.pad(sums, (1, 0)), size) * real[:, :, None]
        units = torch.arange(1, size + 1, dtype=sums.dtype, device=sums.device).expand(len(sums), -1)
        fired = torch.searchsorted(sums, units.contiguous()).clamp(max=sums.shape[1] - 1)
    keys = layout.for_tokens(fired, memory.dtype)
    tokens = Padding(real[:, :, None].to(memory.dtype), torch.zeros(()))  # keys of tokens are not read
    hidden: Tensor = model.decoder(embeds.to(memory.dtype), tokens, memory, keys)
    return hidden


@torch.inference_mode()
def hear(
    model: Paraformer, features: Tensor, lengths: Tensor, start: int = 1, shape: ChunkShape = SHAPE
) -> list[list[int]]:
    """The ids that a stream of each row would give, from its first chunk to its last."""
    layout, memory, rows, alphas = listen(model, features, lengths, start, shape)
    tail = torch.arange(alphas.shape[1] + 1)[None, :] == (lengths + SHAPE.right)[:, None]
    alphas = F.pad(alphas, (0, 1)) + TAIL * tail
    counts = running_sum(alphas)[:, -1].floor().long()
    ids = model.decoder.logits(answer(model, layout, memory, F.pad(rows, (0, 0, 0, 1)), alphas, counts))
    return [row[:count].tolist() for row, count in zip(ids.argmax(dim=-1), counts.tolist(), strict=True)]


def word_weights(spans: Tensor, counts: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Where the weights should lie: each word's on its last rows, MARGIN on the first ones of the stream.

    Not on all of its rows: at its beginning a stream cannot know how long a word will be, and what its rows
    weigh would add up to its length. spans (B, U, 2) in rows -> (B, size)
    """
    last = lengths.to(spans.dtype)[:, None]
    ends = spans[..., 1].clamp(min=1.0).minimum(last)
    starts = torch.maximum(spans[..., 0], ends - ENDING).clamp(min=0.0).minimum(ends - 1.0)
    shares = spread(starts, ends, size) * frame_mask(counts, spans.shape[1])[:, :, None]
    first = (torch.arange(size) < SHAPE.right) * (MARGIN / SHAPE.right)
    return shares.sum(dim=1) + first


def word_sums(alphas: Tensor, spans: Tensor, counts: Tensor) -> Tensor:
    """How far each word's weight is from 1, in the mean: too much in one is not made up for by the next.

    alphas (B, T), spans (B, U, 2) in rows. A word's weight is what lies between the middles of the gaps
    beside it; the first one's begins behind the rows with MARGIN, the last one's reaches to the end.
    """
    real = frame_mask(counts, spans.shape[1])
    middles = (spans[:, :-1, 1] + spans[:, 1:, 0]) / 2
    begin = torch.full_like(spans[:, :1, 0], SHAPE.right)
    end = torch.full_like(begin, alphas.shape[1])
    edges = torch.cat([begin, middles, end], dim=1)
    follows = F.pad(real, (0, 1))[:, 1:]  # is there a word behind this one
    stops = torch.where(follows, edges[:, 1:], end)
    sums = F.pad(alphas.cumsum(dim=1), (1, 0))
    weight = _at(sums, stops) - _at(sums, edges[:, :-1])
    return ((weight - 1).abs() * real).sum() / real.sum().clamp(min=1)


def _at(sums: Tensor, places: Tensor) -> Tensor:
    """sums (B, T + 1) read between its entries, at places (B, U)."""
    places = places.clamp(0.0, sums.shape[1] - 1.0)
    low = places.floor().long().clamp(max=sums.shape[1] - 2)
    first, second = sums.gather(1, low), sums.gather(1, low + 1)
    return first + (places - low) * (second - first)


def far_start() -> int:
    """The position of a stream's first row: half of the time it has run for up to an hour."""
    draw = torch.rand(2).tolist()
    return 1 if draw[0] < 0.5 else 1 + int(math.exp(draw[1] * math.log(FARTHEST)))


def any_shape() -> ChunkShape:
    """Of the streams that a batch is heard as."""
    return SHAPE if float(torch.rand(())) < 2 / 3 else FORGETFUL


def state_of_offline(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Any]:
    """The weights of the model that hears whole utterances, as far as `model` has such, to begin with.

    Decoders of streams look at the tokens before, never ahead: that half of their convolutions moves.
    """
    wanted = model.state_dict()
    taken = {name: state[name] for name in wanted}
    for name in taken:
        if name.startswith("decoder.") and name.endswith("fsmn_block.weight"):
            old, ahead = taken[name], taken[name].shape[-1] // 2
            taken[name] = F.pad(old[..., : old.shape[-1] - ahead], (ahead, 0))
    return taken
