"""A punctuation model called by itself: texts -> records of `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from funasr.audio.inputs import Item
from funasr.auto.options import CallOptions
from funasr.auto.output_dir import OutputDir
from funasr.errors import InputError
from funasr.stages.punctuation import Punctuated, PunctuationStream, Punctuator

STREAM_KEY = "funasr.punctuation"
"""Where the caller's `cache` dict holds our stream object between calls."""

TEXTS_AT_A_TIME = 1024
"""Texts that share batches; progress is told after so many."""


def punctuate_items(
    punctuator: Punctuator, items: Sequence[Item], options: CallOptions
) -> list[dict[str, Any]]:
    """One record a text: `key`, `text`, and `punc_array` (int64, None for an empty text)."""
    records: list[dict[str, Any]] = []
    with ExitStack() as stack:
        output = stack.enter_context(OutputDir(options.output_dir)) if options.output_dir else None
        for first in range(0, len(items), TEXTS_AT_A_TIME):
            some = items[first : first + TEXTS_AT_A_TIME]
            results = punctuator.punctuate([item.source for item in some])
            for item, result in zip(some, results, strict=True):
                records.append(_record(item.key, result))
                if output is not None:
                    output.write_text(item.key, result.text)
                if options.progress_callback is not None:
                    options.progress_callback(len(records), len(items))
    return records


def punctuate_live(punctuator: Punctuator, text: Any, options: CallOptions) -> list[dict[str, Any]]:
    """The next piece of a live text, whose memory is in the caller's `cache`.

    As upstream, the mark at its end is written by the call that knows what follows it; `is_final=True` says
    that nothing does, writes it, and empties the cache.
    """
    cache = options.cache if options.cache is not None else {}
    if isinstance(text, (list, tuple)) and len(text) == 1:
        [text] = text
    if not isinstance(text, str):
        raise InputError(f"a call with cache= takes one text, not a {type(text).__name__}")
    stream = cache.get(STREAM_KEY)
    if stream is None and cache:
        raise InputError("cache belongs to another model; begin every live text with cache={}")
    if stream is None:
        stream = cache[STREAM_KEY] = punctuator.stream()
    if not isinstance(stream, PunctuationStream):
        raise InputError("cache belongs to another model; begin every live text with cache={}")
    result = stream.accept(text)
    record = _record(str(options.key or "stream"), result)
    if options.is_final:
        record["text"] += stream.flush()
        cache.clear()
    return [record]


def _record(key: str, result: Punctuated) -> dict[str, Any]:
    return {"key": key, "text": result.text, "punc_array": result.punc_array()}
