"""A streaming recognizer called piece by piece: the documented loop over `generate(input=..., cache=...)`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from funasr.arrays import Samples
from funasr.audio.load import load_audio
from funasr.auto.detect import piece_of_sound
from funasr.auto.options import CallOptions
from funasr.auto.rewrite import rewriter
from funasr.errors import InputError, OptionError
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.protocols import ChunkShape, chunk_sizes
from funasr.stages.punctuation import Punctuator
from funasr.stages.streaming import ParaformerStream, ParaformerStreamer

STREAM_KEY = "funasr.recognition"
"""Where the caller's `cache` dict holds our stream object between calls."""


def chunk_shape(options: CallOptions, default: ChunkShape) -> ChunkShape:
    """What `chunk_size` and the look-backs say, over a default.

    Raises OptionError for values that are no shape.
    """
    sizes = [default.left, default.size, default.right]
    if options.chunk_size is not None:
        sizes = chunk_sizes(options.chunk_size)
    look_backs = []
    for name, known in (
        ("encoder_chunk_look_back", default.encoder_look_back),
        ("decoder_chunk_look_back", default.decoder_look_back),
    ):
        value = getattr(options, name)
        look_backs.append(known if value is None else value)
        if look_backs[-1] < -1:
            raise OptionError(f"{name} is {value!r}; it must be a number of chunks, 0 or more, or -1")
    encoder, decoder = look_backs
    # As upstream: a decoder cannot remember everything, and -1 has it remember nothing.
    return ChunkShape(
        left=sizes[0],
        size=sizes[1],
        right=sizes[2],
        encoder_look_back=encoder,
        decoder_look_back=max(decoder, 0),
    )


def is_live_speech(input: Any, options: CallOptions) -> bool:
    """A piece of sound that comes with a `cache` belongs to a live stream.

    A file does not, as upstream has it: it is complete. Nor does a piece that has no cache to go on from.
    """
    if options.is_streaming_input is False or options.data_type not in (None, "sound"):
        return False
    pieces = input if isinstance(input, (list, tuple)) else [input]
    if any(isinstance(piece, (str, Path)) or hasattr(piece, "read") for piece in pieces):
        return bool(options.cache) and STREAM_KEY in (options.cache or {})
    if options.cache is None and (options.is_final is False or options.is_streaming_input):
        raise OptionError(
            "a piece of a stream without cache=: what was said before it is not known. Make cache={} before "
            "the first piece and give it to every call"
        )
    return options.cache is not None


def hear(
    streamer: ParaformerStreamer, punctuator: Punctuator | None, input: Any, options: CallOptions
) -> dict[str, Any]:
    """A piece of a live stream, whose memory is in the caller's `cache` -> the words that came up in it.

    As upstream, each stride is read by itself: a word that the end of one cuts is not put together again;
    the streams of `ParaformerStreamer` do that. Pieces of any size are gathered to strides, so the words are
    the same however they are cut. `is_final=True` hears what is left, and empties the cache; so does a file.

    Raises OptionError for a chunk_size other than that the stream began with, InputError for a cache of
    another model and for what is no sound.
    """
    cache = options.cache if options.cache is not None else {}
    stream = cache.get(STREAM_KEY)
    if stream is None and cache:
        raise InputError("cache belongs to another model; begin every stream with cache={}")
    if stream is None:
        stream = streamer.stream(chunk_shape(options, streamer.shape), whole_words=False)
    _check_same(streamer, stream, options)
    samples, final = _piece(streamer, input, options)
    # A stream of its own for this call: where anything below raises, that in the cache is as it was.
    moved = streamer.stream(state=stream.state)
    [words] = streamer.advance([moved], [samples], last=final)
    decode = DecodeOptions(timestamps=options.times)
    transcript = replace(
        streamer.transcript(words, len(samples) * 1000 // streamer.rate, decode),
        key=str(options.key or "stream"),
    )
    if punctuator is not None and words:
        [transcript] = punctuator.mark_words([transcript])
    record = rewriter(options, writes_digits=False).rewrite(transcript).to_dict()
    record.pop("confidence", None)  # as upstream: the text of the call, and no more than was asked for
    cache[STREAM_KEY] = moved
    if final:
        cache.clear()
    return record


def _check_same(streamer: ParaformerStreamer, stream: Any, options: CallOptions) -> None:
    if not isinstance(stream, ParaformerStream) or stream.streamer.network is not streamer.network:
        raise InputError("cache belongs to another model; begin every stream with cache={}")
    shape = chunk_shape(options, stream.shape)
    if shape != stream.shape:
        raise OptionError(
            f"this stream began with {_described(stream.shape)}, and this call has {_described(shape)}; they "
            "stay the same until is_final=True"
        )


def _described(shape: ChunkShape) -> str:
    return (
        f"chunk_size={[shape.left, shape.size, shape.right]}, "
        f"encoder_chunk_look_back={shape.encoder_look_back}, "
        f"decoder_chunk_look_back={shape.decoder_look_back}"
    )


def _piece(streamer: ParaformerStreamer, input: Any, options: CallOptions) -> tuple[Samples, bool]:
    """The samples of a piece, and whether it is the last one."""
    numbers = isinstance(input, (list, tuple)) and all(isinstance(x, (int, float)) for x in input)
    if isinstance(input, (list, tuple)) and not numbers:
        if len(input) != 1:
            raise InputError(f"a call with cache= takes one piece of sound, not {len(input)}")
        [input] = input
    if isinstance(input, (str, Path)) or hasattr(input, "read"):
        return load_audio(input, streamer.rate, source_rate=options.fs), True
    return piece_of_sound(input, streamer.rate, options.fs), bool(options.is_final)
