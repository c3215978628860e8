"""What holds for every result, whatever networks say: all stages are real, the networks say random things.

Speech, ids, times, marks, voices and channels are drawn. What a network says depends on what it is given and
on nothing else, so that batches can be compared with single files.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.audio.inputs import Item
from funasr.audio.load import open_audio
from funasr.bin.formats import FORMATS, render
from funasr.pipeline.batching import BatchLimits
from funasr.pipeline.offline import OfflinePipeline, PipelineOptions
from funasr.result import Segment, Token, Transcript
from funasr.speakers.cluster import ClusterOptions
from funasr.stages.paraformer import DecodeOptions, ParaformerRecognizer
from funasr.stages.protocols import AcousticRow, Hotwords
from funasr.stages.punctuation import Punctuator
from funasr.stages.speaker import SpeakerEncoder, SpeakerOptions
from funasr.text.cues import CueLimits, make_cues
from funasr.text.sentences import make_sentences
from funasr.text.tokenizer import CharTokenizer
from funasr.text.words import WordVocabulary

RATE = 16000
FRAME = 960
VOCABULARY = [
    *("<blank>", "<s>", "</s>"),
    *("你", "好", "天", "3", "a", "b", "i", "he@@", "llo", "wor@@", "ld", "it's", "7@@", "$", "<unk>"),
]
MARKS = set("，。？、,.?")


def drawn(values: NDArray[Any], salt: int = 0) -> np.random.Generator:
    """A generator that depends on what a network is given."""
    return np.random.default_rng([zlib.crc32(np.ascontiguousarray(values).tobytes()), salt])


class MeanFrontend:
    """The mean of each 60 ms."""

    fs = RATE

    def batch(self, utterances: Sequence[Samples]) -> tuple[Features, NDArray[np.int64]]:
        lengths = np.array([-(-len(samples) // FRAME) for samples in utterances])
        features = np.zeros((len(utterances), int(lengths.max()), 1), np.float32)
        for row, samples in zip(features, utterances, strict=True):
            padded = np.pad(samples, (0, -len(samples) % FRAME))
            row[: len(padded) // FRAME, 0] = padded.reshape(-1, FRAME).mean(axis=1)
        return features, lengths


@dataclass
class Guesser:
    """A recognizer's network: random ids, special ones and dangling pieces among them, and random weights."""

    has_timestamps: bool
    accepts_hotwords = False

    def infer(
        self, features: Features, lengths: NDArray[np.int64], hotwords: Hotwords | None = None
    ) -> list[AcousticRow]:
        rows = []
        for row, length in zip(features, lengths, strict=True):
            rng = drawn(row[:length])
            ids = rng.integers(0, len(VOCABULARY), rng.integers(0, length + 1))
            rate = 3 if self.has_timestamps else 1
            weights = rng.random(length * rate + (rate == 1), np.float32)
            weights *= np.float32(len(ids) / weights.sum())
            rows.append(
                AcousticRow(
                    ids=ids,
                    confidences=rng.random(len(ids), np.float32),
                    alphas=np.minimum(weights, np.float32(0.99)),
                    upsample_rate=rate,
                )
            )
        return rows


class RandomMarks:
    """A punctuation network."""

    def label(
        self, ids: NDArray[np.int64], lengths: NDArray[np.int64], boundaries: Any = None
    ) -> NDArray[np.int64]:
        labels = np.ones_like(ids)
        for row, given_ids, length in zip(labels, ids, lengths, strict=True):
            row[:length] = drawn(given_ids[:length]).choice([0, 1, 1, 1, 2, 3, 4, 5], length)
        return labels


class RandomVoices:
    """A speaker network of two kinds of voices."""

    size, feature_size, min_frames = 4, 80, 3

    def embed(self, features: Features) -> NDArray[np.float32]:
        kinds = np.eye(4, dtype=np.float32)
        return np.stack([kinds[drawn(row.round(1)).integers(0, 2)] for row in features])


