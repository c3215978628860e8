"""Official class name -> where that class lives. The one table that names resolve through, imported lazily.

A model of the toolkit is one line below. `funasr.register` is the door for classes of one's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypeAlias

from funasr.errors import MissingDependencyError, ModelNotFoundError, did_you_mean, install_extra

Entry: TypeAlias = str | type[Any]
"""`"module:Class"`, or a class that a user registered."""

MODELS: dict[str, Entry] = {
    "Paraformer": "funasr.models.paraformer.network:Paraformer",
    "BiCifParaformer": "funasr.models.paraformer.bicif:BiCifParaformer",
    "SeacoParaformer": "funasr.models.paraformer.seaco:SeacoParaformer",
    "ContextualParaformer": "funasr.models.paraformer.contextual:ContextualParaformer",
    "ParaformerStreaming": "funasr.models.paraformer.online:ParaformerStreaming",
    "SenseVoiceSmall": "funasr.models.sense_voice.network:SenseVoiceSmall",
    "MonotonicAligner": "funasr.models.aligner.network:MonotonicAligner",
    "FsmnVADStreaming": "funasr.models.fsmn_vad.network:FsmnVad",
    "CAMPPlus": "funasr.models.campplus.network:Campplus",
    "ERes2NetV2": "funasr.models.eres2net.network:Eres2NetV2",
    "CTTransformer": "funasr.models.ct_transformer.network:CTTransformer",
    "CTTransformerStreaming": "funasr.models.ct_transformer.online:CTTransformerStreaming",
}

EXPORTS: dict[str, Entry] = {
    "Paraformer": "funasr.models.paraformer.export:graphs",
    "BiCifParaformer": "funasr.models.paraformer.export:graphs",
    "SeacoParaformer": "funasr.models.paraformer.export:graphs",
    "ContextualParaformer": "funasr.models.paraformer.export:graphs",
    "ParaformerStreaming": "funasr.models.paraformer.export_online:graphs",
    "SenseVoiceSmall": "funasr.models.sense_voice.export:graphs",
    "MonotonicAligner": "funasr.models.aligner.export:graphs",
    "FsmnVADStreaming": "funasr.models.fsmn_vad.export:graphs",
    "CAMPPlus": "funasr.models.campplus.export:graphs",
    "ERes2NetV2": "funasr.models.eres2net.export:graphs",
    "CTTransformer": "funasr.models.ct_transformer.export:graphs",
    "CTTransformerStreaming": "funasr.models.ct_transformer.export:graphs",
}
"""Class -> a function: network -> list of `funasr.nn.graph.Graph`, one for each ONNX file."""

FRONTENDS: dict[str, Entry] = {
    "WavFrontend": "funasr.features.frontend:WavFrontend",
    "WavFrontendOnline": "funasr.features.frontend:WavFrontend",
}

TOKENIZERS: dict[str, Entry] = {
    "CharTokenizer": "funasr.text.tokenizer:CharTokenizer",
    "SentencepiecesTokenizer": "funasr.text.tokenizer:SentencepieceTokenizer",
}


def lookup(
    table: Mapping[str, Entry], name: str, kind: str = "model class", register: str = "model_classes"
) -> Any:
    """The class that `table` has under `name`, imported now. Messages call it `kind`, its table `register`.

    Raises ModelNotFoundError with the nearest name, MissingDependencyError when its back end is absent.
    """
    if name not in table:
        raise ModelNotFoundError(
            f"no {kind} {name!r} in this release{did_you_mean(name, table) or '.'} "
            f"It has {', '.join(sorted(table))}. Your own class: tables.register({register!r}, {name!r})."
        )
    entry = table[name]
    return resolve(entry) if isinstance(entry, str) else entry


def resolve(target: str) -> Any:
    """`"package.module:Name"` -> the object. Raises MissingDependencyError where torch is absent."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise MissingDependencyError("torch", f"{attribute}", install_extra("torch")) from error
        raise
