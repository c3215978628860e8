"""config.yaml of an fsmn-vad -> FsmnVadConfig."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from funasr.config import pick, section
from funasr.nn.fsmn import FsmnConfig


@dataclass(frozen=True, kw_only=True)
class FsmnVadConfig:
    """What the network needs to know; when segments start and end is `funasr.vad.options.VadOptions`."""

    encoder: FsmnConfig = field(default_factory=FsmnConfig)
    sil_pdf_ids: tuple[int, ...] = (0,)
    """Classes that mean silence."""

    @classmethod
    def from_official(cls, raw: Mapping[str, Any], vocab_size: int = 0, input_size: int = 0) -> FsmnVadConfig:
        """`raw` is the config.yaml as a mapping; it names the input size; there is no vocabulary."""
        model_conf = section(raw, "model_conf")  # all but this key is about segments
        config = pick(cls, {k: v for k, v in model_conf.items() if k == "sil_pdf_ids"}, "model_conf")
        return replace(config, encoder=FsmnConfig.from_official(section(raw, "encoder_conf")))
