"""FsmnVad as upstream's graph: `speech`, `in_cache0..` -> `logits` (softmax), `out_cache0..`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from funasr.models.fsmn_vad.network import FsmnVad
from funasr.nn.fsmn import FsmnState
from funasr.nn.graph import Graph


class FsmnVadGraph(nn.Module):
    """The network with its memory as plain inputs and outputs (B, P, L, 1), and probabilities for logits."""

    def __init__(self, network: FsmnVad) -> None:
        super().__init__()
        self.network = network

    def forward(self, speech: Tensor, *caches: Tensor) -> tuple[Tensor, ...]:
        """speech (B, T, D) -> (B, T, C) that sum to one, and the next caches."""
        state = FsmnState(tuple(cache.squeeze(3) for cache in caches))
        logits, state = self.network(speech, state)
        return (logits.softmax(-1), *(past.unsqueeze(3) for past in state.pasts))


def graphs(network: FsmnVad) -> list[Graph]:
    """One graph. B and T are dynamic (upstream fixes B to 1, which fits)."""
    config = network.config.encoder
    layers = range(config.fsmn_layers)
    caches = tuple(past.unsqueeze(3) for past in FsmnState.initial(config).pasts)
    inputs = ("speech", *(f"in_cache{layer}" for layer in layers))
    outputs = ("logits", *(f"out_cache{layer}" for layer in layers))
    axes = {name: {0: "batch_size"} for name in inputs + outputs}
    axes["speech"][1] = axes["logits"][1] = "feats_length"
    return [
        Graph(
            name="model",
            module=FsmnVadGraph(network),
            example=(torch.zeros(1, 30, config.input_dim), *caches),
            inputs=inputs,
            outputs=outputs,
            axes=axes,
        )
    ]
