"""config.yaml -> the settings of a SenseVoice network, with the official field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from funasr.config import pick, section
from funasr.errors import ModelFilesError
from funasr.nn.sanm import UNUSED_ENCODER_KEYS, SanmEncoderConfig

ENCODER = "SenseVoiceEncoderSmall"


@dataclass(frozen=True, kw_only=True)
class SenseVoiceEncoderConfig(SanmEncoderConfig):
    """`encoder_conf`: that of a SANM encoder, and a second stack of blocks behind it."""

    tp_blocks: int = 0


@dataclass(frozen=True, kw_only=True)
class SenseVoiceConfig:
    """What the network of `model: SenseVoiceSmall` is built of."""

    vocab_size: int
    input_size: int
    """Width of a feature frame: n_mels * lfr_m."""
    encoder: SenseVoiceEncoderConfig

    @classmethod
    def from_official(cls, raw: Mapping[str, Any], vocab_size: int, input_size: int) -> SenseVoiceConfig:
        """Raises ModelFilesError where config.yaml asks for parts that are not built here."""
        if raw.get("encoder", ENCODER) != ENCODER:
            raise ModelFilesError(
                f"config.yaml: encoder is {raw['encoder']!r}; a SenseVoiceSmall is built with {ENCODER!r}"
            )
        return cls(
            vocab_size=vocab_size,
            input_size=input_size,
            encoder=pick(
                SenseVoiceEncoderConfig, section(raw, "encoder_conf"), "encoder_conf", UNUSED_ENCODER_KEYS
            ),
        )
