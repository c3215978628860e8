"""CT-Transformer as upstream's graphs: `inputs`, `text_lengths` (and the masks of live texts) -> `logits`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from funasr.models.ct_transformer.network import CTTransformer
from funasr.models.ct_transformer.online import CTTransformerStreaming
from funasr.nn.graph import Graph

BATCH, WORDS = "batch_size", "feats_length"


class PunctuationGraph(nn.Module):
    """The network of whole texts."""

    def __init__(self, network: CTTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, text_lengths: Tensor) -> Tensor:
        """inputs (B, T) int32, text_lengths (B,) int32 -> (B, T, C)."""
        logits: Tensor = self.network(inputs, text_lengths)
        return logits


class LivePunctuationGraph(nn.Module):
    """The network of live texts, whose masks the caller draws."""

    def __init__(self, network: CTTransformerStreaming) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, text_lengths: Tensor, vad_masks: Tensor, sub_masks: Tensor) -> Tensor:
        """Masks (B, 1, T, T) are 1.0 where row sees column: of the last layer, and of all before it."""
        hidden = self.network.encode_through(
            self.network.embed(inputs), text_lengths, sub_masks[:, 0] < 0.5, vad_masks[:, 0] < 0.5
        )
        logits: Tensor = self.network.decoder(hidden)
        return logits


def graphs(network: CTTransformer) -> list[Graph]:
    """One graph. Of live texts B is dynamic too (upstream fixes it to 1, which fits)."""
    words = 20
    ids, lengths = torch.ones(2, words, dtype=torch.int32), torch.tensor([words - 5, words]).int()
    inputs: tuple[str, ...] = ("inputs", "text_lengths")
    axes = {
        "inputs": {0: BATCH, 1: WORDS},
        "text_lengths": {0: BATCH},
        "logits": {0: BATCH, 1: "logits_length"},
    }
    module: nn.Module = PunctuationGraph(network)
    example: tuple[Tensor, ...] = (ids, lengths)
    if isinstance(network, CTTransformerStreaming):
        masks = torch.ones(2, 1, words, words)
        module = LivePunctuationGraph(network)
        inputs += ("vad_masks", "sub_masks")
        example += (masks, masks.tril())
        for name in ("vad_masks", "sub_masks"):
            axes[name] = {0: BATCH, 2: "feats_length1", 3: "feats_length2"}
    return [
        Graph(
            name="model",
            module=module,
            example=example,
            inputs=inputs,
            outputs=("logits",),
            axes=axes,
            # Six columns: no time is lost by them, and of the marks that integers change, half.
            keep_float=("decoder",),
        )
    ]
