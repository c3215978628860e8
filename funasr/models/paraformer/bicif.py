"""BiCifParaformer: Paraformer with a second, finer look at time that gives each token its timestamps.

B batch, T frames, R timestamp weights a frame.
"""

from __future__ import annotations

from torch import Tensor

from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.paraformer.network import Encoded, Paraformer
from funasr.nn.cif import CifPredictorV3, Prediction


class BiCifParaformer(Paraformer):
    """Paraformer whose predictor has a timestamp head."""

    has_timestamps = True
    predictor: CifPredictorV3

    def build_predictor(self, config: ParaformerConfig) -> CifPredictorV3:
        return CifPredictorV3(config.predictor)

    def firing(self, predicted: Prediction, encoded: Encoded) -> tuple[Tensor, Tensor, int]:
        """The fine weights (B, R * T), each row scaled to sum to its number of tokens."""
        rate = self.config.predictor.upsample_times
        alphas = self.predictor.fine_weights(encoded.memory, encoded.lengths)
        scale = predicted.counts / alphas.sum(dim=1).clamp(min=1e-6)
        return alphas * scale[:, None], encoded.lengths * rate, rate
