"""Files in, transcripts out: decode, find speech, recognize in batches that mix files, put together again.

Sound is read in blocks and cut as it is read; cut speech waits in a pool until the pool is worth batching.
So memory is bounded by the pool, however long the files are, and short files fill the batches of others.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from funasr.arrays import Samples
from funasr.audio.inputs import Item
from funasr.audio.load import AudioStream
from funasr.errors import FunASRError
from funasr.pipeline.batching import BatchLimits, plan_batches
from funasr.pipeline.cutting import MergingStream, SegmentStream, SpeechCutter, WholeCutter
from funasr.result import Segment, Tag, Token, Transcript
from funasr.speakers.assign import assign_speakers
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.speaker import Diarization, Heard, SpeakerEncoder, SpeakerOptions, diarize

logger = logging.getLogger(__name__)


class Recognizer(Protocol):
    """Speech to text for a batch of utterances; see stages/paraformer.py."""

    @property
    def rate(self) -> int: ...

    @property
    def timed(self) -> bool: ...

    @property
    def spaced(self) -> bool: ...

    @property
    def verbatim(self) -> bool: ...

    def recognize(self, batch: Sequence[Samples], options: DecodeOptions) -> list[Transcript]: ...


class Marker(Protocol):
    """Recognized words to words with marks; see stages/punctuation.py."""

    def mark_words(self, transcripts: Sequence[Transcript]) -> list[Transcript]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a call has come."""

    files_done: int
    files_total: int
    seconds_done: float
    """Seconds of audio read and recognized so far."""
    fraction: float
    """0..1, never falling: of the files, that being read counted by its length where the header tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """What the pipeline itself needs to know about a call."""

    limits: BatchLimits = field(default_factory=BatchLimits)
    merge_length_ms: int | None = None
    """Join neighbouring speech segments up to this length (upstream's merge_vad, merge_length_s)."""
    speakers: SpeakerOptions | None = None
    """How speakers are told apart; None for not at all. Needs an encoder."""
    raise_errors: bool = False
    """Stop at the first input that fails; otherwise it becomes a record with `error`."""
    on_progress: Callable[[Progress], None] | None = None
    pool_s: float = 600.0
    """Seconds of cut speech that are held to be batched by length."""


@dataclass(slots=True)
class _File:
    key: str
    utterances: list[_Utterance] = field(default_factory=list)
    duration_ms: int = 0
    error: str | None = None
    read: bool = False

    @property
    def done(self) -> bool:
        return self.read and all(utterance.samples is None for utterance in self.utterances)

    def fail(self, error: Exception) -> None:
        """Note what went wrong; of several faults the first counts."""
        message = str(error) or type(error).__name__
        logger.warning("%s: %s", self.key, message)
        self.error = self.error or message


@dataclass(slots=True)
class _Utterance:
    file: _File
    segment: Segment
    samples: Samples | None
    """None once it has been recognized, or has failed."""
    tokens: tuple[Token, ...] = ()
    tags: tuple[Tag, ...] = ()
    heard: Heard | None = None
    """Its voices, where speakers are told apart."""


OpenSound = Callable[[Item], AbstractContextManager[AudioStream]]
"""Opens one input at the recognizer's rate."""


class OfflinePipeline:
    """Stateless: one pipeline serves any number of threads."""

    def __init__(
        self,
        recognizer: Recognizer,
        new_detector_stream: Callable[[], SegmentStream] | None = None,
        marker: Marker | None = None,
        encoder: SpeakerEncoder | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._encoder = encoder
        self._new_stream = new_detector_stream
        self._marker = marker

    def run(
        self, items: Sequence[Item], open_sound: OpenSound, decode: DecodeOptions, options: PipelineOptions
    ) -> Iterator[Transcript]:
        """One transcript an item, in order, each as soon as it and those before it are ready.

        An item that cannot be read or recognized gives a transcript with `error` and the words that were
        heard all the same. Raises the error of the first such item if `options.raise_errors`.
        """
        encoder = self._encoder if options.speakers is not None else None
        run = _Run(self._recognizer, encoder, decode, options, len(items))
        for item in items:
            file = run.add(item.key)
            for utterance in self._read(item, open_sound, file, options, run):
                run.pool(utterance)
                yield from self._punctuated(run.finished())
            run.end_of_file(file)
        run.recognize_pool()
        yield from self._punctuated(run.finished())

    def _punctuated(self, transcripts: Iterator[Transcript]) -> Iterator[Transcript]:
        """Texts that are ready at the same time share the batches of the punctuation model."""
        return transcripts if self._marker is None else iter(self._marker.mark_words(list(transcripts)))

    def _read(
        self, item: Item, open_sound: OpenSound, file: _File, options: PipelineOptions, run: _Run
    ) -> Iterator[_Utterance]:
        """The speech of one item; a fault in its sound ends it and is noted."""
        try:
            with open_sound(item) as sound:
                for segment, samples in self._cut(sound, file, options, run):
                    yield _Utterance(file, segment, samples)
        except FunASRError as error:
            if options.raise_errors:
                raise
            file.fail(error)

    def _cut(
        self, sound: AudioStream, file: _File, options: PipelineOptions, run: _Run
    ) -> Iterator[tuple[Segment, Samples]]:
        rate = self._recognizer.rate
        split = sound.channels > 1
        cutters = [self._cutter(channel if split else None, options) for channel in range(sound.channels)]
        samples_read = 0
        for block in sound:
            samples_read += block.shape[1]
            file.duration_ms = samples_read * 1000 // rate
            run.reading(file, sound.duration)
            for cutter, samples in zip(cutters, block, strict=True):
                yield from cutter.accept(samples)
        for cutter in cutters:
            yield from cutter.flush()

    def _cutter(self, channel: int | None, options: PipelineOptions) -> SpeechCutter | WholeCutter:
        if self._new_stream is None:
            return WholeCutter(self._recognizer.rate, channel)
        stream = self._new_stream()
        if options.merge_length_ms is not None:
            stream = MergingStream(stream, options.merge_length_ms)
        return SpeechCutter(stream, self._recognizer.rate, channel)


class _Run:
    """The files of one call on their way through."""

    def __init__(
        self,
        recognizer: Recognizer,
        encoder: SpeakerEncoder | None,
        decode: DecodeOptions,
        options: PipelineOptions,
        files_total: int,
    ) -> None:
        self._recognizer = recognizer
        self._encoder = encoder
        self._decode = decode
        self._options = options
        self._files: deque[_File] = deque()
        self._pool: list[_Utterance] = []
        self._pool_ms = 0
        self._files_total = files_total
        self._files_read = 0
        self._files_done = 0
        self._ms_before = 0  # read in files that are complete
        self._current_ms = 0
        self._current_share = 0.0  # of the file being read, where its length is known
        self._speech_ms = 0
        self._fraction = 0.0

    def add(self, key: str) -> _File:
        file = _File(key)
        self._files.append(file)
        return file

    def end_of_file(self, file: _File) -> None:
        file.read = True
        self._files_read += 1
        self._ms_before += self._current_ms
        self._current_ms, self._current_share = 0, 0.0

    def reading(self, file: _File, duration_s: float | None) -> None:
        self._current_ms = file.duration_ms
        if duration_s:
            self._current_share = min(file.duration_ms / (duration_s * 1000), 1.0)

    def pool(self, utterance: _Utterance) -> None:
        utterance.file.utterances.append(utterance)
        self._pool.append(utterance)
        length_ms = utterance.segment.end_ms - utterance.segment.start_ms
        self._pool_ms += length_ms
        self._speech_ms += length_ms
        if self._pool_ms >= self._options.pool_s * 1000:
            self.recognize_pool()

    def recognize_pool(self) -> None:
        waiting, self._pool = self._pool, []
        lengths = [utterance.segment.end_ms - utterance.segment.start_ms for utterance in waiting]
        for batch in plan_batches(lengths, self._options.limits):
            self._recognize([waiting[index] for index in batch])
            self._pool_ms -= sum(lengths[index] for index in batch)
            self._report()

    def finished(self) -> Iterator[Transcript]:
        while self._files and self._files[0].done:
            file = self._files.popleft()
            self._files_done += 1
            self._report()
            yield self._transcript(file)

    def _recognize(self, batch: list[_Utterance]) -> None:
        """Recognize a batch. One that fails is tried in halves; one utterance that fails fails its file."""
        samples = [utterance.samples for utterance in batch if utterance.samples is not None]
        try:
            results = self._recognizer.recognize(samples, self._decode)
            if self._encoder is not None:
                for utterance, heard in zip(batch, self._encoder.listen(samples), strict=True):
                    utterance.heard = heard
        except Exception as error:
            if len(batch) == 1:
                if self._options.raise_errors:
                    raise
                batch[0].file.fail(error)
                batch[0].samples = None
                return
            logger.warning("a batch of %d utterances failed (%s); trying halves", len(batch), error)
            results = None
        if results is None:  # outside the handler, so that the memory of a batch that did not fit is free
            middle = len(batch) // 2
            self._recognize(batch[:middle])
            self._recognize(batch[middle:])
            return
        for utterance, result in zip(batch, results, strict=True):
            utterance.tokens = tuple(
                replace(token.shifted(utterance.segment.start_ms), channel=utterance.segment.channel)
                for token in result.tokens
            )
            utterance.tags = tuple(tag for segment in result.segments for tag in segment.tags)
            utterance.samples = None

    def _transcript(self, file: _File) -> Transcript:
        tokens: list[Token] = []
        segments: list[Segment] = []
        utterances = sorted(file.utterances, key=lambda u: (u.segment.start_ms, u.segment.channel or 0))
        for utterance, limit_ms in zip(utterances, _limits(utterances, file.duration_ms), strict=True):
            first = len(tokens)
            tokens += (token.until(limit_ms) for token in utterance.tokens)
            segments.append(
                replace(utterance.segment, first_token=first, stop_token=len(tokens), tags=utterance.tags)
            )
        found = self._speakers(segments, utterances)
        timed = self._recognizer.timed or self._decode.timestamps
        return Transcript(
            key=file.key,
            tokens=assign_speakers(tokens, segments, found.turns) if found.turns else tuple(tokens),
            duration_ms=file.duration_ms,
            segments=tuple(segments),
            turns=found.turns,
            speaker_centres=found.centres,
            timed=timed,
            verbatim=self._recognizer.verbatim,
            spaced=self._recognizer.spaced or timed,  # as upstream: words with times have blanks between them
            error=file.error,
        )

    def _speakers(self, segments: Sequence[Segment], utterances: Sequence[_Utterance]) -> Diarization:
        """Who speaks when in a file; utterances that failed were not heard."""
        pairs = [(s, u.heard) for s, u in zip(segments, utterances, strict=True) if u.heard is not None]
        return diarize([s for s, _ in pairs], [heard for _, heard in pairs], self._options.speakers)

    def _report(self) -> None:
        if self._options.on_progress is None:
            return
        read = (self._files_read + self._current_share) / max(self._files_total, 1)
        recognized = 1 - self._pool_ms / self._speech_ms if self._speech_ms else 1.0
        self._fraction = min(max(self._fraction, read * recognized), 1.0)
        self._options.on_progress(
            Progress(
                files_done=self._files_done,
                files_total=self._files_total,
                seconds_done=max(self._ms_before + self._current_ms - self._pool_ms, 0) / 1000,
                fraction=self._fraction,
            )
        )


def _limits(utterances: Sequence[_Utterance], duration_ms: int) -> list[int]:
    """Where the words of each utterance end at the latest: the channel's next speech, or the file's end.

    Networks count in whole frames, and one more to end with: up to 120 ms beyond the sound.
    """
    limits: list[int] = []
    next_start: dict[int | None, int] = {}
    for utterance in reversed(utterances):
        channel = utterance.segment.channel
        limits.append(next_start.get(channel, duration_ms))
        next_start[channel] = utterance.segment.start_ms
    return limits[::-1]
