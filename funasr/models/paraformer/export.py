"""The Paraformers that hear whole utterances, as upstream's graphs.

`model`: speech (B, T, input), speech_lengths (B,) [, bias_embed (B, N, D)] -> logits (B, U, V), which are
log-probabilities, token_num (B,), and firing weights. `model_eb`: hotword (N, L) -> hw_embed (L, N, D).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from funasr.decode.cif import TIMESTAMP_THRESHOLD
from funasr.models.paraformer.contextual import ContextualParaformer
from funasr.models.paraformer.network import Paraformer
from funasr.models.paraformer.phrases import Phrases
from funasr.models.paraformer.seaco import SeacoParaformer
from funasr.nn.cif import firing_peaks
from funasr.nn.graph import Graph

LARGEST_PHRASE = 10
"""Ids in a row of upstream's hotword graph. Ours takes any number."""


class AcousticGraph(nn.Module):
    """The network behind names: lengths are int32, hotwords are vectors, logits log-probabilities."""

    def __init__(self, network: Paraformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, speech: Tensor, speech_lengths: Tensor, *hotwords: Tensor) -> tuple[Tensor, ...]:
        """hotwords: bias_embed (B, N, D), bias_prior (1 or B, 1 or N), clas_scale (1,)."""
        network = self.network
        encoded = network.encode(speech, speech_lengths.long())
        predicted = network.predictor(encoded.memory, encoded.lengths)
        if not torch.onnx.is_in_onnx_export() and predicted.embeds.shape[1] == 0:
            logits = network.decoder.logits(predicted.embeds)  # of nothing; a graph has a row at least
        elif isinstance(network, SeacoParaformer | ContextualParaformer):
            vectors, prior, scale = hotwords
            phrases = Phrases(vectors, prior + torch.zeros_like(vectors[..., 0]))
            logits = network.score_with(phrases, predicted, encoded, scale)
        else:
            logits = network.score(predicted, encoded)
        answers = logits.log_softmax(dim=-1), predicted.counts.int()
        alphas, _, _ = network.firing(predicted, encoded)
        peaks = (firing_peaks(alphas, TIMESTAMP_THRESHOLD),) if network.has_timestamps else ()
        return (*answers, alphas, *peaks)


class PhraseGraph(nn.Module):
    """The hotword encoder: what it says after each id. A phrase's vector is that after its last one."""

    def __init__(self, network: SeacoParaformer | ContextualParaformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, hotword: Tensor) -> Tensor:
        hidden: Tensor = self.network.bias_encoder(self.network.embed_phrases(hotword.long()))[0]
        return hidden.transpose(0, 1)


def graphs(network: Paraformer) -> list[Graph]:
    """One graph, and one more of a network that takes hotwords."""
    batch, size = {0: "batch_size"}, network.config.encoder.output_size
    axes = {
        "speech": {**batch, 1: "feats_length"},
        "speech_lengths": batch,
        "logits": {**batch, 1: "logits_length"},
        "token_num": batch,
    }
    example = torch.randn(2, 30, network.config.input_size), torch.tensor([15, 30], dtype=torch.int32)
    plain = type(network) is Paraformer
    fired = ("us_alphas", "us_cif_peak") if network.has_timestamps else ("alphas",)
    if plain:
        fired = ("token_alphas",)  # not listed: sherpa-onnx would take it for a timestamp head, and crash
    axes |= {name: {**batch, 1: "alphas_length"} for name in fired}
    hotwords: dict[str, Tensor] = {}
    if isinstance(network, SeacoParaformer | ContextualParaformer):
        hotwords = {
            "bias_embed": torch.randn(2, 3, size),
            "bias_prior": torch.zeros(1, 1),  # added to the scores of all phrases, or of each
            "clas_scale": torch.ones(1),
        }
        axes |= {"bias_embed": {**batch, 1: "num_hotwords"}, "bias_prior": {0: "one", 1: "num_priors"}}
    model = Graph(
        name="model",
        module=AcousticGraph(network),
        example=(*example, *hotwords.values()),
        inputs=("speech", "speech_lengths", *hotwords),
        outputs=("logits", "token_num", *fired),
        axes=axes,
        optional=tuple(hotwords)[1:],
        further=fired if plain else (),
        stepped=("us_cif_peak",),
        keep_float=("output", "bias_encoder", "bias_decoder"),
    )
    if not isinstance(network, SeacoParaformer | ContextualParaformer):
        return [model]
    phrase = Graph(
        name="model_eb",
        module=PhraseGraph(network),
        example=(torch.ones(6, LARGEST_PHRASE, dtype=torch.int32),),
        inputs=("hotword",),
        outputs=("hw_embed",),
        axes={
            "hotword": {0: "num_hotwords", 1: "hotword_length"},
            "hw_embed": {0: "hotword_length", 1: "num_hotwords"},
        },
    )
    return [model, phrase]
