"""What a back end supplies: networks, as functions of arrays. Torch and ONNX both implement these.

A network is immutable: any number of threads may call it at once. B batch, T frames, D feature size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.errors import OptionError
from funasr.values import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Hotwords:
    """Phrases as token ids, ready for a network. The network adds the "no hotword" entry itself."""

    ids: tuple[tuple[int, ...], ...]
    weights: tuple[float, ...]
    """One a phrase, > 0; 1.0 leaves the network as it was trained."""
    scale: float = 1.0
    """How strongly the whole hotword branch counts (upstream's `clas_scale`; Contextual only)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcousticRow:
    """What the network says about one utterance."""

    ids: NDArray[np.int64]
    """(U,) best token id at each of the U predicted positions, special tokens included."""
    confidences: NDArray[np.float32]
    """(U,) probability of that id, 0..1."""
    alphas: NDArray[np.float32] | None = None
    """(R * T,) firing weights of the timestamp predictor (R = upsample rate), scaled so that they sum to U.
    Of models without one: (T + 1,) weights of the token predictor, tail included."""
    upsample_rate: int = 1


class AcousticNetwork(Protocol):
    """A non-autoregressive recognizer: features in, token ids out."""

    accepts_hotwords: bool
    has_timestamps: bool

    def infer(
        self, features: Features, lengths: NDArray[np.int64], hotwords: Hotwords | None = None
    ) -> Sequence[AcousticRow]:
        """features (B, T, D), lengths (B,) in frames -> one row each, equal to what it gives alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkShape:
    """How a streaming recognizer walks over the sound, in feature frames (60 ms in released models)."""

    left: int = 0
    """Frames before the new ones that are encoded again."""
    size: int = 10
    """New frames in a chunk."""
    right: int = 5
    """Frames of look-ahead: what is decided lags behind the sound by as many."""
    encoder_look_back: int = 0
    """Chunks that the encoder remembers; -1 for all of them (unbounded)."""
    decoder_look_back: int = 0
    """Chunks that the decoder remembers."""


def chunk_sizes(given: Any) -> list[int]:
    """`[left, size, right]` of a ChunkShape, as callers write it. Raises OptionError for anything else."""
    whole = isinstance(given, (list, tuple, np.ndarray)) and all(
        isinstance(size, (int, np.integer)) and not isinstance(size, bool) for size in given
    )
    sizes = [int(size) for size in given] if whole else []
    if len(sizes) != 3 or sizes[1] < 1 or min(sizes) < 0:
        raise OptionError(
            f"chunk_size is {shown(given)}: a streaming recognizer takes [left, size, right] in rows of "
            "60 ms, size 1 or more, such as [0, 10, 5]"
        )
    return sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The next stretch of one stream."""

    features: Features
    """(T, D): `ChunkShape.size` rows; fewer, or none at all, only where `final`."""
    state: Any
    """What the network gave with the chunk before, or `initial_state()`. It stays valid whatever happens."""
    final: bool = False
    """No more rows will come: what was looked ahead at is decided too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRow:
    """What the network says about a chunk."""

    ids: NDArray[np.int64]
    """(U,) best token id at each position that fired, special tokens included; often U = 0."""
    confidences: NDArray[np.float32]
    """(U,) probability of that id, 0..1."""
    ends: NDArray[np.float32]
    """(U,) where each token fired, in feature frames since the stream began; never falling."""


class StreamingAcousticNetwork(Protocol):
    """A recognizer that hears sound chunk by chunk. It remembers nothing itself; states are the caller's."""

    def initial_state(self, shape: ChunkShape) -> Any:
        """The memory of a stream that has heard nothing. Opaque, frozen, picklable, has `nbytes`."""
        ...

    def step(self, chunks: Sequence[Chunk]) -> list[tuple[ChunkRow, Any]]:
        """Chunks of any streams, each of another one -> what is said in each, and its next state.

        Every stream gets what it gets alone.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CtcRow:
    """What a network that labels frames says about one utterance. F = queries + frames."""

    ids: NDArray[np.int64]
    """(F,) best vocabulary id of each position; the first ones answer the queries."""
    confidences: NDArray[np.float32]
    """(F,) probability of that id, 0..1."""


class CtcNetwork(Protocol):
    """A recognizer that is asked questions, as rows of its query table, in front of the sound."""

    def infer(
        self,
        features: Features,
        lengths: NDArray[np.int64],
        queries: Sequence[int],
        banned: Sequence[int] = (),
    ) -> Sequence[CtcRow]:
        """features (B, T, D), lengths (B,) in frames -> one row each, equal to what it gives alone.

        Ids in `banned` are never the answer.
        """
        ...


class AlignmentNetwork(Protocol):
    """Where the tokens of a known text are in the sound."""

    @property
    def upsample_rate(self) -> int:
        """R, the weights in one feature frame."""
        ...

    def weigh(self, features: Features, lengths: NDArray[np.int64]) -> Sequence[NDArray[np.float32]]:
        """features (B, T, D), lengths (B,) >= 1 in frames -> firing weights (R * length,), a row each.

        Scaled to the sum of a text's tokens + 1 they fire where its tokens begin, and where the last ends.
        """
        ...


class FrameScorer(Protocol):
    """A frame classifier with memory: the network of a voice activity detector."""

    def initial_state(self, batch: int = 1) -> Any:
        """The memory of streams that have heard nothing. Opaque, frozen, picklable, has `nbytes`."""
        ...

    def score(self, features: Features, state: Any) -> tuple[NDArray[np.float32], Any]:
        """features (B, T, D) -> probability of silence (B, T), and the next state."""
        ...


class PunctuationNetwork(Protocol):
    """A word tagger: which mark follows each word."""

    def label(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64], boundaries: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """ids (B, T), lengths (B,) >= 1 in words -> the label of each word (B, T), as each row has it alone.

        boundaries (B,): how many words of each row earlier calls have seen. Networks of whole texts do not
        look at it.
        """
        ...


class Embedder(Protocol):
    """A speaker network: the voice of a stretch of speech as one vector."""

    @property
    def size(self) -> int:
        """E: numbers in a voice."""
        ...

    @property
    def feature_size(self) -> int:
        """D."""
        ...

    @property
    def min_frames(self) -> int:
        """Speech of fewer frames has no voice."""
        ...

    def embed(self, features: Features) -> NDArray[np.float32]:
        """features (B, T, D), every row of that length, T >= min_frames -> (B, E), each what it is alone.

        Voices are compared by their cosine; their lengths say nothing.
        """
        ...
