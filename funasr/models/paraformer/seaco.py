"""SeacoParaformer: BiCifParaformer with a second decoder that hears hotwords and may overrule the first.

B batch, U tokens, D width, V vocabulary, N phrases.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from funasr.errors import ModelFilesError
from funasr.models.paraformer.bicif import BiCifParaformer
from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.paraformer.decoder import ParaformerDecoder
from funasr.models.paraformer.network import Encoded, best
from funasr.models.paraformer.phrases import PhraseMemory, Phrases, padded_ids
from funasr.nn.cif import Prediction
from funasr.nn.layers import Padding
from funasr.nn.recurrent import last_hidden
from funasr.stages.phrases import Ids
from funasr.stages.protocols import Hotwords

MOST_PHRASES = 50
"""Of a longer list each utterance keeps this many, the ones it attends to most."""


class SeacoParaformer(BiCifParaformer):
    """The main decoder knows nothing of hotwords; where the second one hears one, its answer counts."""

    accepts_hotwords = True

    def __init__(self, config: ParaformerConfig) -> None:
        super().__init__(config)
        if config.bias_encoder_type != "lstm" or config.bias_encoder_bid:
            raise ModelFilesError(
                f"model_conf has bias_encoder_type {config.bias_encoder_type!r} and bias_encoder_bid "
                f"{config.bias_encoder_bid}; this version builds 'lstm' and false"
            )
        if config.seaco_decoder is None:
            raise ModelFilesError(
                "config.yaml of a SeacoParaformer has no seaco_decoder and seaco_decoder_conf"
            )
        size = config.inner_dim
        if size != config.encoder.output_size:
            raise ModelFilesError(
                f"model_conf.inner_dim is {size}, encoder_conf.output_size {config.encoder.output_size}: "
                "a SeacoParaformer needs them equal"
            )
        self.bias_encoder = nn.LSTM(size, size, num_layers=2, batch_first=True)
        self.seaco_decoder = ParaformerDecoder(config.seaco_decoder, size, config.vocab_size)
        self.hotword_output_layer = nn.Linear(size, config.vocab_size)
        self._phrases = PhraseMemory(self.encode_phrases)

    def encode_phrases(self, ids: Ids) -> Tensor:
        """N phrases of token ids -> (1, N, D)."""
        table, lengths = padded_ids(ids, self.device)
        return last_hidden(self.bias_encoder, self.embed_phrases(table), lengths)[None]

    def embed_phrases(self, table: Tensor) -> Tensor:
        """Token ids (N, L) -> (N, L, D), what the hotword encoder reads."""
        return self.decoder.embedded(table)

    def choose(
        self, predicted: Prediction, encoded: Encoded, hotwords: Hotwords | None
    ) -> tuple[Tensor, Tensor]:
        """-> the best id at each position and its probability, both (B, U)."""
        if hotwords is None or predicted.embeds.shape[1] == 0:
            return best(self.score(predicted, encoded))
        phrases = self._phrases.phrases(hotwords, self.config.sos, self.bias_encoder)
        return best(self.score_with(phrases, predicted, encoded, hotwords.scale))

    def score_with(
        self, phrases: Phrases, predicted: Prediction, encoded: Encoded, scale: float | Tensor = 1.0
    ) -> Tensor:
        """Logits (B, U, V): of the hotword branch where it answers anything but NO_BIAS, else the main ones.

        At a `scale` of 0 they are all the main ones.
        """
        hidden = self.decode(predicted.embeds, predicted.counts, encoded)
        tokens = Padding.of(predicted.counts, hidden.shape[1], hidden.dtype)
        # Of a graph that is being made the number of phrases is not known; the best of few are all of them.
        if torch.onnx.is_in_onnx_export() or phrases.vectors.shape[1] > MOST_PHRASES:
            phrases = phrases.pick(most_attended(self.attended(hidden, tokens, phrases)))
        hot = self.hotword_logits(predicted.embeds, hidden, tokens, phrases)
        heard = (hot.argmax(dim=-1, keepdim=True) != self.config.NO_BIAS) & (torch.as_tensor(scale) > 0)
        return torch.where(heard, hot, self.decoder.logits(hidden))

    def hotword_logits(self, embeds: Tensor, hidden: Tensor, tokens: Padding, phrases: Phrases) -> Tensor:
        """embeds and hidden (B, U, D) of the main decoder -> logits (B, U, V) of the hotword branch."""
        # The same decoder reads both, against the same phrases: one pass over a batch of twice the size.
        twice = Padding(tokens.frames.repeat(2, 1, 1), tokens.keys.repeat(2, 1, 1, 1))
        both = torch.cat([embeds.to(hidden.dtype), hidden])
        if phrases.vectors.shape[0] > 1:
            phrases = Phrases(phrases.vectors.repeat(2, 1, 1), phrases.priors.repeat(2, 1))
        seen = self.seaco_decoder(both, twice, phrases.vectors, phrases.padding())
        from_embeds, from_hidden = seen.chunk(2)
        logits: Tensor = self.hotword_output_layer(from_embeds + from_hidden)
        return logits

    def attended(self, hidden: Tensor, tokens: Padding, phrases: Phrases) -> Tensor:
        """How much each row looks at each phrase: (B, N), summed over heads and tokens.

        It is the attention of the decoder's last full layer, over all phrases.
        """
        weights = self.seaco_decoder.attention(hidden, tokens, phrases.vectors, phrases.padding())
        return (weights.sum(dim=1) * tokens.frames).sum(dim=1)


def most_attended(scores: Tensor, count: int = MOST_PHRASES) -> Tensor:
    """scores (B, N) -> (B, count + 1) indices of the best phrases; the "no hotword" entry last, once.

    Upstream lets the first row of a batch choose for all, and may have that entry twice.
    """
    others = scores.shape[1] - 1
    if torch.onnx.is_in_onnx_export():  # where sizes are tensors
        count = torch.minimum(torch.tensor(count), torch.as_tensor(others))  # type: ignore[assignment]
    else:
        count = min(count, others)
    kept = scores[:, :-1].topk(count, dim=1).indices
    return torch.cat([kept, torch.full_like(scores[:, :1], others, dtype=torch.long)], dim=1)
