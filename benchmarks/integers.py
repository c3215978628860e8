"""What integer weights cost the bundled models: errors and F1 beside those of floats, both by onnxruntime.

    python benchmarks/integers.py --data ../shared/data [--every 1] [--only words streaming marks speech]

Exports each model twice into a temporary folder and asks the programs beside this one: words of accuracy.py
(live streams in one piece), marks of punctuation_accuracy.py, speech of vad_accuracy.py (segments). Speaker
models have no integer weights. --every 10 measures on a tenth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import accuracy
import punctuation_accuracy
import vad_accuracy

from funasr import AutoModel
from funasr.auto.build import load
from funasr.auto.options import sort_options

Row = tuple[str, str, str, str]
"""What was measured, on how much, with floats, with integers."""


def opened(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options for floats and for integers."""
    common = {"model": str(folder), "engine": "onnx", "device": "cpu", "ncpu": 1}
    return {**common}, {**common, "quantize": True}


def words(folder: Path, data: Path, every: int, *, streaming: bool) -> Iterator[Row]:
    models = [AutoModel(**options, disable_pbar=True) for options in opened(folder)]
    for name, utterances in accuracy.test_sets(accuracy.read_words(data, "test")).items():
        some = utterances[::every]
        total = sum(len(one.words) for one in some)
        cells = []
        for model in models:
            sounds = [one.samples for one in some]
            heard = (
                [accuracy.stream_through(model, sound) for sound in sounds]
                if streaming
                else accuracy.transcribe(model, sounds)
            )
            pairs = zip(some, heard, strict=True)
            errors = sum(accuracy.word_errors(one.words, [t.text for t in got.tokens]) for one, got in pairs)
            cells.append(f"{errors / total:.2%}")
        yield f"{folder.name}, {name}: WER", f"{total} words", cells[0], cells[1]


def marks(folder: Path, data: Path, every: int) -> Iterator[Row]:
    blocks = punctuation_accuracy.read_blocks(data / "text")
    blocks = [block for block in blocks if block.part in punctuation_accuracy.PARTS][::every]
    texts = list(punctuation_accuracy.running_texts(blocks))
    punctuators = [load(sort_options(options)).punctuator for options in opened(folder)]
    counted = [punctuation_accuracy.measure(one, texts) for one in punctuators if one is not None]
    for part, title in punctuation_accuracy.PARTS.items():
        for language in punctuation_accuracy.LANGUAGES:
            both = [counts.get((part, language)) for counts in counted]
            cells = [f"{one.scores(punctuation_accuracy.MARKS)[2]:.3f}" for one in both if one is not None]
            if cells:
                size = int(both[0].confusion.sum()) if both[0] is not None else 0
                yield f"{folder.name}, {language}, {title}: F1", f"{size} words", cells[0], cells[1]


def speech(folder: Path, data: Path, every: int) -> Iterator[Row]:
    detectors = [load(sort_options(options)).detector for options in opened(folder)]
    sets = {
        "labelled by hand": vad_accuracy.hand_labelled,
        "conversations": vad_accuracy.conversations,
        "alignments": vad_accuracy.alignments,
    }
    for name, read in sets.items():
        scores = [vad_accuracy.F1() for _ in detectors]
        recordings = list(read(data))[::every]
        for samples, there, known in recordings:
            for detector, score in zip(detectors, scores, strict=True):
                assert detector is not None
                segments = detector.segments(samples)
                seconds = len(samples) / vad_accuracy.RATE
                found = [(one.start_ms / 1000, one.end_ms / 1000) for one in segments]
                score.add(vad_accuracy.mask_of(found, seconds), there, known)
        plain, integers = (f"{score}".split()[0] for score in scores)
        yield f"{folder.name}, {name}: F1, %", f"{len(recordings)} recordings", plain, integers


PARTS: dict[str, tuple[str, Callable[[Path, Path, int], Iterator[Row]]]] = {
    "words": ("bundled-asr", partial(words, streaming=False)),
    "streaming": ("bundled-streaming", partial(words, streaming=True)),
    "marks": ("bundled-punc", marks),
    "speech": ("bundled-vad", speech),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args(argv)
    print("| model, set | measured on | floats | integers |\n|---|---|---|---|")
    for part in options.only:
        name, measure = PARTS[part]
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / name
            AutoModel(model=name, device="cpu").export(quantize=True, output_dir=out)
            for row in measure(out, options.data, options.every):
                print(f"| {' | '.join(row)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
