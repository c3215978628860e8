"""What sherpa-onnx looks for in a graph: how its features are made, which its users do not say themselves."""

from __future__ import annotations

from collections.abc import Iterable

from funasr.features.cmvn import read_cmvn
from funasr.modeldir import ModelDir
from funasr.stages.assembly import build_frontend, build_tokenizer

KINDS = {
    "Paraformer": "paraformer",
    "BiCifParaformer": "paraformer",
    "SeacoParaformer": "paraformer",
    "ContextualParaformer": "paraformer",
}
"""Class -> what sherpa-onnx calls it."""


def metadata(directory: ModelDir) -> dict[str, str]:
    """Of a recognizer; empty for other models, and for a recognizer without statistics of features."""
    if directory.model not in KINDS or directory.cmvn is None:
        return {}
    frontend = build_frontend(directory)
    shift, scale = read_cmvn(directory.cmvn)
    return {
        "model_type": KINDS[directory.model],
        "version": "1",
        "vocab_size": str(build_tokenizer(directory).vocab_size),
        "lfr_window_size": str(frontend.config.lfr_m),
        "lfr_window_shift": str(frontend.config.lfr_n),
        "neg_mean": _joined(shift.tolist()),
        "inv_stddev": _joined(scale.tolist()),
    }


def _joined(values: Iterable[float]) -> str:
    return ",".join(f"{value:.9g}" for value in values)
