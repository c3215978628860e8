"""Streaming recognition: sound in as it comes, words out as soon as nothing can change them.

Sound is gathered into strides, the new frames of a chunk. A stride is one step of the network, whatever
pieces it came in, so words and times depend on the sound alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from funasr.arrays import NO_SAMPLES, Features, Samples, read_only
from funasr.decode.firing import fired_spans
from funasr.decode.greedy import kept_positions
from funasr.errors import InputError, ModelFilesError
from funasr.features.fbank import finite
from funasr.features.frontend import WavFrontend
from funasr.features.online import OnlineState
from funasr.result import Token, Transcript
from funasr.stages.paraformer import DecodeOptions
from funasr.stages.protocols import Chunk, ChunkRow, ChunkShape, StreamingAcousticNetwork
from funasr.text.join import Joiner
from funasr.text.tokenizer import Tokenizer

RECENT = 16
"""Pieces of which some may be unknown to the vocabulary, so that a word among them is less certain."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecognitionState:
    """What one stream remembers between calls. Picklable; its arrays are its own, and read-only.

    Bounded by the shape, except where its `encoder_look_back` is -1.
    """

    shape: ChunkShape
    waiting: Samples
    """Less than a stride of sound."""
    frontend: OnlineState
    network: Any
    """The network's own."""
    words: Joiner | None
    """The word that is open. None: words end with their stride."""
    samples: int = 0
    """How many the network has heard."""
    frames: int = 0
    """Feature rows that the network has heard."""
    until: float = 0.0
    """Where the last token ended, in frames."""
    unknown: tuple[bool, ...] = ()
    """Of the last pieces, at most RECENT: whether the vocabulary lacks them."""
    flushed: bool = False

    @property
    def nbytes(self) -> int:
        open_word = 0 if self.words is None else self.words.nbytes
        return int(self.waiting.nbytes + self.frontend.nbytes + self.network.nbytes + open_word)


