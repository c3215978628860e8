"""config.yaml -> the settings of an alignment network, with the official field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from funasr.config import pick
from funasr.errors import ModelFilesError
from funasr.nn.cif import UNUSED_PREDICTOR_KEYS, CifPredictorConfig
from funasr.nn.sanm import UNUSED_ENCODER_KEYS, SanmEncoderConfig

T = TypeVar("T")

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
        return cls(
            input_size=input_size,
            encoder=_section(raw, "encoder_conf", SanmEncoderConfig, UNUSED_ENCODER_KEYS),
            predictor=_section(raw, "predictor_conf", CifPredictorConfig, UNUSED_PREDICTOR_KEYS),
        )


def _section(raw: Mapping[str, Any], name: str, cls: type[T], unused: frozenset[str]) -> T:
    section = raw.get(name) or {}
    if not isinstance(section, Mapping):
        raise ModelFilesError(f"config.yaml: {name} is {section!r}, not a mapping of settings")
    return pick(cls, section, name, unused)
