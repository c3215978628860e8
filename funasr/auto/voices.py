"""Speaker models: sounds -> records with a voice each; and what a call says about speakers, typed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from funasr.arrays import Samples
from funasr.audio.inputs import Item
from funasr.audio.load import load_audio
from funasr.auto.options import CallOptions
from funasr.errors import FunASRError, InputError, OptionError
from funasr.speakers.cluster import ClusterOptions, Voices, normalized
from funasr.stages.speaker import EnrolledVoice, SpeakerEncoder, SpeakerOptions

logger = logging.getLogger(__name__)

POOL_S = 600.0
"""Seconds of sound that are held, so that those of equal length can share a batch."""


def embed_items(encoder: SpeakerEncoder, items: Sequence[Item], options: CallOptions) -> list[dict[str, Any]]:
    """One record an input: `key` and `spk_embedding`, a torch tensor (1, E) on the CPU, as upstream's.

    An input that fails gives a record with `error`, unless errors are raised.
    """
    records: list[dict[str, Any]] = []
    for pool in _pools(encoder, items, options):
        heard = [samples for _, samples in pool if not isinstance(samples, str)]
        voices = iter(encoder.embed(heard))
        for item, samples in pool:
            if isinstance(samples, str):
                records.append({"key": item.key, "error": samples})
            else:
                records.append({"key": item.key, "spk_embedding": _as_tensor(next(voices)[None])})
        if options.progress_callback is not None:
            options.progress_callback(len(records), len(items))
    return records


def _pools(
    encoder: SpeakerEncoder, items: Sequence[Item], options: CallOptions
) -> Iterator[list[tuple[Item, Samples | str]]]:
    """Inputs with their samples, or with what is wrong with them."""
    pool: list[tuple[Item, Samples | str]] = []
    held = 0
    for item in items:
        try:
            samples = load_audio(item.source, encoder.rate, source_rate=options.fs)
            encoder.require_voice(samples)
        except FunASRError as error:
            if options.on_error == "raise":
                raise
            logger.warning("%s: %s", item.key, error)
            pool.append((item, str(error)))
            continue
        pool.append((item, samples))
        held += len(samples)
        if held >= POOL_S * encoder.rate:
            yield pool
            pool, held = [], 0
    if pool:
        yield pool


def similarity(encoder: SpeakerEncoder, first: Any, second: Any, fs: int | None) -> float:
    """The cosine of the voices in two sounds of any form; `fs` is the rate of arrays and raw bytes."""
    one, other = (load_audio(sound, encoder.rate, source_rate=fs) for sound in (first, second))
    return encoder.similarity(one, other)


def _as_tensor(voice: Voices) -> Any:
    """A tensor where there is torch, without which no network of a checkpoint runs; else the array."""
    try:
        import torch
    except ImportError:
        return voice
    return torch.from_numpy(voice)


def speaker_options(
    encoder: SpeakerEncoder | None, options: CallOptions, cb_kwargs: dict[str, Any]
) -> SpeakerOptions | None:
    """What a call says about speakers; None where they are not to be told apart, or no model could.

    `cb_kwargs` are those of the constructor's `spk_kwargs`. Raises OptionError, also for options that need a
    speaker model where there is none, and InputError for sounds of enrolled voices that cannot be used.
    """
    if encoder is None:
        for name in ("preset_spk_num", "min_spk_num", "max_spk_num", "speakers"):
            if getattr(options, name) is not None:
                raise OptionError(f"{name} needs a spk_model, and there is none; spk_model='cam++' is one")
        return None
    if not options.return_spk_res:
        return None
    _require_possible(options)
    own = encoder.thresholds
    given: dict[str, Any] = {"merge_thr": own.merge_thr, "split_thr": own.split_thr, **cb_kwargs}
    for name, value in (
        ("count", options.preset_spk_num),
        ("min_count", options.min_spk_num),
        ("max_count", options.max_spk_num),
    ):
        if value is not None:
            given[name] = value
    if options.min_spk_num is not None and options.max_spk_num is None and "max_count" not in given:
        given["max_count"] = max(options.min_spk_num, ClusterOptions().max_count)
    clusters = ClusterOptions.from_official(given)
    if not {"merge_thr", "split_thr"} & set(cb_kwargs):
        clusters = replace(clusters, spread=own.spread())
    return SpeakerOptions(
        cluster=clusters,
        enrolled=enrol(encoder, options),
        enrolled_thr=enrolled_threshold(encoder, options),
    )


def _require_possible(options: CallOptions) -> None:
    """Raises OptionError for a number of speakers that another option excludes."""
    count, least, most = options.preset_spk_num, options.min_spk_num, options.max_spk_num
    limit = None
    if count is not None and least is not None and count < least:
        limit = f"min_spk_num {least}"
    if count is not None and most is not None and count > most:
        limit = f"max_spk_num {most}"
    if limit is not None:
        raise OptionError(
            f"preset_spk_num is {count} and {limit}: these exclude each other. Give preset_spk_num alone "
            "where the number is known"
        )


def enrolled_threshold(encoder: SpeakerEncoder, options: CallOptions) -> float:
    """What the call says, or else the model."""
    given = options.speakers_threshold
    return encoder.thresholds.enrolled_thr if given is None else given


def enrol(encoder: SpeakerEncoder, options: CallOptions) -> tuple[EnrolledVoice, ...]:
    """`speakers={"name": sound}` or `{"name": [sound, sound]}` -> their voices."""
    if not options.speakers:
        return ()
    if not isinstance(options.speakers, dict):
        raise OptionError(
            f"speakers is a {type(options.speakers).__name__}; give a dict of names and sounds: "
            "speakers={'Ann': 'ann.wav'}"
        )
    return tuple(
        EnrolledVoice(name=str(name), voice=tuple(_mean_voice(encoder, str(name), sounds, options)))
        for name, sounds in options.speakers.items()
    )


def _mean_voice(encoder: SpeakerEncoder, name: str, sounds: Any, options: CallOptions) -> list[float]:
    several = isinstance(sounds, (list, tuple)) and not all(isinstance(x, (int, float)) for x in sounds)
    try:
        samples = [
            load_audio(sound, encoder.rate, source_rate=options.fs)
            for sound in (sounds if several else [sounds])
        ]
        voices = normalized(encoder.embed(samples))
    except FunASRError as error:
        raise InputError(f"the voice of {name!r} cannot be learnt: {error}") from error
    mean: list[float] = np.mean(voices, axis=0).tolist()
    return mean
