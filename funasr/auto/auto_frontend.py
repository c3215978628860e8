"""AutoFrontend: the features of a model without its network, to be computed once and recognized later."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from funasr import hub
from funasr.audio.inputs import expand_input
from funasr.audio.load import load_audio
from funasr.auto.build import build_frontend
from funasr.auto.options import call_options, sort_options
from funasr.modeldir import ModelDir


class AutoFrontend:
    """>>> features = AutoFrontend(model="paraformer-zh")(input="a.wav")
    >>> AutoModel(model="paraformer-zh").generate(**features[0])
    """

    def __init__(self, model: str | os.PathLike[str] | None = None, **kwargs: Any) -> None:
        options = sort_options({"model": model, **kwargs}, where="AutoFrontend")
        self._defaults = options.call
        path = hub.resolve(
            options.load.model_path or options.model,
            hub=options.load.hub,
            revision=options.load.model_revision,
            offline=bool(options.load.offline),
        )
        directory = ModelDir.open(path, dict(options.overrides))
        self.frontend = build_frontend(directory)

    def __call__(self, input: Any, **cfg: Any) -> list[dict[str, Any]]:
        """Any documented form of sound -> one dict each: the arguments of `AutoModel.generate`.

        `input` is (1, T, D) float32, `input_len` (1,), and `key`, `data_type="fbank"` go with them.
        Raises AudioDecodeError for sound that cannot be read.
        """
        options = call_options(self._defaults, cfg)
        records = []
        for item in expand_input(input, data_type=options.data_type, key=options.key):
            samples = load_audio(item.source, self.frontend.fs, source_rate=options.fs)
            features = self.frontend(samples)
            records.append(
                {
                    "input": features[None],
                    "input_len": np.asarray([len(features)]),
                    "key": [item.key],
                    "data_type": "fbank",
                }
            )
        return records
