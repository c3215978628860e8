"""Stretches of speech one after the other -> who speaks, while nobody knows yet how many there will be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Samples, read_only
from funasr.errors import OptionError
from funasr.speakers.cluster import normalized
from funasr.speakers.thresholds import ENROLLED_THR, SAME_THR
from funasr.stages.speaker import EnrolledVoice, SpeakerEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSpeakerOptions:
    """How voices are told apart. Thresholds are cosines."""

    same_thr: float = SAME_THR
    """A voice this similar to the mean voice of a speaker, or more, is that speaker's; of several, the most
    similar one's."""
    enrolled: tuple[EnrolledVoice, ...] = ()
    enrolled_thr: float = ENROLLED_THR
    """A voice this similar to one that has a name, or more, is called by it; this is looked at first."""
    shortest_ms: int = 1000
    """Shorter speech makes no new speaker and changes no mean: it is the most similar speaker's."""
    most: int = 15
    """No more speakers than this; a voice beyond is the most similar speaker's."""

    def __post_init__(self) -> None:
        for name in ("same_thr", "enrolled_thr"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not -1 <= value <= 1:
                raise OptionError(f"{name} is {value!r}; it is a cosine, between -1 and 1")
        if self.most < 1:
            raise OptionError(f"most is {self.most!r}: there is 1 speaker or more")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpeakersHeard:
    """The speakers so far: speaker k has row k, for good. Picklable."""

    sums: NDArray[np.float32]
    """(K, E) the voices of each, added up in proportion to the time they spoke. Read-only."""

    @property
    def nbytes(self) -> int:
        return self.sums.nbytes


class LiveSpeakers:
    """Immutable: what one stream has heard is handed in and out."""

    def __init__(self, encoder: SpeakerEncoder, options: LiveSpeakerOptions | None = None) -> None:
        self.encoder = encoder
        self.options = options or LiveSpeakerOptions()

    def nobody(self) -> SpeakersHeard:
        return SpeakersHeard(sums=read_only(np.zeros((0, self.encoder.network.size), np.float32)))

    def tell(self, samples: Samples, heard: SpeakersHeard) -> tuple[int | str | None, SpeakersHeard]:
        """A stretch of speech of one voice -> whose it is, and the speakers with it among them.

        0, 1, ... as they are first heard; the name of an enrolled voice; None where there is too little
        sound for a voice, or for a first one.
        """
        if len(samples) < self.encoder.shortest:
            return None, heard
        options = self.options
        [own] = normalized(self.encoder.embed([samples]))
        if options.enrolled:
            known = normalized(np.array([one.voice for one in options.enrolled], np.float32)) @ own
            if known.max() >= options.enrolled_thr:
                return options.enrolled[int(known.argmax())].name, heard
        likeness = normalized(heard.sums) @ own
        speaker = int(likeness.argmax()) if len(likeness) else None
        weight = len(samples) * 1000 // self.encoder.rate
        if weight < options.shortest_ms:
            return speaker, heard
        if speaker is None or likeness[speaker] < options.same_thr:
            if len(likeness) == options.most:
                return speaker, heard
            sums = np.concatenate([heard.sums, own[None] * weight])
            return len(likeness), SpeakersHeard(sums=read_only(sums))
        sums = heard.sums.copy()
        sums[speaker] += own * weight
        return speaker, SpeakersHeard(sums=read_only(sums))
