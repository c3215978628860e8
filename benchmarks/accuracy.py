"""Word errors and confidence of the bundled recognizer, on people that nobody trained on.

    python benchmarks/accuracy.py --data ../shared/data [--model DIR] [--vad DIR] [--streaming]

Single words: every recording of the Speech Commands speakers, and of the Free Spoken Digit speaker, that were
kept out. Strings: 3 to 8 of those recordings joined (half with their silence cut off, half with one speaker).
"telephone": the same through 8 kHz, 300-3400 Hz and mu-law. Confidence: the mean over the words of a clip, 0
for an empty text; clips of English and Mandarin prose are the ones outside the vocabulary.

--streaming: the bundled streaming recognizer, each clip through a live stream of its own, in pieces of 1 to
20,000 samples; "cuts" is the number of clips that have other words when they come in one piece. "one stream":
all strings of a set, one behind the other with a second of silence between.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from funasr import AutoModel
from funasr.audio.load import load_audio
from funasr.pipeline.events import Final
from funasr.result import Transcript

ROOT = Path(__file__).resolve().parents[1]
# The split by speaker is the training script's own.
sys.path.insert(0, str(ROOT / "examples" / "train_bundled"))

from words_data import (  # noqa: E402
    Clip,
    Utterance,
    joined_words,
    read_table,
    read_words,
    single_words,
    telephone,
)


def test_sets(clips: Sequence[Clip]) -> dict[str, list[Utterance]]:
    """Test utterances by condition."""
    commands = [clip for clip in clips if clip.source != "asr/fsdd"]
    digits = [clip for clip in clips if clip.source == "asr/fsdd"]
    sets = {
        "single words, Speech Commands": single_words(commands),
        "single words, FSDD speaker": single_words(digits),
        "strings of 3-8, Speech Commands": joined_words(commands, 200, seed=7),
        "strings of 3-8, FSDD speaker": joined_words(digits, 100, seed=8),
    }
    narrow = {
        f"{name}, telephone": [dataclasses.replace(one, samples=telephone(one.samples)) for one in sets[name]]
        for name in ("single words, Speech Commands", "strings of 3-8, Speech Commands")
    }
    return sets | narrow


@dataclasses.dataclass
class Hearer:
    """Sounds -> transcripts, and how many of the streams depended on how the sound was cut."""

    model: AutoModel
    streaming: bool
    changed: int = 0

    def __call__(self, sounds: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        if not self.streaming:
            return transcribe(self.model, sounds)
        rng = np.random.default_rng(0)
        heard = [stream_through(self.model, sound, random_cuts(len(sound), rng).tolist()) for sound in sounds]
        whole = [stream_through(self.model, sound) for sound in sounds]
        self.changed = sum(one.tokens != other.tokens for one, other in zip(heard, whole, strict=True))
        return heard


def one_behind_the_other(utterances: Sequence[Utterance]) -> Utterance:
    """With a second of silence between."""
    silence = np.zeros(16000, dtype=np.float32)
    sounds = [part for one in utterances for part in (one.samples, silence)]
    words = tuple(word for one in utterances for word in one.words)
    return Utterance(key="all", samples=np.concatenate(sounds), words=words)


def transcribe(model: AutoModel, sounds: Sequence[NDArray[np.float32]]) -> list[Transcript]:
    return list(model.transcribe(list(sounds), fs=16000, disable_pbar=True))


def stream_through(model: AutoModel, sound: NDArray[np.float32], cuts: Sequence[int] = ()) -> Transcript:
    """The words of a live stream that gets the sound in the pieces between `cuts`."""
    stream = model.stream()
    events = [event for piece in np.split(sound, cuts) for event in stream.accept(piece)]
    finals = [event for event in (*events, *stream.flush()) if isinstance(event, Final)]
    return Transcript(key="", tokens=tuple(word for final in finals for word in final.words))


def random_cuts(size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Where to cut so many samples: pieces of 1 to 20,000, short ones as often as long ones."""
    steps = np.exp(rng.uniform(0.0, np.log(20_000.0), size // 100 + 20)).astype(np.int64)
    cuts = np.cumsum(steps)
    return cuts[cuts < size]


def word_errors(truth: Sequence[str], heard: Sequence[str]) -> int:
    """Insertions, deletions and substitutions."""
    row = list(range(len(heard) + 1))
    for i, left in enumerate(truth, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def confidence(transcript: Transcript) -> float:
    """Mean over the words; 0 for none."""
    values = [token.confidence for token in transcript.tokens if token.confidence is not None]
    return float(np.mean(values)) if values else 0.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", help="a directory or a name; one of the bundled recognizers by default")
    parser.add_argument("--vad", type=Path, help="cut the sound at pauses with this detector first")
    parser.add_argument("--streaming", action="store_true", help="through live streams")
    arguments = parser.parse_args(argv)
    name = arguments.model or ("bundled-streaming" if arguments.streaming else "bundled-asr")
    vad = {"vad_model": str(arguments.vad)} if arguments.vad else {}
    model = AutoModel(model=name, device="cpu", **vad)
    hear = Hearer(model, arguments.streaming)

    clips = read_words(arguments.data, "test")
    known: list[float] = []
    print(f"{len({clip.speaker for clip in clips})} speakers\n")
    print(
        f"{'condition':<54} {'clips':>6} {'words':>6} {'errors':>6} {'WER':>7}"
        + " cuts" * arguments.streaming
    )
    sets = test_sets(clips)
    if arguments.streaming:
        strings = {name: some for name, some in sets.items() if name.startswith("strings")}
        sets |= {f"{name}, one stream": [one_behind_the_other(some)] for name, some in strings.items()}
    for name, utterances in sets.items():
        heard = hear([one.samples for one in utterances])
        pairs = list(zip(utterances, heard, strict=True))
        errors = sum(word_errors(one.words, [t.text for t in got.tokens]) for one, got in pairs)
        words = sum(len(one.words) for one in utterances)
        known += [confidence(got) for got in heard]
        counts = f"{name:<54} {len(utterances):>6} {words:>6} {errors:>6} {errors / words:>7.2%}"
        print(counts + (f" {hear.changed:>4}" if arguments.streaming else ""))

    print(f"\nin the vocabulary: {share(known, lambda x: x > 0.8)} clips have a mean confidence above 0.8")
    for folder in ("asr/test_en", "asr/test_zh"):
        paths = read_table(arguments.data / folder / "wav.scp")
        heard = hear([load_audio(arguments.data / folder / path) for path in paths.values()])
        values = [confidence(got) for got in heard]
        print(f"{folder}: {share(values, lambda x: x < 0.5)} clips have a mean confidence below 0.5")
        for key, value, got in zip(paths, values, heard, strict=True):
            if value >= 0.5:
                print(f"    {value:.2f}  {key}: {got.text}")
    return 0


def share(values: Sequence[float], test: object) -> str:
    """`9 of 10 (90.0%)`"""
    assert callable(test)
    good = sum(bool(test(value)) for value in values)
    return f"{good} of {len(values)} ({good / len(values):.1%})"


if __name__ == "__main__":
    sys.exit(main())
