"""ContextualParaformer: the last decoder layer looks at hotwords as well as at the sound (CLAS).

B batch, U tokens, T frames, D width, N phrases, V vocabulary.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from funasr.errors import ModelFilesError
from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.paraformer.decoder import CrossAttention, DecoderConfig, DecoderLayer, ParaformerDecoder
from funasr.models.paraformer.network import Encoded, Paraformer, best
from funasr.models.paraformer.phrases import PhraseMemory, Phrases, padded_ids
from funasr.nn.cif import Prediction
from funasr.nn.layers import Padding, layer_norm
from funasr.nn.recurrent import last_hidden
from funasr.stages.phrases import Ids
from funasr.stages.protocols import Hotwords


class BiasDecoder(nn.Module):
    """Cross attention to phrases, with its own normalisation."""

    def __init__(self, config: DecoderConfig, size: int) -> None:
        super().__init__()
        self.src_attn = CrossAttention(config.attention_heads, size, config.src_attention_dropout_rate)
        self.norm3 = layer_norm(size)

    def forward(self, x: Tensor, phrases: Phrases) -> Tensor:
        """x (B, U, D) -> (B, U, D)."""
        out: Tensor = self.src_attn(self.norm3(x), phrases.vectors, phrases.padding())
        return out


class ContextualDecoder(ParaformerDecoder):
    """The official `ContextualParaformerDecoder`: its last layer hears sound and hotwords."""

    def __init__(self, config: DecoderConfig, size: int, vocab_size: int) -> None:
        count = config.att_layer_num - 1
        super().__init__(replace(config, att_layer_num=count, num_blocks=count), size, vocab_size)
        self.last_decoder = DecoderLayer(config, size)
        self.bias_decoder = BiasDecoder(config, size)
        # A 1 x 1 convolution by name; used as the linear layer it is.
        self.bias_output = nn.Conv1d(2 * size, size, 1, bias=False)

    def biased(
        self,
        x: Tensor,
        tokens: Padding | None,
        memory: Tensor,
        frames: Padding | None,
        phrases: Phrases,
        scale: float | Tensor = 1.0,
    ) -> Tensor:
        """x (B, U, D), memory (B, T, D), with phrases -> hidden (B, U, D). `scale` is the hotwords'."""
        for layer in self.decoders:
            x = layer(x, tokens, memory, frames)
        last = self.last_decoder
        assert last.src_attn is not None
        x = last.gather(x, tokens)
        sound = last.src_attn(last.norm3(x), memory, frames)
        words = self.bias_decoder(x, phrases)
        mixed = F.linear(torch.cat([sound, scale * words], dim=-1), self.bias_output.weight.squeeze(-1))
        return self.finish(x + mixed)


class ContextualParaformer(Paraformer):
    """Paraformer that always looks at a list of hotwords; the "no hotword" entry alone if none are given."""

    accepts_hotwords = True
    decoder: ContextualDecoder

    def __init__(self, config: ParaformerConfig) -> None:
        super().__init__(config)
        size = config.inner_dim
        if size != config.encoder.output_size:
            raise ModelFilesError(
                f"model_conf.inner_dim is {size}, encoder_conf.output_size {config.encoder.output_size}: "
                "a ContextualParaformer needs them equal"
            )
        self.bias_encoder = nn.LSTM(size, size, num_layers=1, batch_first=True)
        self.bias_embed = None if config.use_decoder_embedding else nn.Embedding(config.vocab_size, size)
        self._phrases = PhraseMemory(self.encode_phrases)

    def build_decoder(self, config: ParaformerConfig) -> ContextualDecoder:
        return ContextualDecoder(config.decoder, config.encoder.output_size, config.vocab_size)

    def encode_phrases(self, ids: Ids) -> Tensor:
        """N phrases of token ids -> (1, N, D)."""
        table, lengths = padded_ids(ids, self.device)
        return last_hidden(self.bias_encoder, self.embed_phrases(table), lengths)[None]

    def embed_phrases(self, table: Tensor) -> Tensor:
        """Token ids (N, L) -> (N, L, D), what the hotword encoder reads."""
        vectors: Tensor = self.decoder.embedded(table) if self.bias_embed is None else self.bias_embed(table)
        return vectors

    def choose(
        self, predicted: Prediction, encoded: Encoded, hotwords: Hotwords | None
    ) -> tuple[Tensor, Tensor]:
        """The best id at each position and its probability, both (B, U)."""
        if predicted.embeds.shape[1] == 0:
            return best(self.decoder.logits(predicted.embeds.to(encoded.memory.dtype)))
        phrases = self._phrases.phrases(hotwords, self.config.sos, self.bias_encoder)
        scale = 1.0 if hotwords is None else hotwords.scale
        return best(self.score_with(phrases, predicted, encoded, scale))

    def score_with(
        self, phrases: Phrases, predicted: Prediction, encoded: Encoded, scale: float | Tensor = 1.0
    ) -> Tensor:
        """-> logits (B, U, V). `scale` is the hotwords'."""
        embeds = predicted.embeds.to(encoded.memory.dtype)
        tokens = Padding.of(predicted.counts, embeds.shape[1], embeds.dtype)
        hidden = self.decoder.biased(embeds, tokens, encoded.memory, encoded.frames, phrases, scale)
        return self.decoder.logits(hidden)
