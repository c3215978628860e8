"""Paraformer's decoder: acoustic embeddings and encoder frames -> one hidden vector a token, all at once.

B batch, U tokens, T encoder frames, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from funasr.errors import ModelFilesError
from funasr.nn.dropout import Dropout
from funasr.nn.layers import NormedFeedForward, Padding, layer_norm
from funasr.nn.lora import LoraConfig
from funasr.nn.sanm import FsmnBlock, KeysValues, attend, layers_of, look, split_heads


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """`decoder_conf` of the official config.yaml, same field names."""

    attention_heads: int = 4
    linear_units: int = 2048
    num_blocks: int = 6
    att_layer_num: int = 6
    """Layers with cross attention. All of them exist even if `num_blocks` is smaller (as upstream)."""
    dropout_rate: float = 0.1
    src_attention_dropout_rate: float = 0.0
    kernel_size: int = 21
    sanm_shfit: int = 0
    """Tokens by which the convolution looks further back than ahead (the official spelling)."""
    use_output_layer: bool = True
    wo_input_layer: bool = False
    normalize_before: bool = True
    lora_list: tuple[str, ...] | None = None
    """Of q, k, v and o those that LoRA adapts."""
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.1

    def __post_init__(self) -> None:
        if not self.normalize_before:
            raise ModelFilesError("decoder_conf.normalize_before is false; this version builds true")

    @property
    def lora(self) -> LoraConfig:
        """Raises ModelFilesError for a list of unknown parts."""
        return LoraConfig(
            parts=self.lora_list or (),
            rank=self.lora_rank,
            alpha=self.lora_alpha,
            dropout=self.lora_dropout,
        )


UNUSED_DECODER_KEYS = frozenset(
    [
        "positional_dropout_rate",
        "self_attention_dropout_rate",
        "embeds_id",
        "input_layer",
        "pos_enc_class",
        "concat_after",
        "tf2torch_tensor_name_prefix_torch",
        "tf2torch_tensor_name_prefix_tf",
        "chunk_multiply_factor",
        "concat_embeds",
        "attention_dim",
    ]
)


class TokenMemory(nn.Module):
    """Holds the convolution under its official name, `self_attn.fsmn_block`."""

    def __init__(self, size: int, kernel_size: int, shift: int) -> None:
        super().__init__()
        self.fsmn_block = FsmnBlock(size, kernel_size, shift)

    def forward(self, x: Tensor, padding: Padding | None) -> Tensor:
        return self.fsmn_block.remember(x, padding)

    def step(self, x: Tensor, past: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, U, D), past (B, K - 1, D), counts (B,) -> (B, U, D), the next past.

        As upstream: a stream looks back only, whatever the shift. Nothing behind a row's count is remembered.
        """
        seen = torch.cat([past, x], dim=1)
        memory = self.fsmn_block.slide(seen) + x
        kept = counts[:, None] + torch.arange(past.shape[1], device=x.device)
        return memory, seen.gather(1, kept[..., None].expand_as(past))


class CrossAttention(nn.Module):
    """Tokens look at encoder frames, or at hotwords."""

    def __init__(self, heads: int, size: int, dropout: float, lora: LoraConfig | None = None) -> None:
        super().__init__()
        self.size, self.heads, self.dropout = size, heads, dropout
        lora = lora or LoraConfig()
        self.linear_q = lora.linear(size, size, "q")
        self.linear_k_v = lora.linear(size, 2 * size, "kv")
        self.linear_out = lora.linear(size, size, "o")

    def forward(self, x: Tensor, memory: Tensor, padding: Padding | None) -> Tensor:
        """x (B, U, D), memory (B, T, D) with its padding -> (B, U, D)."""
        key, value = self.linear_k_v(memory).split(self.size, dim=-1)
        dropout = self.dropout if self.training else 0.0
        out: Tensor = self.linear_out(attend(self.linear_q(x), key, value, self.heads, padding, dropout))
        return out

    def step(
        self, x: Tensor, memory: Tensor, past: KeysValues, hidden: Tensor | None
    ) -> tuple[Tensor, KeysValues]:
        """Tokens of a stream: x (B, U, D), memory (B, T, D) -> (B, U, D), and keys and values of `memory`.

        `past` has those of N frames heard before. hidden (B, 1, 1, N + T) is added to scores.
        """
        key, value = torch.split(split_heads(self.linear_k_v(memory), 2 * self.heads), self.heads, dim=1)
        query = split_heads(self.linear_q(x), self.heads)
        out: Tensor = self.linear_out(look(query, key, value, past, hidden))
        return out, (key, value)

    def weights(self, x: Tensor, memory: Tensor, padding: Padding | None) -> Tensor:
        """The attention itself: x (B, U, D), memory (B, N, D) -> (B, heads, U, N)."""
        key, _ = self.linear_k_v(memory).split(self.size, dim=-1)
        q, k = (split_heads(y, self.heads) for y in (self.linear_q(x), key))
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if padding is not None:
            scores = scores + padding.keys
        share: Tensor = scores.float().softmax(dim=-1)
        return share


