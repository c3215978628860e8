"""Training code of one's own: `++trust_remote_code=true ++remote_code=./file.py`.

The file, which lies on this machine, defines a class by the name of `lesson`: an OwnTraining in which some
methods are other ones. All else (settings, loop, checkpoints, resume) is funasr-train's.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn
from torch.optim import Optimizer

from funasr.errors import FunASRError, OptionError
from funasr.train.criteria import Parts, lesson_of
from funasr.train.data import ExampleSource, Slices
from funasr.train.optim import build_optimizer
from funasr.train.recipe import Recipe
from funasr.train.start import build_network
from funasr.train.trainer import Criterion, Trainer

logger = logging.getLogger(__name__)

Sources = tuple[ExampleSource | Slices, ExampleSource]
"""What is learnt from, and what validates."""


class OwnTraining:
    """What may be done differently, in the order in which it is asked for; each as it is without that."""

    trainer: Trainer
    """The run; there is none before all of its parts are made."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """The settings of the command and of its recipe. The section `own` is for this code."""
        self.settings = settings

    def prepare(self) -> Mapping[str, Any]:
        """Settings that the command does not give, as `frontend_conf.cmvn_file`, a file made of the data.

        Processes of one machine do this one after another, and a run that goes on does it again.
        """
        return {}

    def data(self, recipe: Recipe, parts: Parts) -> Sources | None:
        """None for that of the lists. With data of one's own there need be no lists."""
        return None

    def network(self, recipe: Recipe, parts: Parts) -> nn.Module:
        """The network with the weights it begins with."""
        return build_network(recipe, parts.vocab_size, parts.frontend.output_size)

    def criterion(self, network: nn.Module, parts: Parts) -> Criterion:
        """What is minimised."""
        return lesson_of(str(parts.config["model"])).criterion(network, parts)

    def optimizer(self, recipe: Recipe, network: nn.Module, criterion: Criterion) -> Optimizer:
        """Over all that learns. Weights of the criterion do too, where it is a module."""
        learners = [network, criterion] if isinstance(criterion, nn.Module) else [network]
        return build_optimizer(recipe.optim, [one for learner in learners for one in learner.parameters()])

    def validated(self) -> None:
        """After each validation. The figures in `trainer.progress` rank checkpoints, and may be changed."""

    def finish(self) -> None:
        """At the end, when `model.pt.avgN` is written; in every process, of which one is `ranks.first`."""

    def changed(self, name: str) -> bool:
        """Is that method another one than here?"""
        return getattr(type(self), name) is not getattr(OwnTraining, name)


HOOKS = ("prepare", "data", "network", "criterion", "optimizer", "validated", "finish")


def own_training(settings: dict[str, Any]) -> OwnTraining | None:
    """What `remote_code` names; None where nothing is named. Takes its settings out of the others.

    Raises OptionError for a file that may not be run, is not there, or has no `lesson`.
    """
    code, trusted = settings.pop("remote_code", None), settings.pop("trust_remote_code", False)
    if not code:
        if "own" in settings:
            raise OptionError("own holds settings of training code, which no ++remote_code=FILE names")
        return None
    if "://" in str(code):
        raise OptionError(
            f"remote_code is {str(code)!r}: only a file on this machine is run. Fetch it, and read it first"
        )
    path = Path(str(code)).expanduser().resolve()
    if not path.is_file() or path.suffix != ".py":
        raise OptionError(f"remote_code is {str(code)!r}: no Python file {path}")
    if trusted is not True:
        raise OptionError(
            f"remote_code would run {path}, which may do whatever you may do. Where you know what is in it, "
            "allow it with ++trust_remote_code=true"
        )
    lesson = getattr(_imported(path), "lesson", None)
    if not isinstance(lesson, type) or not issubclass(lesson, OwnTraining):
        raise OptionError(
            f"{path} has no class `lesson` made of funasr.train.own.OwnTraining: docs/training.md, "
            "'Code of your own', has an example"
        )
    own = lesson(settings)
    changed = [name for name in HOOKS if own.changed(name)]
    logger.info("%s: code of its own for %s", path, ", ".join(changed) or "nothing")
    return own


def _imported(path: Path) -> ModuleType:
    """As if it were the program: files beside it can be imported too."""
    name, folder = path.stem, str(path.parent)
    there = sys.modules.get(name)
    if name in sys.stdlib_module_names or (there and Path(there.__file__ or "").resolve() != path):
        raise OptionError(f"remote_code is {path}, and another module has the name {name!r}: give it another")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except FunASRError:
        raise
    except Exception as error:
        raise OptionError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
