"""Live sound in, events with words out: detector, streaming recognizer and punctuation on one stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from funasr.arrays import NO_SAMPLES, Samples
from funasr.audio.samples import live_samples
from funasr.errors import InputError, OptionError
from funasr.pipeline.closing import Closing, KeptWords, Rewrite, Writing
from funasr.pipeline.events import Final, LiveEvent, Partial, Stable, more_text
from funasr.pipeline.offline import Marker
from funasr.pipeline.stream_state import StreamOptions, StreamState
from funasr.pipeline.utterances import Closed, Happening, Heard, Opened, Utterances
from funasr.result import Token, main_speaker
from funasr.stages.detector import Detector
from funasr.stages.protocols import ChunkShape


class WordStream(Protocol):
    """One stream of a recognizer: sound in, words out as soon as they are certain."""

    @property
    def tail(self) -> tuple[Token, ...]:
        """What is heard behind the words handed out, and may still change."""
        ...

    @property
    def state(self) -> Any:
        """Frozen, picklable, has `nbytes`."""
        ...

    def accept(self, samples: Samples) -> tuple[Token, ...]: ...

    def flush(self) -> tuple[Token, ...]: ...


class Streamer(Protocol):
    """A streaming recognizer; see stages/streaming.py. Immutable."""

    @property
    def rate(self) -> int:
        """Samples per second."""
        ...

    def stream(self, shape: ChunkShape | None = None, state: Any = None) -> WordStream: ...


LONGEST_OVERHANG_MS = 120
"""By as much may a network end a word behind the end of its utterance: two feature rows."""


class RecognitionStream:
    """One live stream of a streaming recognizer: `accept` sound as it comes, `flush` at its end.

    With a detector every stretch of speech is an utterance, recognized by itself from a little before its
    beginning; without, all sound is heard, an utterance begins with its first word, and ends at `flush` or
    when it is too long. See events.py for what comes out. How the sound is cut into pieces changes nothing:
    the events are the same, each as soon as the sound has come that it depends on.

    A call that raises leaves the stream as it was, so it can be tried again with the same sound. Not for two
    threads at once; any number of streams share their models.
    """

    def __init__(
        self,
        streamer: Streamer,
        detector: Detector | None = None,
        punctuator: Marker | None = None,
        *,
        rewrite: Rewrite | None = None,
        options: StreamOptions | None = None,
        state: StreamState | None = None,
    ) -> None:
        """`rewrite`: how the words of complete utterances are written in another way.

        `state` is that of a stream of the same models and options, to go on where that one stood. Raises
        OptionError for models of different sample rates, InputError for a state of another kind.
        """
        closing = KeptWords(Writing(punctuator, rewrite))
        self._set_up(streamer, detector, closing, streamer.rate, options, state)

    def _set_up(
        self,
        streamer: Streamer | None,
        detector: Detector | None,
        closing: Closing,
        rate: int,
        options: StreamOptions | None,
        state: StreamState | None,
    ) -> None:
        for other in (streamer.rate if streamer else rate, detector.fs if detector else rate):
            if other != rate:
                raise OptionError(
                    f"models of one stream must hear the same sound: one takes {rate} Hz, another {other} Hz"
                )
        self.rate = rate
        """Samples per second of the sound that `accept` takes."""
        self._streamer, self._detector, self._closing = streamer, detector, closing
        self._options = options or StreamOptions()
        self._block = max(rate * self._options.block_ms // 1000, 1)
        self._resume(state if state is not None else self._initial())

    def _initial(self) -> StreamState:
        utterances = Utterances(self._detector, self._options.vad).state if self._detector else None
        words = None if self._detector else self._new_words()
        if words is not None:
            words.accept(np.zeros(self.rate * self._options.lead_in_ms // 1000, dtype=np.float32))
        return StreamState(
            waiting=NO_SAMPLES,
            samples_in=0,
            utterances=utterances,
            words=words.state if words else None,
            memory=self._closing.initial_memory(),
            id=0,
            start_ms=0,
            settled=(),
            shown=(),
            flushed=False,
        )

    def _resume(self, state: StreamState) -> None:
        """Stand where `state` was taken."""
        if not isinstance(state, StreamState):
            raise InputError(f"state is a {type(state).__name__}; give the `state` of another stream")
        if (state.utterances is None) != (self._detector is None):
            has, lacks = ("no", "one") if state.utterances is None else ("a", "none")
            raise InputError(f"the state is that of a stream with {has} detector, and this one has {lacks}")
        self._waiting, self._samples_in = state.waiting, state.samples_in
        self._utterances = None
        if self._detector is not None:
            self._utterances = Utterances(self._detector, self._options.vad, state.utterances)
        self._words = None if state.words is None else self._new_words(state.words)
        self._memory, self._id, self._start_ms = state.memory, state.id, state.start_ms
        self._settled, self._shown, self._flushed = state.settled, state.shown, state.flushed

    @property
    def state(self) -> StreamState:
        """What the stream remembers now; accepting more sound does not change it."""
        return StreamState(
            waiting=self._waiting,
            samples_in=self._samples_in,
            utterances=self._utterances.state if self._utterances else None,
            words=self._words.state if self._words else None,
            memory=self._memory,
            id=self._id,
            start_ms=self._start_ms,
            settled=self._settled,
            shown=self._shown,
            flushed=self._flushed,
        )

    @property
    def nbytes(self) -> int:
        """Size of what is remembered, in bytes; see `StreamState.nbytes`."""
        return self.state.nbytes

    def accept(self, samples: Samples) -> tuple[LiveEvent, ...]:
        """samples (N,), any number of them -> what happened in them; often nothing.

        Mono at `rate`, float32 in [-1, 1] or integers. Raises InputError for anything else, and after
        `flush`.
        """
        if self._flushed:
            raise InputError("this stream was flushed and takes no more sound; make a new one")
        waiting = np.concatenate([self._waiting, live_samples(samples)])
        if len(waiting) < self._block:
            self._waiting = waiting
            return ()
        before = self.state
        try:
            return tuple(self._advance(waiting))
        except BaseException:
            self._resume(before)
            raise

    def flush(self) -> tuple[LiveEvent, ...]:
        """No more sound will come: the open utterance ends. Flushing again says nothing."""
        if self._flushed:
            return ()
        before = self.state
        try:
            return tuple(self._finish())
        except BaseException:
            self._resume(before)
            raise

    def _advance(self, waiting: Samples) -> Iterator[LiveEvent]:
        whole = len(waiting) - len(waiting) % self._block
        for start in range(0, whole, self._block):
            yield from self._hear(waiting[start : start + self._block])
        self._waiting = waiting[whole:].copy()

    def _finish(self) -> Iterator[LiveEvent]:
        if len(self._waiting):
            yield from self._hear(self._waiting)
            self._waiting = NO_SAMPLES
        if self._utterances is not None:
            for happening in self._utterances.flush():
                yield from self._follow(happening)
        elif self._words is not None:
            yield from self._settle(self._words.flush())
            if self._settled:
                yield from self._close(self._spoken())
        self._flushed = True

    def _hear(self, block: Samples) -> Iterator[LiveEvent]:
        """One block."""
        self._samples_in += len(block)
        if self._utterances is not None:
            for happening in self._utterances.accept(block):
                yield from self._follow(happening)
        elif self._words is not None:
            yield from self._settle(self._words.accept(block))
            if self._settled and self._now_ms - _begin(self._settled) >= self._options.longest_ms:
                yield from self._close(self._spoken())
        if self._words is not None:
            yield from self._show((*self._settled, *self._timed(self._words.tail)))

    def _follow(self, happening: Happening) -> Iterator[LiveEvent]:
        if isinstance(happening, Opened):
            self._start_ms = happening.start_ms
            self._words = self._new_words()
        elif self._words is not None and isinstance(happening, Heard):
            yield from self._settle(self._words.accept(happening.samples))
        elif isinstance(happening, Closed):
            if self._words is not None:
                yield from self._settle(self._words.flush())
            self._words = None
            yield from self._close(happening)

    def _settle(self, words: Sequence[Token]) -> Iterator[LiveEvent]:
        """Words that the recognizer will not change any more."""
        new = self._timed(words)
        if new and self._closing.keeps_words:
            text = more_text(self._settled, new)
            yield Stable(id=self._id, words=new, text=text, start_ms=_begin(new), end_ms=_end(new))
        self._settled += new

    def _show(self, words: tuple[Token, ...]) -> Iterator[LiveEvent]:
        """All that is heard of the open utterance."""
        if words == self._shown:
            return
        self._shown = words
        yield Partial(
            id=self._id,
            words=words,
            text=more_text((), words),
            start_ms=_begin(words) if self._detector is None and words else self._start_ms,
            end_ms=self._now_ms,
            settled=len(self._settled),
        )

    def _close(self, utterance: Closed) -> Iterator[LiveEvent]:
        transcript, self._memory = self._closing.close(utterance, self._settled, self._memory)
        # A network that hears a whole utterance counts in frames, and may end behind its sound: but not in
        # the next utterance, which begins at once where speech was cut for its length.
        cut = not self._closing.keeps_words and self._now_ms - utterance.end_ms <= LONGEST_OVERHANG_MS
        last_ms = utterance.end_ms if cut else self._now_ms
        words = tuple(word.until(last_ms) for word in transcript.tokens)
        yield Final(
            id=self._id,
            words=words,
            text=transcript.text,
            start_ms=utterance.start_ms,
            end_ms=utterance.end_ms,
            speaker=main_speaker(words),
        )
        self._id += 1
        self._settled = self._shown = ()

    def _spoken(self) -> Closed:
        """Without a detector: the time of the settled words."""
        return Closed(_begin(self._settled), _end(self._settled), NO_SAMPLES)

    def _timed(self, words: Sequence[Token]) -> tuple[Token, ...]:
        """Words at times of the utterance's own sound -> at times of the stream."""
        if self._detector is not None:
            return tuple(word.shifted(self._start_ms) for word in words)
        return tuple(_since_the_beginning(word.shifted(-self._options.lead_in_ms)) for word in words)

    @property
    def _now_ms(self) -> int:
        return self._samples_in * 1000 // self.rate

    def _new_words(self, state: Any = None) -> WordStream | None:
        if self._streamer is None:
            return None
        return self._streamer.stream(self._options.shape, state=state)


def _since_the_beginning(word: Token) -> Token:
    """The same word, but not before the stream; without times it stays as it is."""
    if word.start_ms is None or word.end_ms is None or word.start_ms >= 0:
        return word
    return replace(word, start_ms=0, end_ms=max(word.end_ms, 0))


def _begin(words: Sequence[Token]) -> int:
    return words[0].start_ms or 0


def _end(words: Sequence[Token]) -> int:
    return words[-1].end_ms or 0
