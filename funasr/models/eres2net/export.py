"""ERes2NetV2 as a graph: `speech` -> `embedding`. Names ours; upstream exports none."""

from __future__ import annotations

import torch

from funasr.models.eres2net.network import Eres2NetV2
from funasr.nn.graph import Graph


def graphs(network: Eres2NetV2) -> list[Graph]:
    """One graph; the exporter folds the normalisations into the convolutions before them."""
    return [
        Graph(
            name="model",
            module=network,
            example=(torch.zeros(2, 148, network.feature_size),),
            inputs=("speech",),
            outputs=("embedding",),
            axes={"speech": {0: "batch_size", 1: "feats_length"}, "embedding": {0: "batch_size"}},
            keep_float=("seg_1",),  # all else are convolutions: one product as integers would gain nothing
        )
    ]
