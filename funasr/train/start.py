"""A Recipe -> the network that a run begins with: its weights, and which of them learn."""

from __future__ import annotations

import logging

from torch import nn

from funasr import registry
from funasr.errors import OptionError
from funasr.features.frontend import WavFrontend
from funasr.nn.weights import initialize_weights, load_weights
from funasr.text.tokenizer import Tokenizer
from funasr.train.recipe import Recipe

logger = logging.getLogger(__name__)


def build_network(recipe: Recipe, tokenizer: Tokenizer, frontend: WavFrontend) -> nn.Module:
    """The network with the weights it begins with."""
    network_class = registry.lookup(registry.MODELS, recipe.directory.model)
    network: nn.Module = network_class.from_official(
        recipe.directory.config, tokenizer.vocab_size, frontend.output_size
    )
    if recipe.init_param is not None:
        if recipe.excludes or recipe.scope_map:
            initialize_weights(
                network, recipe.init_param, scope_map=recipe.scope_map, excludes=recipe.excludes
            )
        else:
            load_weights(network, recipe.init_param)
    frozen = 0
    for name, parameter in network.named_parameters():
        if any(name == prefix or name.startswith(prefix + ".") for prefix in recipe.freeze):
            parameter.requires_grad_(False)
            frozen += 1
    unused = [
        p
        for p in recipe.freeze
        if not any((n + ".").startswith(p + ".") for n, _ in network.named_parameters())
    ]
    if unused:
        raise OptionError(f"freeze_param names {', '.join(unused)}: the network has no such parameters")
    if frozen:
        logger.info("%d parameters stay as they are (freeze_param)", frozen)
    return network
