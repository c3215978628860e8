"""The models of an AutoModel, and what it was told -> live streams that tell events (pipeline/events.py)."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from funasr.auto.hear import chunk_shape
from funasr.auto.options import CallOptions
from funasr.auto.rewrite import rewriter
from funasr.auto.voices import enrol, enrolled_threshold
from funasr.errors import OptionError
from funasr.pipeline.closing import Rewrite
from funasr.pipeline.offline import Marker, Recognizer
from funasr.pipeline.stream import RecognitionStream
from funasr.pipeline.stream_state import StreamOptions, StreamState
from funasr.pipeline.twopass import TwoPassStream
from funasr.stages.detector import Detector
from funasr.stages.live_speaker import LiveSpeakerOptions, LiveSpeakers
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.protocols import ChunkShape
from funasr.stages.sense_voice import SenseVoiceRecognizer
from funasr.stages.speaker import SpeakerEncoder
from funasr.stages.streaming import ParaformerStreamer

logger = logging.getLogger(__name__)

LIVE_SHAPE = ChunkShape(encoder_look_back=4, decoder_look_back=1)
"""As the documentation's examples have it: 600 ms, 300 ms of look-ahead, and some memory."""

LEAD_IN_MS = 300
"""Silence before a stream that no detector cuts. Of strings of words that begin in the middle of sound, one
speaker's have 7.4 % errors without and 3.8 % with it (bundled-streaming, benchmarks/accuracy.py)."""

OPTIONS = frozenset(
    {
        "chunk_size",
        "encoder_chunk_look_back",
        "decoder_chunk_look_back",
        "hotword",
        "hotwords",
        "clas_scale",
        "pred_timestamp",
        "output_timestamp",
        "return_time_stamps",
        "language",
        "text_norm",
        "use_itn",
        "ban_emo_unk",
        "postprocess_hotwords",
        "postprocess_hotword_file",
        "postprocess_hotword_threshold",
        "postprocess_hotword_fuzzy",
        "return_spk_res",
        "speakers",
        "speakers_threshold",
    }
)
"""Those of `CallOptions` that a stream can follow, besides the detector's."""


def require_live(given: Iterable[str]) -> None:
    """Raises OptionError for an option of `generate` that says nothing about a stream."""
    for name in given:
        if name in _CALL and name not in OPTIONS:
            raise OptionError(
                f"{name} is an option of generate(), and has no meaning for a live stream; leave it out"
            )


def open_stream(
    name: str,
    recognizer: Any,
    detector: Detector | None,
    marker: Marker | None,
    options: CallOptions,
    state: StreamState | None,
) -> RecognitionStream:
    """Raises OptionError where the recognizer is none for streams, or options make no sense for one."""
    if not isinstance(recognizer, ParaformerStreamer):
        raise OptionError(
            f"{name!r} does not recognize speech while it is spoken; 'paraformer-zh-streaming' does. "
            "two_pass() recognizes each utterance when it has ended"
        )
    if options.speakers:
        raise OptionError("speakers are told apart utterance by utterance; two_pass() does that")
    if options.hotword is not None or options.hotwords is not None:
        logger.warning("model %r takes no hotwords, and they are ignored; two_pass() uses them", name)
    return RecognitionStream(
        recognizer,
        detector,
        marker,
        rewrite=_rewrite(recognizer, options),
        options=_stream_options(recognizer, detector, options),
        state=state,
    )


def open_two_pass(
    recognizer: Recognizer,
    detector: Detector | None,
    marker: Marker | None,
    encoder: SpeakerEncoder | None,
    draft: Any,
    decode: DecodeOptions,
    options: CallOptions,
    state: StreamState | None,
) -> TwoPassStream:
    """Raises OptionError without a detector, for a draft that is none, and for options that make no sense."""
    if detector is None:
        raise OptionError("two_pass() needs a vad_model to tell where an utterance ends; 'fsmn-vad' is one")
    if draft is not None and not isinstance(draft, ParaformerStreamer):
        raise OptionError(
            "draft must be an AutoModel of a streaming recognizer: "
            "draft=AutoModel(model='paraformer-zh-streaming')"
        )
    return TwoPassStream(
        recognizer,
        detector,
        marker,
        _speakers(encoder, options),
        draft=draft,
        decode=decode,
        rewrite=_rewrite(recognizer, options),
        options=_stream_options(draft, detector, options),
        state=state,
    )


def _stream_options(
    streamer: ParaformerStreamer | None, detector: Detector | None, options: CallOptions
) -> StreamOptions:
    if options.vad and detector is None:
        raise OptionError(f"{next(iter(options.vad))!r} needs a vad_model, and there is none")
    for name in _SHAPE:
        if streamer is None and getattr(options, name) is not None:
            raise OptionError(
                f"{name} is how a streaming recognizer listens, and there is none; give a draft"
            )
    return StreamOptions(
        vad=None if detector is None else detector.options.override(options.vad),
        shape=None if streamer is None else chunk_shape(options, LIVE_SHAPE),
        lead_in_ms=LEAD_IN_MS,
    )


def _rewrite(recognizer: Any, options: CallOptions) -> Rewrite:
    return rewriter(options, writes_digits=isinstance(recognizer, SenseVoiceRecognizer)).rewrite


def _speakers(encoder: SpeakerEncoder | None, options: CallOptions) -> LiveSpeakers | None:
    if encoder is None:
        if options.speakers:
            raise OptionError("speakers needs a spk_model, and there is none; spk_model='cam++' is one")
        return None
    if not options.return_spk_res:
        return None
    chosen = LiveSpeakerOptions(
        same_thr=encoder.thresholds.same_thr,
        enrolled=enrol(encoder, options),
        enrolled_thr=enrolled_threshold(encoder, options),
    )
    return LiveSpeakers(encoder, chosen)


_SHAPE = ("chunk_size", "encoder_chunk_look_back", "decoder_chunk_look_back")
_CALL = frozenset(field.name for field in fields(CallOptions))
