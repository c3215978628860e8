"""Recordings through a streaming recognizer: heard while they are read, several side by side."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from funasr.arrays import NO_SAMPLES, Samples
from funasr.audio.inputs import Item
from funasr.audio.load import AudioStream
from funasr.errors import FunASRError
from funasr.pipeline.offline import OpenSound, Progress
from funasr.result import Segment, Token, Transcript
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.streaming import ParaformerStream, ParaformerStreamer

logger = logging.getLogger(__name__)

FILES_AT_A_TIME = 16
"""Recordings that are heard side by side, so that they share calls of the network."""


class _Recording:
    """One recording that is being heard, each of its channels by a stream."""

    def __init__(self, item: Item, streamer: ParaformerStreamer) -> None:
        self.item = item
        self.streams: list[ParaformerStream] = []
        self.words: list[list[Token]] = []
        self.samples = 0
        self.share = 0.0
        """How much of it was heard, 0..1, where its length is known."""
        self.error: str | None = None
        self.done = False
        self._streamer = streamer
        self._sound: AudioStream | None = None
        self._close: Callable[[], Any] = lambda: None

    def open(self, open_sound: OpenSound) -> None:
        manager = open_sound(self.item)
        self._sound = manager.__enter__()
        self._close = lambda: manager.__exit__(None, None, None)
        self.streams = [self._streamer.stream() for _ in range(self._sound.channels)]
        self.words = [[] for _ in self.streams]

    def read(self) -> list[Samples] | None:
        """The next block of each channel; None at the end."""
        assert self._sound is not None
        block = next(self._sound.__iter__(), None)
        if block is None:
            return None
        self.samples += block.shape[1]
        if self._sound.duration:
            self.share = min(self.samples / (self._sound.duration * self._streamer.rate), 1.0)
        return list(block)

    def fail(self, error: Exception) -> None:
        self.error = str(error) or type(error).__name__
        logger.warning("%s: %s", self.item.key, self.error)
        self.end()

    def end(self) -> None:
        self.done = True
        self.share = 1.0
        self.streams = []
        self._close()

    def transcript(self, decode: DecodeOptions) -> Transcript:
        split = len(self.words) > 1
        duration_ms = self.samples * 1000 // self._streamer.rate
        tokens: list[Token] = []
        segments = []
        for channel, words in enumerate(self.words):
            number = channel if split else None
            first = len(tokens)
            tokens += [replace(word, channel=number) for word in words] if split else words
            segments.append(
                Segment(
                    start_ms=0,
                    end_ms=duration_ms,
                    channel=number,
                    first_token=first,
                    stop_token=len(tokens),
                )
            )
        transcript = self._streamer.transcript(tokens, duration_ms, decode)
        return replace(transcript, key=self.item.key, segments=tuple(segments), error=self.error)


def stream_recordings(
    streamer: ParaformerStreamer,
    items: Sequence[Item],
    open_sound: OpenSound,
    decode: DecodeOptions,
    *,
    raise_errors: bool,
    on_progress: Callable[[Progress], None] | None = None,
) -> Iterator[Transcript]:
    """One transcript an item, in order. Sound is heard as it is read, so its length takes no memory.

    An item that cannot be read or recognized gives a transcript with `error` and the words that were heard
    all the same. Raises the error of the first such item if `raise_errors`.
    """
    waiting = deque(items)
    files: deque[_Recording] = deque()
    done, ms_before = 0, 0
    try:
        while waiting or files:
            while waiting and sum(not file.done for file in files) < FILES_AT_A_TIME:
                files.append(_opened(waiting.popleft(), streamer, open_sound, raise_errors))
            _listen(streamer, [file for file in files if not file.done], raise_errors)
            if on_progress is not None:
                samples = ms_before + sum(file.samples for file in files)
                on_progress(
                    Progress(
                        files_done=done + sum(file.done for file in files),
                        files_total=len(items),
                        seconds_done=samples / streamer.rate,
                        fraction=(done + sum(file.share for file in files)) / len(items),
                    )
                )
            while files and files[0].done:
                file = files.popleft()
                done += 1
                ms_before += file.samples
                yield file.transcript(decode)
    finally:
        for file in files:
            file.end()


def _opened(
    item: Item,
    streamer: ParaformerStreamer,
    open_sound: OpenSound,
    raise_errors: bool,
) -> _Recording:
    file = _Recording(item, streamer)
    try:
        file.open(open_sound)
    except FunASRError as error:
        if raise_errors:
            raise
        file.fail(error)
    return file


def _listen(streamer: ParaformerStreamer, files: Sequence[_Recording], raise_errors: bool) -> None:
    """The next block of each."""
    going: list[tuple[_Recording, list[Samples]]] = []
    ending: list[tuple[_Recording, list[Samples]]] = []
    for file in files:
        try:
            block = file.read()
        except FunASRError as error:
            if raise_errors:
                raise
            file.fail(error)
            continue
        if block is not None:
            going.append((file, block))
        elif file.samples:
            ending.append((file, [NO_SAMPLES] * len(file.streams)))
        else:
            file.end()  # a recording of no sound has no words
    _advance(streamer, going, raise_errors)
    _advance(streamer, ending, raise_errors, last=True)


def _advance(
    streamer: ParaformerStreamer,
    files: Sequence[tuple[_Recording, list[Samples]]],
    raise_errors: bool,
    *,
    last: bool = False,
) -> None:
    """Together; where that fails, one by one, so that a fault is that of its own recording."""
    streams = [stream for file, _ in files for stream in file.streams]
    sounds = [sound for _, block in files for sound in block]
    try:
        words = iter(streamer.advance(streams, sounds, last=last))
    except Exception as error:
        if len(files) > 1:
            for one in files:
                _advance(streamer, [one], raise_errors, last=last)
            return
        if raise_errors:
            raise
        files[0][0].fail(error)
        return
    for file, _ in files:
        for spoken in file.words:
            spoken += next(words)
        if last:
            file.end()
