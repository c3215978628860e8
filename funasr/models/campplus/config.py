"""config.yaml of a CAM++ -> CampplusConfig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from funasr.config import pick, section
from funasr.errors import OptionError

BLOCKS: tuple[tuple[int, int], ...] = ((12, 1), (24, 2), (16, 2))
"""Dense layers of each block, and their dilation. Fixed: no released config names them."""

KERNEL = 3
"""Frames that the convolution of a dense layer sees."""

SEGMENT_FRAMES = 100
"""Context-aware masks look at the whole utterance, and at stretches of this many frames of it."""


@dataclass(frozen=True, kw_only=True)
class CampplusConfig:
    """`model_conf` of the official config.yaml, same field names and defaults.

    Raises OptionError for the forms of the network that no released model has.
    """

    feat_dim: int = 80
    embedding_size: int = 192
    growth_rate: int = 32
    """Channels that each dense layer adds."""
    bn_size: int = 4
    """Inner width of a dense layer, in growth rates."""
    init_channels: int = 128
    config_str: str = "batchnorm-relu"
    memory_efficient: bool = True
    """Compute dense layers again when training, instead of storing them. Of no consequence here."""
    output_level: str = "segment"

    def __post_init__(self) -> None:
        if self.config_str != "batchnorm-relu" or self.output_level != "segment":
            raise OptionError(
                f"CAM++ with config_str={self.config_str!r} and output_level={self.output_level!r}: this "
                "version has the form of the released models, 'batchnorm-relu' and 'segment'"
            )
        if self.feat_dim % 8:
            raise OptionError(f"CAM++ feat_dim is {self.feat_dim}; it must be a multiple of 8")

    @classmethod
    def from_official(
        cls, raw: Mapping[str, Any], vocab_size: int = 0, input_size: int = 0
    ) -> CampplusConfig:
        """`raw` is the config.yaml as a mapping. The other two concern recognizers."""
        return pick(cls, section(raw, "model_conf"), "model_conf")
