"""Features that are there already -> transcripts: `generate(..., data_type="fbank")`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from funasr.audio.inputs import Item
from funasr.pipeline.batching import BatchLimits, plan_batches
from funasr.result import Transcript
from funasr.stages.paraformer import DecodeOptions, ParaformerRecognizer
from funasr.stages.punctuation import Punctuator
from funasr.stages.sense_voice import SenseVoiceRecognizer


def recognize_features(
    recognizer: ParaformerRecognizer | SenseVoiceRecognizer,
    items: Sequence[Item],
    decode: DecodeOptions,
    limits: BatchLimits,
    punctuator: Punctuator | None,
) -> Iterator[Transcript]:
    """Features that are there already, in batches of similar length."""
    lengths = np.asarray([len(item.source) for item in items], dtype=np.int64)
    found: dict[int, Transcript] = {}
    # Batches are planned in milliseconds; released front ends have a row every 60.
    for batch in plan_batches([int(length) * 60 for length in lengths], limits):
        width = items[batch[0]].source.shape[1]
        features = np.zeros((len(batch), int(lengths[batch].max()), width), dtype=np.float32)
        for row, index in enumerate(batch):
            features[row, : lengths[index]] = items[index].source
        found |= zip(batch, recognizer.recognize_features(features, lengths[batch], decode), strict=True)
    results = [replace(found[index], key=item.key) for index, item in enumerate(items)]
    yield from results if punctuator is None else punctuator.mark_words(results)
