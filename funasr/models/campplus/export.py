"""CAM++ as a graph: `speech` -> `embedding`. Names ours; upstream exports none."""

from __future__ import annotations

import torch

from funasr.models.campplus.config import SEGMENT_FRAMES
from funasr.models.campplus.network import Campplus
from funasr.nn.graph import Graph


def graphs(network: Campplus) -> list[Graph]:
    """One graph, of the form for inference: no normalisation is left in it."""
    # Longer than a stretch of the context masks, so that the graph has what long speech needs.
    frames = 5 * SEGMENT_FRAMES
    return [
        Graph(
            name="model",
            module=network.fused(),
            example=(torch.zeros(2, frames, network.feature_size),),
            inputs=("speech",),
            outputs=("embedding",),
            axes={"speech": {0: "batch_size", 1: "feats_length"}, "embedding": {0: "batch_size"}},
            # As integers these products are no faster, for each makes integers of long rows for few columns,
            # and voices turn by a cosine of 0.965.
            keep_float=("blocks", "dense"),
        )
    ]
