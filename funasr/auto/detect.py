"""A detector called by itself: recordings, or pieces of a live stream -> records of `generate`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from funasr.arrays import Samples
from funasr.audio.inputs import Item
from funasr.audio.load import load_audio, open_audio
from funasr.audio.samples import require_live_scale, to_numpy
from funasr.auto.options import CallOptions
from funasr.auto.output_dir import OutputDir
from funasr.errors import FunASRError, InputError, OptionError
from funasr.result import Segment
from funasr.stages.detector import Detector, DetectorStream, all_or_nothing
from funasr.vad.segments import finished, stream_pairs

logger = logging.getLogger(__name__)

STREAM_KEY = "funasr.stream"
"""Where the caller's `cache` dict holds our stream object between calls."""

LONGEST_STREAMING_CHUNK_MS = 15_000
"""As upstream: a detector called with a shorter chunk_size is fed a live stream."""


def detect_items(detector: Detector, items: Sequence[Item], options: CallOptions) -> list[dict[str, Any]]:
    """One record a recording: `key`, `value` [[start_ms, end_ms], ...]; `channels`, where kept apart."""
    records: list[dict[str, Any]] = []
    with ExitStack() as stack:
        output = stack.enter_context(OutputDir(options.output_dir)) if options.output_dir else None
        for done, item in enumerate(items, 1):
            record = _detect(detector, item, options)
            records.append(record)
            if output is not None:
                output.write_segments(record)
            if options.progress_callback is not None:
                options.progress_callback(done, len(items))
    return records


def _detect(detector: Detector, item: Item, options: CallOptions) -> dict[str, Any]:
    segments: list[Segment] = []
    record: dict[str, Any] = {"key": item.key, "value": []}
    try:
        with open_audio(item.source, detector.fs, source_rate=options.fs, channels=options.channels) as sound:
            chosen = detector.options.override(options.vad)
            streams = [detector.file_stream(chosen) for _ in range(sound.channels)]
            for block in sound:
                for channel, (stream, samples) in enumerate(zip(streams, block, strict=True)):
                    segments += _of_channel(channel, finished(stream.accept(samples)))
            for channel, stream in enumerate(streams):
                segments += _of_channel(channel, finished(stream.flush()))
    except FunASRError as error:
        if options.on_error == "raise" or isinstance(error, OptionError):
            raise
        logger.warning("%s: %s", item.key, error)
        record["error"] = str(error)
    segments.sort(key=lambda segment: (segment.start_ms, segment.channel or 0))
    record["value"] = [[segment.start_ms, segment.end_ms] for segment in segments]
    if options.channels == "split":
        record["channels"] = [segment.channel for segment in segments]
    return record


def _of_channel(channel: int, segments: Sequence[Segment]) -> list[Segment]:
    return [Segment(start_ms=s.start_ms, end_ms=s.end_ms, channel=channel) for s in segments]


def is_live(input: Any, options: CallOptions) -> bool:
    """As upstream: a short chunk_size means a live stream, but never for a file.

    Raises OptionError for a chunk_size that is no number of milliseconds.
    """
    size = options.chunk_size
    if size is not None and (isinstance(size, bool) or not isinstance(size, (int, float)) or size < 1):
        raise OptionError(f"chunk_size is {size!r}: a detector takes milliseconds, 1 or more")
    if isinstance(input, (str, Path)) or hasattr(input, "read"):
        return False
    if isinstance(input, (list, tuple)) and not all(isinstance(x, (int, float)) for x in input):
        return False
    if options.is_streaming_input is not None:
        return options.is_streaming_input
    return size is not None and size < LONGEST_STREAMING_CHUNK_MS


def feed(detector: Detector, input: Any, options: CallOptions) -> dict[str, Any]:
    """A piece of a live stream, whose state is in `options.cache` -> what happened in it."""
    cache = options.cache if options.cache is not None else {}
    stream = cache.get(STREAM_KEY)
    if stream is None and cache:
        raise InputError("cache belongs to another model; begin every stream with cache={}")
    if stream is None:
        size = None if options.chunk_size is None else int(options.chunk_size)
        chosen = detector.options.override(options.vad)
        stream = cache[STREAM_KEY] = detector.stream(chosen, chunk_ms=size)
    if not isinstance(stream, DetectorStream):
        raise InputError("cache belongs to another model; begin every stream with cache={}")
    _require_same(stream.state, detector, options)
    with all_or_nothing(stream):
        events = stream.accept(piece_of_sound(input, detector.fs, options.fs))
        if options.is_final:
            events += stream.flush()
    if options.is_final:
        cache.clear()
    return {"key": str(options.key or "stream"), "value": stream_pairs(events)}


def _require_same(state: Any, detector: Detector, options: CallOptions) -> None:
    """Raises OptionError for options that a stream did not begin with."""
    began, now = getattr(state, "options", None), detector.options.override(options.vad)
    pairs = {}
    if began is not None and began != now:
        pairs = {field.name: (getattr(began, field.name), getattr(now, field.name)) for field in fields(now)}
    if options.chunk_size is not None and getattr(state, "chunk_ms", None) is not None:
        pairs["chunk_size"] = (state.chunk_ms, int(options.chunk_size))
    for name, (before, after) in pairs.items():
        if before != after:
            raise OptionError(
                f"{name} is {after!r}, and this stream began with {before!r}: options of a stream stay the "
                "same until is_final=True"
            )


def piece_of_sound(input: Any, rate: int, source_rate: int | None) -> Samples:
    """A piece of a live stream as samples. Rates must agree: pieces cannot be resampled one by one.

    Raises InputError for another rate, for what is no sound, and for floats that are not in [-1, 1].
    """
    if source_rate is not None and source_rate != rate:
        raise InputError(f"a live stream must come at {rate} Hz, not fs={source_rate}; resample it first")
    if isinstance(input, (bytes, bytearray)):  # never a container: a piece of sound may begin like one
        input = np.frombuffer(input[: len(input) // 2 * 2], dtype="<i2")
    array = to_numpy(input)
    if array.dtype.kind == "f":
        require_live_scale(array)
    return load_audio(array, rate, source_rate=rate)