class ParaformerStreamer:
    """A streaming recognizer. Immutable: any number of threads and streams share one."""

    timed = False
    """Its words have times all the same; texts of results are as if they had not, unless asked for."""
    verbatim = False

    def __init__(
        self,
        network: StreamingAcousticNetwork,
        frontend: WavFrontend,
        tokenizer: Tokenizer,
        *,
        shape: ChunkShape | None = None,
        spaced: bool = False,
    ) -> None:
        """`shape`: that of streams which are given none. `spaced`: text has a blank between any two words.

        Raises ModelFilesError for a front end whose windows do not line up with the chunks.
        """
        self.network = network
        self.frontend = frontend
        self.tokenizer = tokenizer
        self.shape = shape or ChunkShape()
        self.spaced = spaced
        config = frontend.config
        self.row_samples = config.lfr_n * config.hop_samples
        """Samples from one feature row to the next."""
        self._frame_ms = config.lfr_n * config.frame_shift
        _check_rows(frontend)

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.frontend.fs

    def stream(
        self,
        shape: ChunkShape | None = None,
        state: RecognitionState | None = None,
        *,
        whole_words: bool = True,
    ) -> ParaformerStream:
        """A new stream, or one that goes on where `state` was taken, from this model or an equal one.

        `whole_words`: a word that goes on in the next stride is handed out whole, when it is complete.
        Otherwise, as upstream's calls have it, each stride is read by itself: `hel@@` at the end of one is
        lost, and `lo` at the beginning of the next is a word.

        Raises InputError for a shape that is none, or is not that of `state`.
        """
        if state is None:
            chosen = shape or self.shape
            state = RecognitionState(
                shape=chosen,
                waiting=NO_SAMPLES,
                frontend=self.frontend.online().state,
                network=self.network.initial_state(chosen),
                words=self.tokenizer.joiner() if whole_words else None,
            )
        elif shape not in (None, state.shape):
            raise InputError(f"the state is that of a stream of {state.shape}; it cannot go on with {shape}")
        return ParaformerStream(self, state)

    def with_shape(self, shape: ChunkShape) -> ParaformerStreamer:
        """The same recognizer; its streams have that shape unless they are given another."""
        if shape == self.shape:
            return self
        return ParaformerStreamer(
            self.network, self.frontend, self.tokenizer, shape=shape, spaced=self.spaced
        )

    def stride(self, shape: ChunkShape) -> int:
        """Samples of a stride."""
        return shape.size * self.row_samples

    def advance(
        self, streams: Sequence[ParaformerStream], sounds: Sequence[Samples], *, last: bool = False
    ) -> list[tuple[Token, ...]]:
        """`accept` of several streams, each with its sound, or `accept` and `flush` if `last`.

        All that have a whole stride take a step in the same call of the network; each gets what it gets
        alone. Where anything raises, all streams are as they were.
        """
        if len({id(stream) for stream in streams}) < len(streams):
            raise InputError("the same stream occurs twice; give each one once, with all of its sound")
        walks = [
            _Walk(self, stream.state, samples, last=last)
            for stream, samples in zip(streams, sounds, strict=True)
        ]
        waiting = [(walk, chunk) for walk in walks if (chunk := walk.next_chunk()) is not None]
        while waiting:
            said = self.network.step([chunk for _, chunk in waiting])
            for (walk, chunk), (row, state) in zip(waiting, said, strict=True):
                walk.take(chunk, row, state)
            waiting = [(walk, chunk) for walk, _ in waiting if (chunk := walk.next_chunk()) is not None]
        for stream, walk in zip(streams, walks, strict=True):
            stream._state = walk.end()
        return [tuple(walk.words) for walk in walks]

    def recognize(self, batch: Sequence[Samples], options: DecodeOptions | None = None) -> list[Transcript]:
        """Utterances at `rate` -> one Transcript each, key unset: each streamed through, all side by side."""
        streams = [self.stream() for _ in batch]
        spoken = [index for index, samples in enumerate(batch) if len(samples)]
        words = self.advance([streams[i] for i in spoken], [batch[i] for i in spoken], last=True)
        found = dict(zip(spoken, words, strict=True))
        return [
            self.transcript(found.get(index, ()), len(samples) * 1000 // self.rate, options)
            for index, samples in enumerate(batch)
        ]

    def transcript(
        self, words: Sequence[Token], duration_ms: int, options: DecodeOptions | None = None
    ) -> Transcript:
        """Words of a stream as a result, key unset."""
        timed = options is not None and options.timestamps
        # As upstream: whenever times are given, there is a blank between words.
        return Transcript(
            key="",
            tokens=tuple(words),
            duration_ms=duration_ms,
            timed=timed,
            spaced=self.spaced or timed,
        )

    def _features(self, state: OnlineState, sound: Samples, final: bool) -> tuple[Features, OnlineState]:
        """A stride, or what is left of one where `final` -> its rows (T, D), and what is remembered of it."""
        if final and len(sound) < self.row_samples:
            # As upstream: less than a row of sound at the end is not heard.
            return np.zeros((0, self.frontend.output_size), dtype=np.float32), state
        frontend = self.frontend.online(state)
        rows = frontend.accept(sound)
        if final:
            rows = np.concatenate([rows, frontend.flush()])
        return rows, frontend.state

    def _pieces(
        self, row: ChunkRow, spans: Sequence[tuple[float, float]], before: RecognitionState
    ) -> tuple[list[Token], tuple[bool, ...]]:
        """What the network wrote, one Token per vocabulary id, special ones left out.

        And of the last ones whether they are unknown. A word amid such may be misheard too.
        """
        ids = row.ids.tolist()
        texts = self.tokenizer.tokens(ids)
        unknown = before.unknown
        heard_ms = before.samples * 1000 // self.rate
        pieces = []
        for place in kept_positions(row.ids).tolist():
            unknown = (*unknown, ids[place] == self.tokenizer.unk_id)[-RECENT:]
            known = 1.0 - sum(unknown) / len(unknown)
            start, end = (min(int(frame * self._frame_ms), heard_ms) for frame in spans[place])
            confidence = float(row.confidences[place]) * known
            pieces.append(
                Token(
                    text=texts[place],
                    start_ms=start,
                    end_ms=end,
                    confidence=confidence,
                    ids=(ids[place],),
                )
            )
        return pieces, unknown


class ParaformerStream:
    """The words of one live stream. How its sound is cut into pieces never changes them, nor their times.

    Not for two threads at once. A call that raises leaves the stream as it was, without the sound of that
    call: the same call may be made again.
    """

    def __init__(self, streamer: ParaformerStreamer, state: RecognitionState) -> None:
        self.streamer = streamer
        self._state = state

    @property
    def state(self) -> RecognitionState:
        """What is remembered now; `ParaformerStreamer.stream(state=...)` goes on from it, here or elsewhere.

        A state never changes: more sound makes another one.
        """
        return self._state

    @property
    def shape(self) -> ChunkShape:
        return self._state.shape

    @property
    def tail(self) -> tuple[Token, ...]:
        """The word that is still open, as far as it was heard: what comes next may change or drop it."""
        return () if self._state.words is None else self._state.words.tail

    @property
    def nbytes(self) -> int:
        """Size of what is remembered, in bytes."""
        return self._state.nbytes

    def accept(self, samples: Samples) -> tuple[Token, ...]:
        """samples (N,) at `ParaformerStreamer.rate`, any number of them -> more words; often none.

        Their times are milliseconds since the stream began. Raises InputError for what is no sound, and for
        a stream that was flushed.
        """
        [words] = self.streamer.advance([self], [samples])
        return words

    def flush(self) -> tuple[Token, ...]:
        """No more sound will come: the words that were held back. Flushing again says nothing."""
        if self._state.flushed:
            return ()
        [words] = self.streamer.advance([self], [NO_SAMPLES], last=True)
        return words


class _Walk:
    """A stream on its way through the sound of one call."""

    def __init__(
        self, streamer: ParaformerStreamer, state: RecognitionState, samples: Samples, *, last: bool
    ) -> None:
        if state.flushed:
            raise InputError("this stream was flushed and takes no more sound; make a new one")
        samples = finite(samples)
        self.words: list[Token] = []
        self._streamer = streamer
        self._state = state
        self._sound = np.concatenate([state.waiting, samples]) if len(state.waiting) else samples
        self._start = 0
        self._stride = streamer.stride(state.shape)
        self._last = last
        self._frontend = state.frontend
        self._left = 0
        self._stride_pieces: list[Token] = []

    def next_chunk(self) -> Chunk | None:
        """The next stretch for the network, or None when this stream has to wait for more sound."""
        self._left = len(self._sound) - self._start
        final = self._left < self._stride
        if self._state.flushed or (final and not self._last):
            return None
        sound = self._sound[self._start : self._start + self._stride]
        self._start += len(sound)
        features, self._frontend = self._streamer._features(self._state.frontend, sound, final)
        self._state = replace(self._state, samples=self._state.samples + len(sound))
        return Chunk(features=features, state=self._state.network, final=final)

    def take(self, chunk: Chunk, row: ChunkRow, network: Any) -> None:
        """What the network said about the chunk, and its state after it."""
        before, streamer = self._state, self._streamer
        frames = before.frames + len(chunk.features)
        decided = frames if chunk.final else max(frames - before.shape.right, 0)
        spans = fired_spans(row.ends, before=before.until, decided=decided, final=chunk.final)
        pieces, unknown = streamer._pieces(row, spans, before)
        joiner = before.words
        if joiner is None:
            # As upstream: where a last call brings a whole stride, what was looked ahead at belongs to it.
            if not (chunk.final and self._left == 0):
                self._read_stride()
            self._stride_pieces += pieces
        else:
            words, joiner = joiner.add(pieces)
            self.words += words + (joiner.close() if chunk.final else ())
        self._state = replace(
            before,
            frontend=self._frontend,
            network=network,
            words=joiner,
            frames=frames,
            until=spans[-1][1] if spans else before.until,
            unknown=unknown,
            flushed=chunk.final,
        )

    def _read_stride(self) -> None:
        """The words of a stride by itself."""
        self.words += self._streamer.tokenizer.words(self._stride_pieces)
        self._stride_pieces = []

    def end(self) -> RecognitionState:
        """What the stream remembers after the call."""
        self._read_stride()
        return replace(self._state, waiting=read_only(self._sound[self._start :].copy()))


def _check_rows(frontend: WavFrontend) -> None:
    """Every stride of n rows of sound must complete n rows of features: those of the chunk."""
    config = frontend.config
    m, n, hop = config.lfr_m, config.lfr_n, config.hop_samples
    overlap = -(-config.window_samples // hop) - 1
    if not 0 <= n - overlap + (m - 1) // 2 - max(m, n) < n:
        raise ModelFilesError(
            f"frontend_conf: windows of {config.window_samples} samples every {hop}, lfr_m={m} and lfr_n={n} "
            "do not line up with chunks; released streaming models have 400, 160, 7 and 6"
        )
