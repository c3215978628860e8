"""Speech -> voices, as vectors that can be compared; and the voices of a recording -> who speaks when.

N utterances, W windows of an utterance, E embedding size, T frames, D feature size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from funasr.arrays import Features, Samples
from funasr.errors import InputError, OptionError
from funasr.features.config import FrontendConfig
from funasr.features.fbank import Fbank
from funasr.result import Segment, Turn
from funasr.speakers.cluster import ClusterOptions, Voices, by_appearance, centres, cluster, normalized
from funasr.speakers.thresholds import ENROLLED_THR, Thresholds
from funasr.speakers.turns import make_turns
from funasr.speakers.windows import plan_windows
from funasr.stages.protocols import Embedder

WINDOWS_AT_ONCE = 256
"""Their features are 12 MB. Networks may part them further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """The voices of one stretch of speech."""

    windows: tuple[tuple[int, int], ...]
    """W windows, [start_ms, end_ms) from the beginning of the stretch."""
    voices: Voices
    """(W, E)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledVoice:
    """A voice that has a name."""

    name: str
    voice: tuple[float, ...]
    """E numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerOptions:
    """What a caller may choose for one recording."""

    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    enrolled: tuple[EnrolledVoice, ...] = ()
    enrolled_thr: float = ENROLLED_THR
    """A speaker has the name of the most similar enrolled voice, if the cosine is at least this."""

    def __post_init__(self) -> None:
        if not isinstance(self.enrolled_thr, (int, float)) or not -1 <= self.enrolled_thr <= 1:
            raise OptionError(f"the threshold of enrolled voices is {self.enrolled_thr!r}; it is a cosine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diarization:
    """Who speaks when in one recording."""

    turns: tuple[Turn, ...] = ()
    """By start; those of one channel do not overlap."""
    centres: tuple[tuple[float, ...], ...] = ()
    """The mean voice of each speaker, in the order in which they are first heard."""


class SpeakerEncoder:
    """Immutable: any number of threads may call one."""

    def __init__(self, network: Embedder, rate: int = 16000, thresholds: Thresholds | None = None) -> None:
        self.network = network
        self.rate = rate
        """Samples per second of the utterances."""
        self.thresholds = thresholds or Thresholds()
        """How alike this network's voices of one person are, for those who set no thresholds of their own."""
        # As the released models were trained: not the front end that their config.yaml names, and not scaled
        # to 16-bit units, so that the floor of the logarithm lies higher.
        self._fbank = Fbank(
            FrontendConfig(
                fs=rate, window="povey", n_mels=network.feature_size, dither=0.0, upsacle_samples=False
            )
        )
        self._hop = self._fbank.config.hop_samples
        self._window = rate * self.thresholds.window_ms // 1000
        self._window_frames = 1 + (self._window - self._fbank.config.window_samples) // self._hop

    def embed(self, utterances: Sequence[Samples]) -> Voices:
        """N whole utterances of any lengths -> (N, E), each what it is alone.

        Raises InputError for speech that is too short to have a voice.
        """
        voices = np.empty((len(utterances), self.network.size), dtype=np.float32)
        by_length: dict[int, list[tuple[int, Features]]] = {}
        for index, samples in enumerate(utterances):
            self.require_voice(samples)
            rows = self._fbank(samples)
            # The network knows no padding, so only utterances of equal length share a batch.
            by_length.setdefault(len(rows), []).append((index, rows))
        for group in by_length.values():
            found = self.network.embed(_without_mean(np.stack([rows for _, rows in group])))
            voices[[index for index, _ in group]] = found
        return voices

    @property
    def shortest(self) -> int:
        """Speech of fewer samples has no voice."""
        return self._fbank.config.window_samples + (self.network.min_frames - 1) * self._hop

    def require_voice(self, samples: Samples) -> None:
        """Raises InputError for speech that is too short to have a voice."""
        if len(samples) < self.shortest:
            raise InputError(
                f"{len(samples) * 1000 // self.rate} ms of sound are too short to tell a voice; give "
                "some seconds of speech"
            )

    def similarity(self, first: Samples, second: Samples) -> float:
        """The cosine of the voices of two utterances, -1 to 1. Raises InputError as `embed`."""
        one, other = normalized(self.embed([first, second]))
        return float(one @ other)

    def listen(self, utterances: Sequence[Samples]) -> list[Heard]:
        """The voices in windows over each of N utterances; the windows of all share batches."""
        told = self.thresholds
        plans = [
            plan_windows(len(samples), self.rate, told.window_ms, told.shift_ms) for samples in utterances
        ]
        total = sum(map(len, plans))
        voices = np.empty((total, self.network.size), dtype=np.float32)
        buffer = np.empty(
            (min(total, WINDOWS_AT_ONCE), self._window_frames, self.network.feature_size), np.float32
        )
        done = waiting = 0
        for samples, plan in zip(utterances, plans, strict=True):
            for rows in self._window_features(samples, plan):
                buffer[waiting] = rows
                waiting += 1
                if waiting == len(buffer):
                    voices[done : done + waiting] = self.network.embed(_without_mean(buffer))
                    done, waiting = done + waiting, 0
        if waiting:
            voices[done:] = self.network.embed(_without_mean(buffer[:waiting]))
        heard, first = [], 0
        for plan in plans:
            windows = tuple((start * 1000 // self.rate, stop * 1000 // self.rate) for start, stop in plan)
            heard.append(Heard(windows=windows, voices=voices[first : first + len(plan)]))
            first += len(plan)
        return heard

    def _window_features(self, samples: Samples, plan: Sequence[tuple[int, int]]) -> Iterator[Features]:
        """(T, D) for each window. Where windows begin at a frame, they share the frames they overlap in."""
        if len(samples) < self._window:
            if plan and self.thresholds.repeat:
                yield self._fbank(np.resize(samples, self._window))
            elif plan:
                yield self._fbank(np.pad(samples, (0, self._window - len(samples))))
            return
        frames = self._fbank(samples)
        for start, stop in plan:
            first, off = divmod(start, self._hop)
            if off:
                yield self._fbank(samples[start:stop])
            else:
                yield frames[first : first + self._window_frames]


def diarize(
    segments: Sequence[Segment], heard: Sequence[Heard], options: SpeakerOptions | None = None
) -> Diarization:
    """Segments of one recording by start, and what was heard in each -> who speaks when.

    Raises MissingDependencyError without scikit-learn.
    """
    options = options or SpeakerOptions()
    if not any(one.windows for one in heard):
        return Diarization()
    voices = np.concatenate([one.voices for one in heard])
    labels = cluster(voices, options.cluster)
    names = _names(normalized(centres(voices, labels)), options)
    # Two speakers that have the name of one enrolled voice are one.
    same = {name: index for index, name in reversed(list(enumerate(names)))}
    labels = by_appearance(np.array([same[names[label]] for label in labels], dtype=np.int64))
    means = centres(voices, labels)
    names = _names(normalized(means), options)
    windows: dict[int | None, list[Turn]] = {}
    at = 0
    for segment, one in zip(segments, heard, strict=True):
        for start, end in one.windows:
            windows.setdefault(segment.channel, []).append(
                Turn(
                    start_ms=segment.start_ms + start,
                    end_ms=segment.start_ms + end,
                    speaker=names[labels[at]],
                    channel=segment.channel,
                )
            )
            at += 1
    turns = [turn for channel in windows.values() for turn in make_turns(channel)]
    return Diarization(
        turns=tuple(sorted(turns, key=lambda turn: (turn.start_ms, turn.channel or 0))),
        centres=tuple(tuple(row) for row in means.tolist()),
    )


def _names(means: Voices, options: SpeakerOptions) -> list[int | str]:
    """means (K, E) of length 1 -> what each speaker is called: the name of an enrolled voice, or a number."""
    names: list[int | str] = list(range(len(means)))
    if options.enrolled:
        known = normalized(np.array([one.voice for one in options.enrolled], dtype=np.float32))
        likeness = means @ known.T
        for index, best in enumerate(likeness.argmax(axis=1).tolist()):
            if likeness[index, best] >= options.enrolled_thr:
                names[index] = options.enrolled[best].name
    return names


def _without_mean(features: Features) -> Features:
    """(B, T, D) less the mean over time of each row."""
    centred: Features = features - features.mean(axis=1, keepdims=True)
    return centred
