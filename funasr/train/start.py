"""A Recipe -> the network that a run begins with: its weights, and which of them learn."""

from __future__ import annotations

from torch import nn

from funasr import registry
from funasr.errors import CheckpointMismatchError, OptionError
from funasr.nn.lora import MARK
from funasr.nn.weights import initialize_weights, load_weights, read_checkpoint
from funasr.train.lora import freeze, learn_only_lora
from funasr.train.recipe import Recipe


def build_network(recipe: Recipe, vocab_size: int, input_size: int) -> nn.Module:
    """The network with the weights it begins with.

    Raises CheckpointMismatchError for weights of another network, OptionError for names of no parameters.
    """
    network_class = registry.lookup(registry.MODELS, recipe.directory.model)
    network: nn.Module = network_class.from_official(recipe.directory.config, vocab_size, input_size)
    if recipe.init_param is not None:
        if recipe.excludes or recipe.scope_map:
            initialize_weights(
                network, recipe.init_param, scope_map=recipe.scope_map, excludes=recipe.excludes
            )
        else:
            _load(network, recipe, vocab_size)
    network.float()  # files may hold 16 bits, in which small steps are none
    if recipe.lora_only:
        learn_only_lora(network, recipe.lora_bias)
    freeze(network, recipe.freeze)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise OptionError("freeze_param names every parameter: nothing would be learnt")
    return network


def _load(network: nn.Module, recipe: Recipe, vocab_size: int) -> None:
    """All weights; what LoRA adds may be missing, and begins as it is made."""
    assert recipe.init_param is not None
    fresh = {name: value for name, value in network.state_dict().items() if MARK in name}
    given = read_checkpoint(recipe.init_param)
    for table in ("decoder.output_layer.weight", "ctc.ctc_lo.weight"):
        if table in given and len(given[table]) != vocab_size:
            raise CheckpointMismatchError(
                f"{recipe.init_param} was trained with {len(given[table])} vocabulary entries, and the "
                f"vocabulary of this run has {vocab_size}. Use the one the weights belong to, or "
                "learn what depends on it anew: ++excludes=decoder.embed,decoder.output_layer,ctc"
            )
    load_weights(network, recipe.init_param, absent=fresh.keys() - given.keys())
