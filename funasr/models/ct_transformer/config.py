"""config.yaml -> the settings of a punctuation network, with the official field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from funasr.config import pick, section
from funasr.errors import ModelFilesError
from funasr.nn.sanm import UNUSED_ENCODER_KEYS, SanmEncoderConfig

C = TypeVar("C", bound="CtTransformerConfig")

UNUSED_MODEL_KEYS = frozenset({"att_unit", "dropout_rate", "ignore_id", "sentence_end_id", "punc_weight"})
"""Of training, or read by the stage: the network itself has no use for them."""


@dataclass(frozen=True, kw_only=True)
class _ModelConf:
    embed_unit: int = 128
    punc_list: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CtTransformerConfig:
    """What the network of `model: CTTransformer` or `CTTransformerStreaming` is built of."""

    vocab_size: int
    embed_unit: int
    """Width of a word vector."""
    labels: int
    """Punctuation labels, "no mark" and "unknown" included."""
    encoder: SanmEncoderConfig

    @classmethod
    def from_official(cls: type[C], raw: Mapping[str, Any], vocab_size: int, encoder: str) -> C:
        """`encoder` is the official name of the class that the network builds.

        Raises ModelFilesError where config.yaml asks for parts that are not built here.
        """
        if raw.get("encoder", encoder) != encoder:
            raise ModelFilesError(
                f"config.yaml: encoder is {raw['encoder']!r}; a {raw.get('model')} is built with {encoder!r}"
            )
        model = pick(_ModelConf, section(raw, "model_conf"), "model_conf", UNUSED_MODEL_KEYS)
        if len(model.punc_list) < 2:
            raise ModelFilesError(
                f"config.yaml: model_conf.punc_list is {list(model.punc_list)!r}; it must name the labels, "
                "such as ['<unk>', '_', '，', '。', '？', '、']"
            )
        return cls(
            vocab_size=vocab_size,
            embed_unit=model.embed_unit,
            labels=len(model.punc_list),
            encoder=pick(
                SanmEncoderConfig, section(raw, "encoder_conf"), "encoder_conf", UNUSED_ENCODER_KEYS
            ),
        )
