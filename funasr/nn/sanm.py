"""SANM: self-attention with a memory. Attention plus a depthwise convolution over time of its values.

The encoder of Paraformer, SenseVoice, CT-Transformer and the aligner. B batch, T frames, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from funasr.errors import ModelFilesError
from funasr.nn.dropout import Dropout, kept
from funasr.nn.layers import FeedForward, Padding, encode_positions, layer_norm, sinusoids
from funasr.nn.lora import LoraConfig
from funasr.nn.taps import along_time


@dataclass(frozen=True, kw_only=True)
class SanmEncoderConfig:
    """`encoder_conf` of the official config.yaml, same field names."""

    output_size: int = 256
    attention_heads: int = 4
    linear_units: int = 2048
    num_blocks: int = 6
    dropout_rate: float = 0.1
    attention_dropout_rate: float = 0.0
    input_layer: str = "pe"
    normalize_before: bool = True
    kernel_size: int = 11
    sanm_shfit: int = 0
    """Frames by which the convolution looks further back than ahead (the official spelling)."""
    selfattention_layer_type: str = "sanm"
    lora_list: tuple[str, ...] | None = None
    """Of q, k, v and o those that LoRA adapts."""
    lora_rank: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.1

    def __post_init__(self) -> None:
        known: dict[str, tuple[object, ...]] = {
            "input_layer": ("pe", "pe_online"),
            "normalize_before": (True,),
            "selfattention_layer_type": ("sanm",),
        }
        for name, values in known.items():
            value = getattr(self, name)
            if value not in values:
                raise ModelFilesError(
                    f"encoder_conf.{name} is {value!r}; this version builds {' or '.join(map(repr, values))}"
                )
        for name in ("output_size", "attention_heads", "linear_units", "num_blocks", "kernel_size"):
            if getattr(self, name) < 1:
                raise ModelFilesError(f"encoder_conf.{name} is {getattr(self, name)}; it must be 1 or more")
        if self.output_size % self.attention_heads:
            raise ModelFilesError(
                f"encoder_conf.output_size {self.output_size} is not a multiple of "
                f"attention_heads {self.attention_heads}"
            )

    @property
    def lora(self) -> LoraConfig:
        """Raises ModelFilesError for a list of unknown parts."""
        return LoraConfig(
            parts=self.lora_list or (),
            rank=self.lora_rank,
            alpha=self.lora_alpha,
            dropout=self.lora_dropout,
        )


UNUSED_ENCODER_KEYS = frozenset(
    # Of classes we do not build, or without effect in upstream too.
    [
        "input_size",
        "positional_dropout_rate",
        "pos_enc_class",
        "padding_idx",
        "chunk_size",
        "stride",
        "pad_left",
        "encoder_att_look_back_factor",
        "decoder_att_look_back_factor",
        "tf2torch_tensor_name_prefix_torch",
        "tf2torch_tensor_name_prefix_tf",
        "concat_after",
        "positionwise_layer_type",
        "positionwise_conv_kernel_size",
        "interctc_layer_idx",
        "interctc_use_conditioning",
        "tp_blocks",
    ]
)


SHORT = 96
"""Frames of a batch of short windows. For each new length a convolution first makes code, for 0.4 ms."""


class FsmnBlock(nn.Conv1d):
    """A learned weighted sum over neighbouring frames, channel by channel, added to the frame itself."""

    def __init__(self, size: int, kernel_size: int, shift: int) -> None:
        super().__init__(size, size, kernel_size, groups=size, bias=False)
        # As upstream: a negative shift is no shift.
        self.left = (kernel_size - 1) // 2 + max(shift, 0)
        self.right = kernel_size - 1 - self.left

    def remember(self, x: Tensor, padding: Padding | None) -> Tensor:
        """x (B, T, D) -> (B, T, D); padding is neither read nor written."""
        if padding is not None:
            x = x * padding.frames
        if x.dtype == torch.float32 and x.device.type == "cpu":
            if len(x) * x.shape[1] <= SHORT and torch.is_inference_mode_enabled():
                memory = self.slide(F.pad(x, (0, 0, self.left, self.right))) + x
            else:
                memory = self._remember_as_image(x)
        else:
            memory = self(F.pad(x.transpose(1, 2), (self.left, self.right))).transpose(1, 2) + x
        return memory if padding is None else memory * padding.frames

    def _remember_as_image(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D): 2 to 4 times as fast on a CPU."""
        # The frame itself is one more to its own weight: a pass over the activations less. (In 16 bits the
        # weights would drown in that one.)
        itself = x.new_tensor([0.0] * self.left + [1.0] + [0.0] * self.right)
        return along_time(x, self.weight + itself, self.left)

    def slide(self, seen: Tensor) -> Tensor:
        """seen (B, K - 1 + T, D) -> (B, T, D): what `forward` makes of it, the other way round.

        Of a few frames the products are written out and added up: a third of the convolution's time. A graph
        has it as images of one row, of which onnxruntime has faster kernels.
        """
        if torch.onnx.is_in_onnx_export():
            row = F.conv2d(seen.transpose(1, 2).unsqueeze(2), self.weight.unsqueeze(2), groups=self.groups)
            return row.squeeze(2).transpose(1, 2)
        taps = self.kernel_size[0]
        batch, size, width = len(seen), seen.shape[1] - taps + 1, seen.shape[2]
        if batch * size > SHORT or seen.dtype != torch.float32:
            return self(seen.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]
        around = seen.contiguous().as_strided(
            (batch, size, taps, width), (seen.shape[1] * width, width, width, 1)
        )
        return (around * self.weight.squeeze(1).t().contiguous()).sum(dim=2)