@dataclass
class Told:
    """A detector that knows where the speech is."""

    segments: Sequence[tuple[int, int]]
    heard: int = 0
    earliest_start_ms: int = 0

    def accept(self, samples: Samples) -> list[Segment]:
        self.heard += len(samples)
        now = self.heard * 1000 // RATE
        ready = [pair for pair in self.segments if pair[1] <= now]
        self.segments = self.segments[len(ready) :]
        self.earliest_start_ms = self.segments[0][0] if self.segments else now
        return [Segment(start_ms=start, end_ms=end) for start, end in ready]

    def flush(self) -> list[Segment]:
        return []


@dataclass(frozen=True)
class Case:
    lengths_ms: list[int]
    """Of the files."""
    channels: int
    edges: list[int]
    """Speech begins and ends in turns, the same in every file."""
    timed: bool
    """The recognizer gives times by itself."""
    marks: bool
    speakers: bool
    known: int | None
    batch_size: int | None
    seed: int


cases = st.builds(
    Case,
    lengths_ms=st.lists(st.integers(1, 4000), min_size=1, max_size=3),
    channels=st.sampled_from([1, 1, 2]),
    edges=st.lists(st.integers(0, 4000), max_size=10, unique=True).map(sorted),
    timed=st.booleans(),
    marks=st.booleans(),
    speakers=st.booleans(),
    known=st.sampled_from([None, 1, 2]),
    batch_size=st.sampled_from([None, 1, 2]),
    seed=st.integers(0, 9),
)


def run(case: Case, sources: Sequence[NDArray[np.float32]], batch_size: int | None) -> list[Transcript]:
    recognizer = ParaformerRecognizer(
        Guesser(case.timed), MeanFrontend(), CharTokenizer(VOCABULARY), spaced=case.timed
    )
    pairs = list(zip(case.edges[::2], case.edges[1::2], strict=False))
    pipeline = OfflinePipeline(
        recognizer,
        (lambda: Told(list(pairs))) if pairs else None,
        Punctuator(RandomMarks(), WordVocabulary(["<unk>", *VOCABULARY[3:8]])) if case.marks else None,
        SpeakerEncoder(RandomVoices()) if case.speakers else None,
    )
    speakers = SpeakerOptions(cluster=ClusterOptions(count=case.known)) if case.speakers else None
    options = PipelineOptions(limits=BatchLimits(batch_size=batch_size), speakers=speakers, raise_errors=True)
    how = "split" if case.channels > 1 else "mix"
    return list(
        pipeline.run(
            [Item(key=str(len(source.T)), source=source) for source in sources],
            lambda item: open_audio(item.source, channels=how),
            DecodeOptions(timestamps=case.speakers),
            options,
        )
    )


