"""Paraformer and its kin: utterances (N,) float32 -> Transcripts, one each, in order.

Every model that predicts how many tokens there are and then all of them at once fits here, whichever engine
runs its network.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.decode.cif import prefix_peaks
from funasr.decode.greedy import kept_positions
from funasr.decode.timestamps import TimeRule, token_times
from funasr.result import Token, Transcript
from funasr.stages.protocols import AcousticNetwork, AcousticRow, Hotwords
from funasr.text.hotwords import Fetch, HotwordInput, HotwordReport, encode_hotwords, parse_hotwords
from funasr.text.tokenizer import Tokenizer

logger = logging.getLogger(__name__)


class Frontend(Protocol):
    """What turns sound into features; `funasr.features.frontend.WavFrontend` is one."""

    @property
    def fs(self) -> int: ...

    def batch(self, utterances: Sequence[Samples]) -> tuple[Features, NDArray[np.int64]]:
        """B utterances -> (B, T, D), zero-padded, and their lengths (B,)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """What a caller may choose for one batch."""

    hotwords: Hotwords | None = None
    """None: the network runs without its hotword part. No phrases: it runs, and knows none."""
    timestamps: bool = False
    """Give times even where the model has no predictor for them: coarse ones, from its token weights."""
    # Of SenseVoice; other models have no such choices.
    language: str = "auto"
    """What is spoken, if it is known: one of `sense_voice.LANGUAGES`."""
    itn: bool = False
    """Write numbers as digits, with punctuation."""
    ban_unknown_emotion: bool = False
    """Name an emotion even where the model would rather not."""


class ParaformerRecognizer:
    """Immutable: any number of threads may call one."""

    def __init__(
        self,
        network: AcousticNetwork,
        frontend: Frontend,
        tokenizer: Tokenizer,
        *,
        spaced: bool = False,
        frame_ms: float = 60.0,
        closing: int = 0,
        time_rule: TimeRule | None = None,
    ) -> None:
        """`spaced`: text has a blank between any two words. `frame_ms`: from one feature row to the next.

        `closing`: how many of the positions that the network predicts are never words, at the end.
        """
        self.network = network
        self.frontend = frontend
        self.tokenizer = tokenizer
        self.spaced = spaced
        self._frame_ms = frame_ms
        self._closing = closing
        self._time_rule = time_rule or TimeRule()

    verbatim = False
    """Results are not as the model wrote them: the rules of the languages put blanks between words."""

    @property
    def rate(self) -> int:
        """Samples per second of the utterances."""
        return self.frontend.fs

    @property
    def timed(self) -> bool:
        """Every result has times, asked for or not."""
        return self.network.has_timestamps

    def hotwords(
        self, value: HotwordInput | None, *, fetch: Fetch | None = None
    ) -> tuple[Hotwords | None, tuple[HotwordReport, ...]]:
        """A user's hotwords -> what the network takes, and what became of each phrase.

        Phrases that the vocabulary cannot spell are left out, with one warning. None stays None.
        """
        if value is None:
            return None, ()
        if not self.network.accepts_hotwords:
            logger.warning("this model takes no hotwords; the ones given have no effect")
        encoded = encode_hotwords(parse_hotwords(value, fetch=fetch), self.tokenizer)
        if encoded.not_encoded:
            logger.warning(
                "%d of %d hotwords cannot be spelt with the vocabulary of this model and have no effect: %s",
                len(encoded.not_encoded),
                len(encoded.reports),
                ", ".join(encoded.not_encoded[:10]),
            )
        return Hotwords(ids=encoded.ids, weights=encoded.weights), encoded.reports

    def recognize(self, batch: Sequence[Samples], options: DecodeOptions | None = None) -> list[Transcript]:
        """Utterances at `rate` -> one Transcript each, key unset; an empty one for no sound."""
        spoken = [index for index, samples in enumerate(batch) if len(samples)]
        found: dict[int, Transcript] = {}
        if spoken:
            features, lengths = self.frontend.batch([batch[index] for index in spoken])
            found = dict(zip(spoken, self.recognize_features(features, lengths, options), strict=True))
        return [
            self._transcript(
                found[index].tokens if index in found else (), len(samples) * 1000 // self.rate, options
            )
            for index, samples in enumerate(batch)
        ]

    def recognize_features(
        self, features: Features, lengths: NDArray[np.int64], options: DecodeOptions | None = None
    ) -> list[Transcript]:
        """features (B, T, D), zero-padded, lengths (B,) -> one Transcript each, key unset."""
        options = options or DecodeOptions()
        tokens: list[tuple[Token, ...]] = [()] * len(lengths)
        heard = np.flatnonzero(lengths > 0)
        if heard.size:
            # Utterances of no frames have nothing that a network could normalise or attend to.
            rows = self.network.infer(
                features[heard, : int(lengths[heard].max())],
                lengths[heard],
                options.hotwords if self.network.accepts_hotwords else None,
            )
            for index, row in zip(heard.tolist(), rows, strict=True):
                tokens[index] = self.tokenizer.words(self._pieces(row, timed=self._timed(options)))
        return [
            self._transcript(words, int(length * self._frame_ms), options)
            for words, length in zip(tokens, lengths, strict=True)
        ]

    def _timed(self, options: DecodeOptions | None) -> bool:
        return self.timed or (options is not None and options.timestamps)

    def _transcript(
        self, tokens: tuple[Token, ...], duration_ms: int, options: DecodeOptions | None
    ) -> Transcript:
        timed = self._timed(options)
        # As upstream: whenever times are given, there is a blank between words.
        return Transcript(
            key="", tokens=tokens, duration_ms=duration_ms, timed=timed, spaced=self.spaced or timed
        )

    def _pieces(self, row: AcousticRow, *, timed: bool) -> list[Token]:
        """What the network wrote, one Token per vocabulary id, special ones left out."""
        kept = kept_positions(row.ids)[: max(len(row.ids) - self._closing, 0)]
        ids = row.ids[kept].tolist()
        times: Sequence[tuple[int, int] | tuple[None, None]] = [(None, None)] * len(ids)
        if timed and row.alphas is not None:
            # Token weights fire by their prefix sums, timestamp weights by sequential ones (their default).
            peaks = None if self.network.has_timestamps else prefix_peaks(row.alphas)
            times = token_times(
                row.alphas,
                peaks,
                len(ids),
                upsample_rate=row.upsample_rate,
                frame_ms=self._frame_ms,
                rule=self._time_rule,
            )
        # What the model could not write is dropped later; it says that the rest may be misheard too.
        known = 1.0 - ids.count(self.tokenizer.unk_id) / max(len(ids), 1)
        return [
            Token(text=text, start_ms=start, end_ms=end, confidence=confidence * known, ids=(id_,))
            for id_, text, confidence, (start, end) in zip(
                ids, self.tokenizer.tokens(ids), row.confidences[kept].tolist(), times, strict=True
            )
        ]