class SanmAttention(nn.Module):
    """Multi-head self-attention; the memory of the values is added after the output projection."""

    def __init__(
        self,
        heads: int,
        in_size: int,
        size: int,
        *,
        dropout: float,
        kernel_size: int,
        shift: int,
        lora: LoraConfig | None = None,
    ) -> None:
        super().__init__()
        self.size, self.heads, self.dropout = size, heads, dropout
        lora = lora or LoraConfig()
        self.linear_q_k_v = lora.linear(in_size, 3 * size, "qkv")
        self.linear_out = lora.linear(size, size, "o")
        self.fsmn_block = FsmnBlock(size, kernel_size, shift)

    def forward(self, x: Tensor, padding: Padding | None) -> Tensor:
        """x (B, T, in) -> (B, T, D)."""
        query, key, value = self.linear_q_k_v(x).split(self.size, dim=-1)
        memory = self.fsmn_block.remember(value, padding)
        seen = attend(query, key, value, self.heads, padding, self.dropout if self.training else 0.0)
        out: Tensor = self.linear_out(seen) + memory
        return out

    def step(
        self, x: Tensor, past: KeysValues, hidden: Tensor | None, frames: Tensor | None = None
    ) -> tuple[Tensor, KeysValues]:
        """A window of a stream that looks back: x (B, T, in) -> (B, T, D), and its keys and values.

        `past` has those of N frames before. hidden (B, 1, 1, N + T) is added to scores; frames (B, T, 1) is 0
        where the window is padding. The convolution does not look out of the window.
        """
        projected = self.linear_q_k_v(x)
        window, block = projected[..., 2 * self.size :], self.fsmn_block
        if frames is not None:
            window = window * frames
        if torch.onnx.is_in_onnx_export():
            memory = block._remember_as_image(window)  # saves padding, and an addition
        else:
            memory = block.slide(F.pad(window, (0, 0, block.left, block.right))) + window
        query, key, value = torch.split(split_heads(projected, 3 * self.heads), self.heads, dim=1)
        out: Tensor = self.linear_out(look(query, key, value, past, hidden)) + memory
        return out, (key, value)


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, padding: Padding | None, dropout: float = 0.0
) -> Tensor:
    """query (B, U, D), key and value (B, T, D) -> (B, U, D). `padding` is that of the keys.

    A key and value of batch 1 serve every row.
    """
    q, k, v = (split_heads(x, heads) for x in (query, key, value))
    if k.shape[0] != q.shape[0]:
        k, v = (x.expand(q.shape[0], -1, -1, -1) for x in (k, v))
    keys = None if padding is None else padding.keys
    # Widths are whole numbers in graphs too, not worked out anew from shapes in each layer.
    size = int(query.shape[2])
    scale = (size // heads) ** -0.5
    if dropout > 0 and q.device.type == "cpu":
        seen = _attend_some(q, k, v, keys, dropout)
    else:
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=keys, dropout_p=dropout, scale=scale)
    return seen.transpose(1, 2).reshape(*query.shape[:2], size)


