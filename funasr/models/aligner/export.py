"""MonotonicAligner as a graph, `speech`, `speech_lengths` -> `us_alphas`. Upstream exports none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from funasr.models.aligner.network import MonotonicAligner
from funasr.nn.graph import Graph


class AlignerGraph(nn.Module):
    """The network of padded batches."""

    def __init__(self, network: MonotonicAligner) -> None:
        super().__init__()
        self.network = network

    def forward(self, speech: Tensor, speech_lengths: Tensor) -> Tensor:
        """speech (B, T, D), speech_lengths (B,) int32 -> weights (B, R * T), zero at padding."""
        alphas: Tensor = self.network(speech, speech_lengths)
        return alphas


def graphs(network: MonotonicAligner) -> list[Graph]:
    """One graph."""
    return [
        Graph(
            name="model",
            module=AlignerGraph(network),
            example=(
                torch.zeros(2, 30, network.config.input_size),
                torch.tensor([6, 30], dtype=torch.int32),
            ),
            inputs=("speech", "speech_lengths"),
            outputs=("us_alphas",),
            axes={
                "speech": {0: "batch_size", 1: "feats_length"},
                "speech_lengths": {0: "batch_size"},
                "us_alphas": {0: "batch_size", 1: "alphas_length"},
            },
        )
    ]