def sounds(case: Case) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(case.seed)
    shapes = [(case.channels, length * RATE // 1000) for length in case.lengths_ms]
    made = [(0.1 * rng.standard_normal(shape)).astype(np.float32) for shape in shapes]
    return made if case.channels > 1 else [one[0] for one in made]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases)
def test_words_times_marks_speakers_and_channels_stay_together(case: Case) -> None:
    sources = sounds(case)

    results = run(case, sources, case.batch_size)

    assert results == [result for source in sources for result in run(case, [source], 1)]
    for result in results:
        parts_are_whole(result)
        times_run_forward(result)
        text_is_the_words(result)
        sentences_and_cues_partition_the_words(result)
        if case.speakers and result.turns:
            assert all(token.speaker is not None for token in result.tokens)
        for form in FORMATS:
            assert isinstance(render(result, form, timestamps=True), str)


def parts_are_whole(result: Transcript) -> None:
    """Segments partition the words; those of a channel do not overlap and are inside of the file."""
    edges = [edge for s in result.segments for edge in (s.first_token, s.stop_token)]
    assert edges == sorted(edges)
    assert edges[1:-1:2] == edges[2::2]
    assert (edges[:1], edges[-1:]) in (([0], [len(result.tokens)]), ([], []))
    for segment in result.segments:
        tokens = result.tokens[segment.first_token : segment.stop_token]
        assert {token.channel for token in tokens} <= {segment.channel}
    for channel in {segment.channel for segment in result.segments}:
        own = [(s.start_ms, s.end_ms) for s in result.segments if s.channel == channel]
        flat = [edge for pair in own for edge in pair]
        assert flat == sorted(flat)


def times_run_forward(result: Transcript) -> None:
    """From word to word, up to the channel's next speech, or where the recording ends.

    Networks count in frames of 60 ms: a last word may reach two of them into the silence behind its segment.
    """
    for index, segment in enumerate(result.segments):
        later = [s.start_ms for s in result.segments[index + 1 :] if s.channel == segment.channel]
        limit = min([segment.end_ms + 120, result.duration_ms, *later])
        tokens = result.tokens[segment.first_token : segment.stop_token]
        if not result.timed:
            assert all(token.start_ms is None and token.end_ms is None for token in tokens)
            continue
        times = [(token.start_ms, token.end_ms) for token in tokens]
        assert all(start <= end for start, end in times)  # type: ignore[operator]
        assert all(a[0] <= b[0] for a, b in itertools.pairwise(times))  # type: ignore[operator]
        assert all(segment.start_ms <= start and end <= limit for start, end in times)  # type: ignore[operator]
    for turns in (
        [t for t in result.turns if t.channel == c] for c in {turn.channel for turn in result.turns}
    ):
        flat = [edge for turn in turns for edge in (turn.start_ms, turn.end_ms)]
        assert flat == sorted(flat)
    record = result.to_dict()
    if result.timed:
        assert record["timestamp"] == [[token.start_ms, token.end_ms] for token in result.tokens]


def text_is_the_words(result: Transcript) -> None:
    words = "".join(token.text for token in result.tokens)
    assert "".join(result.raw_text.split()) == words
    assert "".join(c for c in result.text if c not in MARKS | {" "}) == words
    if result.spaced:
        assert result.raw_text.split() == [token.text for token in result.tokens]
    bare = replace(result, punctuated=False, tokens=tuple(replace(t, mark="") for t in result.tokens))
    assert bare.text == result.raw_text


def sentences_and_cues_partition_the_words(result: Transcript) -> None:
    sentences = make_sentences(result)
    for channel in {token.channel for token in result.tokens}:
        own = [t for s in sentences if s.channel == channel for t in s.tokens]
        assert own == [token for token in result.tokens if token.channel == channel]
    for sentence in sentences:
        item = sentence.to_dict()
        assert (item["start"], item["end"]) == (sentence.tokens[0].start_ms, sentence.tokens[-1].end_ms)
        assert not any(token.mark for token in sentence.tokens[:-1])
    for limits in (CueLimits(), CueLimits(line_width=12, max_lines=1, max_duration_ms=900)):
        cues = make_cues(result, limits)
        said = "".join("".join(cue.text.split()) for cue in cues)
        assert said == "".join(token.text + token.mark for token in result.tokens)
        for cue in cues:
            assert cue.start_ms <= cue.end_ms
            inside = [s for s in result.segments if s.channel == cue.channel]
            assert not inside or any(
                s.start_ms <= cue.start_ms <= cue.end_ms <= s.end_ms + 120 for s in inside
            )


def test_a_word_knows_its_pieces() -> None:
    """The fakes do what they are for: there are words of pieces, silence, and more than one of everything."""
    case = Case([7000], 1, [0, 3000, 3200, 6900], True, True, True, 2, None, 0)

    [result] = run(case, sounds(case), None)

    assert len(result.segments) == 2
    assert any(len(token.ids) > 1 for token in result.tokens)
    assert len({token.speaker for token in result.tokens}) == 2
    assert {token.mark for token in result.tokens} > {""}
    assert isinstance(result.tokens[0], Token)
