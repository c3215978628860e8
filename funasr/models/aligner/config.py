"""config.yaml -> the settings of an alignment network, with the official field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from funasr.config import pick, section
from funasr.errors import ModelFilesError
from funasr.nn.cif import UNUSED_PREDICTOR_KEYS, CifPredictorConfig, require_equal_widths
from funasr.nn.sanm import UNUSED_ENCODER_KEYS, SanmEncoderConfig

PARTS = {"encoder": "SANMEncoder", "predictor": "CifPredictorV3"}


@dataclass(frozen=True, kw_only=True)
class AlignerConfig:
    """What the network of `model: MonotonicAligner` is built of."""

    input_size: int
    """Width of a feature frame: n_mels * lfr_m."""
    encoder: SanmEncoderConfig
    predictor: CifPredictorConfig

    @classmethod
    def from_official(cls, raw: Mapping[str, Any], input_size: int) -> AlignerConfig:
        """Raises ModelFilesError where config.yaml asks for parts that are not built here."""
        for part, known in PARTS.items():
            if raw.get(part, known) != known:
                raise ModelFilesError(
                    f"config.yaml: {part} is {raw[part]!r}; a MonotonicAligner is built with {known!r}"
                )
        encoder = pick(SanmEncoderConfig, section(raw, "encoder_conf"), "encoder_conf", UNUSED_ENCODER_KEYS)
        predictor = pick(
            CifPredictorConfig, section(raw, "predictor_conf"), "predictor_conf", UNUSED_PREDICTOR_KEYS
        )
        require_equal_widths(encoder, predictor)
        return cls(input_size=input_size, encoder=encoder, predictor=predictor)
