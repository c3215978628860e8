"""BiCifParaformer: Paraformer with a second, finer look at time that gives each token its timestamps."""

from __future__ import annotations

from funasr.models.paraformer.config import ParaformerConfig
from funasr.models.paraformer.network import Paraformer
from funasr.nn.cif import CifPredictorV3


class BiCifParaformer(Paraformer):
    """Paraformer whose predictor has a timestamp head."""

    has_timestamps = True
    predictor: CifPredictorV3

    def build_predictor(self, config: ParaformerConfig) -> CifPredictorV3:
        return CifPredictorV3(config.predictor)
