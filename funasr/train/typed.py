"""Settings that somebody typed for a run -> an error for one that its network would not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from funasr import registry
from funasr.config import Typed, merge, section
from funasr.features.frontend import WavFrontend
from funasr.nn.weights import unallocated
from funasr.train.criteria import lesson_of
from funasr.train.kinds import SEGMENTS, SPEECH, kind_for

VOCABULARY = 10
"""Entries of a network that nobody keeps."""


def check_typed(model: str, config: Mapping[str, Any]) -> None:
    """`config` is the run's, with what is typed marked as such (`funasr.config.typed`).

    Building the network tells, so it is built here, without memory for its weights: before a run has looked
    at its data or written anything. Raises OptionError, also for a model that is not trained here.
    """
    lesson_of(model)
    if not any(isinstance(part, Typed) for part in config.values()):
        return
    frontend_conf = {}
    if kind_for(model) in (SPEECH, SEGMENTS):
        frontend_conf = merge(section(config, "frontend_conf"), {"cmvn_file": None})
    width = WavFrontend.from_official(frontend_conf).output_size
    with unallocated():
        registry.lookup(registry.MODELS, model).from_official(config, VOCABULARY, width)
