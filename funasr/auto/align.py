"""An alignment model: sounds and what was said in them -> Transcripts with times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from funasr.arrays import Samples
from funasr.audio.inputs import Item
from funasr.audio.load import load_audio
from funasr.auto.options import CallOptions
from funasr.auto.output_dir import OutputDir
from funasr.errors import FunASRError, InputError
from funasr.pipeline.batching import plan_batches
from funasr.pipeline.cutting import MergingStream, SegmentStream, SpeechCutter
from funasr.result import Token, Transcript
from funasr.stages.aligner import Aligner

logger = logging.getLogger(__name__)

POOL_S = 600.0
"""Seconds of sound that are held to be batched by length."""

LONG_S = 300.0
"""A sound longer than this is cut where a detector finds speech."""

PART_MS = 60_000
"""Stretches of speech are joined up to this, pauses included."""


@dataclass(slots=True)
class _Pair:
    key: str
    samples: Samples | None = None
    pieces: Sequence[Token] = ()
    result: Transcript | None = None


def align_items(
    aligner: Aligner,
    items: Sequence[Item],
    options: CallOptions,
    new_stream: Callable[[], SegmentStream] | None = None,
) -> Iterator[Transcript]:
    """One transcript a pair, in order. A pair that fails gives one with `error`, unless errors are raised.

    Sounds longer than LONG_S are aligned speech segment by speech segment where there is a detector
    (`new_stream`), and whole otherwise. Raises InputError where an item has no text to it.
    """
    for item in items:
        if item.text is None:
            raise InputError(
                f"{item.key} has no text: an alignment model takes input=(sound, text) with "
                "data_type=('sound', 'text'), each one or a list"
            )
    done = 0
    with ExitStack() as stack:
        output = None
        if options.output_dir:
            output = stack.enter_context(OutputDir(options.output_dir, "tp_res"))
        for pairs in _pools(aligner, items, options):
            _align(aligner, pairs, options, new_stream)
            for pair in pairs:
                assert pair.result is not None
                done += 1
                if output is not None:
                    output.write_alignment(pair.result)
                if options.progress_callback is not None:
                    options.progress_callback(done, len(items))
                yield pair.result


def _pools(aligner: Aligner, items: Sequence[Item], options: CallOptions) -> Iterator[list[_Pair]]:
    pool: list[_Pair] = []
    waiting = 0
    for item in items:
        pair = _Pair(item.key)
        pool.append(pair)
        try:
            pieces = aligner.pieces(item.text or "")
            samples = load_audio(item.source, aligner.rate, source_rate=options.fs)
            aligner.require_room([samples], pieces)
        except FunASRError as error:
            pair.result = _failed(item.key, error, options)
            continue
        pair.samples, pair.pieces = samples, pieces
        waiting += len(samples)
        if waiting >= POOL_S * aligner.rate:
            yield pool
            pool, waiting = [], 0
    if pool:
        yield pool


def _align(
    aligner: Aligner,
    pairs: Sequence[_Pair],
    options: CallOptions,
    new_stream: Callable[[], SegmentStream] | None,
) -> None:
    for pair in pairs:
        if pair.samples is not None and len(pair.samples) > LONG_S * aligner.rate:
            _align_long(aligner, pair, pair.samples, options, new_stream)
    ready = [(pair, pair.samples) for pair in pairs if pair.samples is not None]
    lengths_ms = [len(samples) * 1000 // aligner.rate for _, samples in ready]
    for batch in plan_batches(lengths_ms, options.batch_limits):
        some = [ready[index] for index in batch]
        found = aligner.align([samples for _, samples in some], [pair.pieces for pair, _ in some])
        for (pair, _), transcript in zip(some, found, strict=True):
            pair.result, pair.samples = replace(transcript, key=pair.key), None


def _align_long(
    aligner: Aligner,
    pair: _Pair,
    samples: Samples,
    options: CallOptions,
    new_stream: Callable[[], SegmentStream] | None,
) -> None:
    """Align by stretches of speech; leaves the pair as it is where there is no detector, or no speech."""
    if new_stream is None:
        logger.warning(
            "%s is %.0f s long and goes through the network in one piece; vad_model='fsmn-vad' would cut it",
            pair.key,
            len(samples) / aligner.rate,
        )
        return
    cutter = SpeechCutter(MergingStream(new_stream(), PART_MS), aligner.rate)
    cut = [*cutter.accept(samples), *cutter.flush()]
    parts = [(segment.start_ms, speech) for segment, speech in cut]
    if not parts:
        return
    pair.samples = None
    try:
        result = aligner.align_parts(parts, pair.pieces, len(samples) * 1000 // aligner.rate)
    except FunASRError as error:
        pair.result = _failed(pair.key, error, options)
    else:
        pair.result = replace(result, key=pair.key)


def _failed(key: str, error: FunASRError, options: CallOptions) -> Transcript:
    """What stands for a pair that failed. Raises its error where the caller wants that."""
    if options.on_error == "raise":
        raise error
    logger.warning("%s: %s", key, error)
    return Transcript(key=key, timed=True, spaced=True, error=str(error))
