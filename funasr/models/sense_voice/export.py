"""SenseVoice as upstream's graph: `speech` and two of the questions -> `ctc_logits`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from funasr.models.sense_voice.network import SenseVoiceSmall
from funasr.nn.graph import Graph
from funasr.stages.sense_voice import EMOTION_AND_EVENT


class SenseVoiceGraph(nn.Module):
    """The network, which is always asked for emotion and event."""

    asked: Tensor

    def __init__(self, network: SenseVoiceSmall) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("asked", torch.tensor([EMOTION_AND_EVENT]))

    def forward(
        self, speech: Tensor, speech_lengths: Tensor, language: Tensor, textnorm: Tensor
    ) -> tuple[Tensor, Tensor]:
        """speech (B, T, D), the rest (B,) int32 -> scores (B, Q + T, V), and rows of each that are real."""
        asked = self.asked.expand(speech.shape[0], -1)
        queries = torch.cat([language[:, None].long(), asked, textnorm[:, None].long()], dim=1)
        hidden = self.network(speech, speech_lengths, queries)
        return self.network.ctc(hidden), speech_lengths + queries.shape[1]


def graphs(network: SenseVoiceSmall) -> list[Graph]:
    """One graph."""
    batch = {0: "batch_size"}
    return [
        Graph(
            name="model",
            module=SenseVoiceGraph(network),
            example=(
                torch.zeros(2, 30, network.config.input_size),
                torch.tensor([6, 30], dtype=torch.int32),
                torch.tensor([0, 3], dtype=torch.int32),
                torch.tensor([15, 14], dtype=torch.int32),
            ),
            inputs=("speech", "speech_lengths", "language", "textnorm"),
            outputs=("ctc_logits", "encoder_out_lens"),
            axes={
                "speech": {0: "batch_size", 1: "feats_length"},
                "speech_lengths": batch,
                "language": batch,
                "textnorm": batch,
                "ctc_logits": {0: "batch_size", 1: "logits_length"},
                "encoder_out_lens": batch,
            },
        )
    ]