class DecoderLayer(nn.Module):
    """Feed-forward first, then the memory over tokens, then cross attention."""

    def __init__(self, config: DecoderConfig, size: int, *, attends: bool = True) -> None:
        super().__init__()
        self.feed_forward = NormedFeedForward(size, config.linear_units, config.dropout_rate)
        # As upstream: layers without cross attention are never shifted.
        self.self_attn = TokenMemory(size, config.kernel_size, config.sanm_shfit if attends else 0)
        self.src_attn = (
            CrossAttention(config.attention_heads, size, config.src_attention_dropout_rate, config.lora)
            if attends
            else None
        )
        self.norm1 = layer_norm(size)
        self.norm2 = layer_norm(size)
        if attends:
            self.norm3 = layer_norm(size)
        self.dropout = Dropout(config.dropout_rate)

    def forward(self, x: Tensor, tokens: Padding | None, memory: Tensor, frames: Padding | None) -> Tensor:
        """x (B, U, D), memory (B, T, D) -> (B, U, D)."""
        x = self.gather(x, tokens)
        if self.src_attn is not None:
            x = x + self.dropout(self.src_attn(self.norm3(x), memory, frames))
        return x

    def step(
        self,
        x: Tensor,
        spoken: Tensor,
        counts: Tensor,
        memory: Tensor,
        heard: KeysValues,
        hidden: Tensor | None,
    ) -> tuple[Tensor, Tensor, KeysValues]:
        """Tokens of a stream: x (B, U, D) -> (B, U, D), the next `spoken`, keys and values of `memory`.

        spoken (B, K - 1, D) and counts (B,) as `TokenMemory.step`, the others as `CrossAttention.step`.
        """
        assert self.src_attn is not None
        y, spoken = self.self_attn.step(self.norm2(self.feed_forward(self.norm1(x))), spoken, counts)
        x = x + y
        found, seen = self.src_attn.step(self.norm3(x), memory, heard, hidden)
        return x + found, spoken, seen

    def gather(self, x: Tensor, tokens: Padding | None) -> Tensor:
        """The first two steps. Their shared way around is one: it skips the feed-forward layer as well."""
        y: Tensor = x + self.dropout(self.self_attn(self.norm2(self.feed_forward(self.norm1(x))), tokens))
        return y


class LastFeedForward(nn.Module):
    """`decoders3`: a feed-forward layer with nothing around it."""

    def __init__(self, config: DecoderConfig, size: int) -> None:
        super().__init__()
        self.feed_forward = NormedFeedForward(size, config.linear_units, config.dropout_rate)
        self.norm1 = layer_norm(size)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.feed_forward(self.norm1(x))
        return y


class ParaformerDecoder(nn.Module):
    """The official `ParaformerSANMDecoder`."""

    def __init__(self, config: DecoderConfig, size: int, vocab_size: int) -> None:
        super().__init__()
        self.heads = config.attention_heads
        # Read by training (glancing) and by the hotword encoders, never by plain inference. In a Sequential
        # because its official name is `embed.0.weight`.
        self.embed = None if config.wo_input_layer else nn.Sequential(nn.Embedding(vocab_size, size))
        self.decoders = nn.ModuleList(DecoderLayer(config, size) for _ in range(config.att_layer_num))
        extra = config.num_blocks - config.att_layer_num
        if extra > 0:
            self.decoders2 = nn.ModuleList(DecoderLayer(config, size, attends=False) for _ in range(extra))
        self.decoders3 = nn.ModuleList([LastFeedForward(config, size)])
        self.after_norm = layer_norm(size)
        self.output_layer = nn.Linear(size, vocab_size) if config.use_output_layer else None

    def forward(self, x: Tensor, tokens: Padding | None, memory: Tensor, frames: Padding | None) -> Tensor:
        """x (B, U, D) acoustic embeddings, memory (B, T, D), with their paddings -> hidden (B, U, D)."""
        for layer in self.decoders:
            x = layer(x, tokens, memory, frames)
        if hasattr(self, "decoders2"):
            for layer in self.decoders2:
                x = layer(x, tokens, memory, frames)
        return self.finish(x)

    def step(
        self,
        x: Tensor,
        spoken: Sequence[Tensor],
        counts: Tensor,
        memory: Tensor,
        heard: Tensor,
        hidden: Tensor | None,
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Tokens of a stream: x (B, U, D) -> hidden (B, U, D), the next `spoken`, and keys and values of
        `memory`.

        spoken: a (B, K - 1, D) for each layer. counts (B,), memory (B, T, D) and hidden (B, 1, 1, N + T) as
        `DecoderLayer.step` has them, heard (B, L * 2 heads, N, d) as `layers_of` takes it apart, and what is
        returned of `memory` likewise.
        """
        after: list[Tensor] = []
        seen: list[Tensor] = []
        pasts = layers_of(heard, self.heads)
        for layer, said, before in zip(self.decoders, spoken, pasts, strict=True):
            assert isinstance(layer, DecoderLayer)
            x, said, now = layer.step(x, said, counts, memory, before, hidden)
            after.append(said)
            seen += now
        return self.finish(x), after, torch.cat(seen, dim=1)

    def finish(self, x: Tensor) -> Tensor:
        """What follows the last layer that looks around: (B, U, D) -> hidden (B, U, D)."""
        for layer in self.decoders3:
            x = layer(x)
        hidden: Tensor = self.after_norm(x)
        return hidden

    def attention(self, x: Tensor, tokens: Padding | None, memory: Tensor, frames: Padding | None) -> Tensor:
        """Where the last cross attention looks: x (B, U, D), memory (B, N, D) -> (B, heads, U, N)."""
        for layer in self.decoders[:-1]:
            x = layer(x, tokens, memory, frames)
        last = self.decoders[-1]
        assert isinstance(last, DecoderLayer)
        assert last.src_attn is not None
        return last.src_attn.weights(last.norm3(last.gather(x, tokens)), memory, frames)

    def logits(self, hidden: Tensor) -> Tensor:
        """(B, U, D) -> (B, U, V)."""
        assert self.output_layer is not None
        out: Tensor = self.output_layer(hidden)
        return out

    def embedded(self, ids: Tensor) -> Tensor:
        """Token ids (...) -> (..., D)."""
        assert self.embed is not None
        vectors: Tensor = self.embed(ids)
        return vectors
