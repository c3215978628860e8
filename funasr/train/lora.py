"""Which parameters learn: all, all but the frozen, or what LoRA added."""

from __future__ import annotations

import logging

from torch import nn

from funasr.errors import OptionError
from funasr.nn.lora import MARK, LoraLinear

logger = logging.getLogger(__name__)

ALWAYS = "cif"
"""As upstream: integrate-and-fire learns beside what LoRA added."""


def learn_only_lora(network: nn.Module, bias: str) -> None:
    """Freeze all but what LoRA added, integrate-and-fire, and some biases (`none`, `all`, `lora_only`).

    Raises OptionError for a network without adapted layers.
    """
    adapted = [name for name, part in network.named_modules() if isinstance(part, LoraLinear)]
    if not adapted:
        raise OptionError(
            "lora_only is on, and no layer is adapted: set ++encoder_conf.lora_list='[q,k,v,o]' or "
            "++decoder_conf.lora_list='[q,k,v,o]'"
        )
    biases = {"none": (), "all": [name for name, _ in network.named_parameters() if "bias" in name]}
    biases["lora_only"] = [f"{name}.bias" for name in adapted]
    learning = 0
    for name, parameter in network.named_parameters():
        learns = MARK in name or ALWAYS in name or name in biases[bias]
        parameter.requires_grad_(learns)
        learning += parameter.numel() * learns
    logger.info("%d layers adapted by LoRA, %d values learn", len(adapted), learning)


def freeze(network: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Parameters with these names, or below them, do not learn. Raises OptionError for names of none."""
    unused = [
        prefix
        for prefix in prefixes
        if not any((name + ".").startswith(prefix + ".") for name, _ in network.named_parameters())
    ]
    if unused:
        raise OptionError(f"freeze_param names {', '.join(unused)}: the network has no such parameters")
    frozen = 0
    for name, parameter in network.named_parameters():
        if any((name + ".").startswith(prefix + ".") for prefix in prefixes):
            parameter.requires_grad_(False)
            frozen += 1
    if frozen:
        logger.info("%d parameters stay as they are (freeze_param)", frozen)