def _attend_some(q: Tensor, k: Tensor, v: Tensor, keys: Tensor | None, dropout: float) -> Tensor:
    """`scaled_dot_product_attention` with dropout, for which a CPU has no fused form, in half of its time.

    q (B, heads, U, d), k and v (B, heads, T, d), keys (B, 1, 1 or U, T).
    """
    batch, heads, size, width = q.shape
    left, right, values = (x.reshape(batch * heads, x.shape[2], width) for x in (q, k, v))
    if keys is not None:
        # Finite: a row that hears nothing, which nobody reads, must not poison the others by its gradient.
        keys = keys.clamp(min=torch.finfo(left.dtype).min / 2)
        keys = keys.expand(batch, heads, -1, -1).flatten(0, 1)
    seen: Tensor = _AttendSome.apply(left, right, values, keys, dropout)  # type: ignore[no-untyped-call]
    return seen.view(batch, heads, size, width)


class _AttendSome(torch.autograd.Function):
    """q (N, U, d), k and v (N, T, d), keys (N, 1 or U, T) -> (N, U, d). Works in place where it can."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, keys: Tensor | None, dropout: float) -> Tensor:
        added = q.new_zeros(()) if keys is None else keys
        ctx.scale = q.shape[-1] ** -0.5
        scores = torch.baddbmm(added, q, k.mT, beta=0 if keys is None else 1, alpha=ctx.scale)
        share = scores.softmax(dim=-1)
        heard = kept(share, dropout).mul_(share)
        seen = torch.bmm(heard.to(v.dtype), v)
        ctx.save_for_backward(q, k, v, share, heard, seen)
        return seen

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, share, heard, seen = ctx.saved_tensors
        grad = grads[0]
        to_v = torch.bmm(heard.to(grad.dtype).mT, grad)
        # The gradient of softmax: the sum over what a frame sees of share times gradient is known from the
        # result, whatever was dropped.
        total = (grad.to(share.dtype) * seen).sum(dim=-1, keepdim=True)
        to_scores = torch.bmm(grad, v.mT).to(share.dtype).mul_(heard).addcmul_(share, total, value=-1)
        to_scores = to_scores.mul_(ctx.scale).to(q.dtype)
        return torch.bmm(to_scores, k), torch.bmm(to_scores.mT, q), to_v, None, None


KeysValues: TypeAlias = tuple[Tensor, Tensor]
"""(B, heads, N, D / heads) each: what was looked at in one layer."""


def look(query: Tensor, key: Tensor, value: Tensor, past: KeysValues, hidden: Tensor | None) -> Tensor:
    """`attend` of a stream: query (B, heads, U, d), key and value (B, heads, T, d) and a past -> (B, U, D).

    hidden (B, 1, 1, N + T) is added to scores.
    """
    heads, width = int(query.shape[1]), int(query.shape[3])
    key, value = (torch.cat(pair, dim=2) for pair in zip(past, (key, value), strict=True))
    if torch.onnx.is_in_onnx_export():
        # The exporter spells the fused operator out in more steps, and onnxruntime runs each of them.
        scores = query @ key.transpose(-1, -2) * width**-0.5
        found: Tensor = (scores if hidden is None else scores + hidden).softmax(dim=-1) @ value
    else:
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=hidden)
    return found.transpose(1, 2).reshape(query.shape[0], -1, heads * width)


def layers_of(past: Tensor, heads: int) -> list[KeysValues]:
    """(B, L * 2 heads, N, d) keys, then values of each layer, one layer behind the other -> L of them."""
    parts = torch.split(past, heads, dim=1)
    return list(zip(parts[::2], parts[1::2], strict=True))


def hide(sizes: Tensor, past: int, lengths: Tensor, size: int) -> Tensor:
    """What is added to scores where rows remember `sizes` (B,) of the last `past` frames -> (B, 1, 1, N + T).

    And where `lengths` (B,) of the `size` frames of their windows are real. Not infinite: a row of nothing
    would be all NaN.
    """
    device = sizes.device
    old = torch.arange(past, device=device)[None, :] < past - sizes.expand_as(lengths)[:, None]
    padding = torch.arange(size, device=device)[None, :] >= lengths[:, None]
    return (torch.cat([old, padding], dim=1) * -10000.0)[:, None, None, :]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) -> (B, heads, T, D / heads)."""
    return x.view(*x.shape[:2], heads, int(x.shape[2]) // heads).transpose(1, 2)


class SanmEncoderLayer(nn.Module):
    """Attention, then feed-forward, each normalised before."""

    def __init__(self, config: SanmEncoderConfig, in_size: int, norm_eps: float = 1e-12) -> None:
        super().__init__()
        size = config.output_size
        self.self_attn = SanmAttention(
            config.attention_heads,
            in_size,
            size,
            dropout=config.attention_dropout_rate,
            kernel_size=config.kernel_size,
            shift=config.sanm_shfit,
            lora=config.lora,
        )
        self.feed_forward = FeedForward(size, config.linear_units, config.dropout_rate)
        self.norm1 = layer_norm(in_size, norm_eps)
        self.norm2 = layer_norm(size, norm_eps)
        self.dropout = Dropout(config.dropout_rate)
        self.residual = in_size == size

    def forward(self, x: Tensor, padding: Padding | None) -> Tensor:
        """x (B, T, in) -> (B, T, D)."""
        heard = self.dropout(self.self_attn(self.norm1(x), padding))
        # As upstream: where the width changes there is no way around the attention.
        x = x + heard if self.residual else heard
        y: Tensor = x + self.dropout(self.feed_forward(self.norm2(x)))
        return y

    def step(
        self, x: Tensor, past: KeysValues, hidden: Tensor | None, frames: Tensor | None = None
    ) -> tuple[Tensor, KeysValues]:
        """A window of a stream: x (B, T, in) -> (B, T, D), keys and values; all as `SanmAttention.step`."""
        heard, seen = self.self_attn.step(self.norm1(x), past, hidden, frames)
        x = x + heard if self.residual else heard
        y: Tensor = x + self.feed_forward(self.norm2(x))
        return y, seen


class SanmEncoder(nn.Module):
    """Features -> hidden frames, one for one."""

    def __init__(self, config: SanmEncoderConfig, input_size: int, norm_eps: float = 1e-12) -> None:
        super().__init__()
        self.scale, self.heads = math.sqrt(config.output_size), config.attention_heads
        self.encoders0 = nn.ModuleList([SanmEncoderLayer(config, input_size, norm_eps)])
        self.encoders = nn.ModuleList(
            SanmEncoderLayer(config, config.output_size, norm_eps) for _ in range(config.num_blocks - 1)
        )
        self.after_norm = layer_norm(config.output_size, norm_eps)

    def forward(self, x: Tensor, padding: Padding | None) -> Tensor:
        """x (B, T, in) -> (B, T, D). What comes out at padded frames means nothing."""
        x = self.enter(x)
        for layer in self.encoders0:
            x = layer(x, padding)
        for layer in self.encoders:
            x = layer(x, padding)
        out: Tensor = self.after_norm(x)
        return out

    def step(
        self, x: Tensor, past: Tensor, hidden: Tensor | None, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A window of a stream: x (B, T, in), already `enter`ed -> (B, T, D), and its keys and values.

        past (B, L * 2 heads, N, d) as `layers_of` takes it apart, and what is returned of the window
        likewise; hidden (B, 1, 1, N + T) and frames (B, T, 1) as `SanmAttention.step` has them.
        """
        seen: list[Tensor] = []
        layers = (*self.encoders0, *self.encoders)
        for layer, before in zip(layers, layers_of(past, self.heads), strict=True):
            assert isinstance(layer, SanmEncoderLayer)
            x, now = layer.step(x, before, hidden, frames)
            seen += now
        return self.after_norm(x), torch.cat(seen, dim=1)

    def enter(self, x: Tensor, start: int | Tensor = 1) -> Tensor:
        """Scale the features and add the position encoding, frame 0 of `x` being position `start`.

        A tensor of starts (B,) has one for each row.
        """
        if isinstance(start, Tensor):
            ahead = torch.arange(x.shape[1], dtype=torch.float32, device=x.device)
            places = encode_positions(start[:, None] + ahead, x.shape[2])
        else:
            places = sinusoids(x.shape[1], x.shape[2], x.device, start)
        placed = x.float() * self.scale + places
        # Half-precision networks get their type here, after the positions were added in float32.
        return placed.to(self.after_norm.weight.dtype)
