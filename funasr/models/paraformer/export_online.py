"""ParaformerStreaming as upstream's two graphs, `model` and `decoder`, which can look back too.

What is looked back at goes in as `past`, keys and values of N frames in each layer, and comes out as
`out_past`, those of the window; a caller joins the two, and keeps what its shape remembers. `past_lengths`
(B,) says how many of the N are a row's own, the last ones. Callers who know of neither leave them out.

B streams, T frames of a window, U tokens, D width, K taps, L layers, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from funasr.models.paraformer.online import ParaformerStreaming
from funasr.nn.graph import Graph
from funasr.nn.layers import frame_mask
from funasr.nn.sanm import hide

ALL = torch.tensor([2**31 - 1], dtype=torch.int32)
"""`past_lengths` of callers who do not tell: each row remembers all N frames."""


class WindowGraph(nn.Module):
    """`model`: the encoder, and the predictor's weights."""

    def __init__(self, network: ParaformerStreaming) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, speech: Tensor, speech_lengths: Tensor, past: Tensor, past_lengths: Tensor
    ) -> tuple[Tensor, ...]:
        """speech (B, T, input), scaled and with positions; past (B, L * 2 H, N, D / H)."""
        lengths = speech_lengths.long()
        hidden = hide(past_lengths.long(), past.shape[2], lengths, speech.shape[1])
        frames = frame_mask(lengths, speech.shape[1]).unsqueeze(2).to(speech.dtype)
        memory, seen = self.network.encoder.step(speech, _for_each(past, speech, hidden), hidden, frames)
        return memory, speech_lengths, self.network.predictor.weights(memory, lengths), seen


class TokenGraph(nn.Module):
    """`decoder`."""

    def __init__(self, network: ParaformerStreaming) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        enc: Tensor,
        enc_len: Tensor,
        acoustic_embeds: Tensor,
        acoustic_embeds_len: Tensor,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        """enc (B, T, D), acoustic_embeds (B, U, D); rest: L caches (B, D, K - 1), past, past_lengths."""
        *caches, past, past_lengths = rest
        decoder = self.network.decoder
        hidden = hide(past_lengths.long(), past.shape[2], enc_len.long(), enc.shape[1])
        spoken = [cache.transpose(1, 2) for cache in caches]
        x, spoken, seen = decoder.step(
            acoustic_embeds, spoken, acoustic_embeds_len.long(), enc, _for_each(past, enc, hidden), hidden
        )
        logits = decoder.logits(x)
        return logits, logits.argmax(dim=-1), *(said.transpose(1, 2) for said in spoken), seen


def _for_each(past: Tensor, rows: Tensor, hidden: Tensor) -> Tensor:
    """The default, a past of one row and no frames, for as many rows as there are; others stay as they are.

    Nothing has any shape that has a zero in it; `expand` would copy what there is.
    """
    # That is N; onnxruntime would take `past.shape[2]` for a reason to work out the rows, of nothing.
    size = hidden.shape[3] - rows.shape[1]
    return past.reshape(rows.shape[0], int(past.shape[1]), size, int(past.shape[3]))


def graphs(network: ParaformerStreaming) -> list[Graph]:
    """Two graphs. Every size but B, T, U and N is fixed."""
    sizes, batch = network.step_sizes, {0: "batch_size"}
    width, layers = sizes.width, range(sizes.decoder_layers)
    caches, after = [f"in_cache_{i}" for i in layers], [f"out_cache_{i}" for i in layers]
    past_axes = {0: "past_batch", 2: "past_length"}
    shared = {"past": past_axes, "past_lengths": {0: "past_lengths_batch"}}
    shared["out_past"] = {0: "batch_size", 2: "out_past_length"}
    lengths = torch.tensor([15, 30], dtype=torch.int32)

    def past(count: int, heads: int) -> Tensor:
        return torch.zeros(1, count * 2 * heads, 0, width // heads)

    window = Graph(
        name="model",
        module=WindowGraph(network),
        example=(
            torch.randn(2, 30, sizes.input),
            lengths,
            past(sizes.encoder_layers, sizes.encoder_heads),
            ALL,
        ),
        inputs=("speech", "speech_lengths", "past", "past_lengths"),
        outputs=("enc", "enc_len", "alphas", "out_past"),
        axes=shared
        | {name: {**batch, 1: "feats_length"} for name in ("speech", "enc", "alphas")}
        | {"speech_lengths": batch, "enc_len": batch},
        optional=("past", "past_lengths"),
        further=("out_past",),
        keep_float=("output",),
    )
    tokens = Graph(
        name="decoder",
        module=TokenGraph(network),
        example=(
            torch.randn(2, 30, width),
            lengths,
            torch.randn(2, 10, width),
            torch.tensor([5, 10], dtype=torch.int32),
            *(torch.zeros(2, width, sizes.remembered_tokens) for _ in layers),
            past(sizes.decoder_layers, sizes.decoder_heads),
            ALL,
        ),
        inputs=("enc", "enc_len", "acoustic_embeds", "acoustic_embeds_len", *caches, "past", "past_lengths"),
        outputs=("logits", "sample_ids", *after, "out_past"),
        axes=shared
        | dict.fromkeys(("enc_len", "acoustic_embeds_len", *caches, *after), batch)
        | {"enc": {**batch, 1: "enc_length"}}
        | {name: {**batch, 1: "token_length"} for name in ("acoustic_embeds", "logits", "sample_ids")},
        optional=("past", "past_lengths"),
        further=("out_past",),
        keep_float=("output",),
    )
    return [window, tokens]
