"""config.yaml of an ERes2NetV2 -> Eres2NetV2Config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from funasr.config import pick, section
from funasr.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Eres2NetV2Config:
    """`model_conf` under upstream's names, with the values of the released model, which comes without one.

    Raises OptionError for the forms of the network that no released model has.
    """

    feat_dim: int = 80
    embedding_size: int = 192
    m_channels: int = 64
    baseWidth: int = 26  # noqa: N815
    """Width of a group in the first layer, for 64 channels."""
    scale: int = 2
    """Groups of channels in a block; each but the first sees the one before it."""
    expansion: int = 2
    num_blocks: Sequence[int] = (3, 4, 6, 3)
    pooling_func: str = "TSTP"
    two_emb_layer: bool = False

    def __post_init__(self) -> None:
        if self.pooling_func != "TSTP" or self.two_emb_layer:
            raise OptionError(
                f"ERes2NetV2 with pooling_func={self.pooling_func!r}, two_emb_layer={self.two_emb_layer!r}: "
                "this version has the form of the released models, 'TSTP' and False"
            )

    @classmethod
    def from_official(
        cls, raw: Mapping[str, Any], vocab_size: int = 0, input_size: int = 0
    ) -> Eres2NetV2Config:
        """`raw` is the config.yaml as a mapping. The other two concern recognizers."""
        return pick(cls, section(raw, "model_conf"), "model_conf")

    def planes(self, number: int) -> int:
        """Channels that layer 1, 2, ... is named for."""
        return int(self.m_channels * 2 ** (number - 1))

    def group_width(self, number: int) -> int:
        """Channels of one group inside the blocks of a layer."""
        return self.planes(number) * self.baseWidth // 64

    def outputs(self, number: int) -> int:
        """Channels behind a layer."""
        return self.planes(number) * self.expansion
