"""Marks that a punctuation model sets in text it never saw: precision, recall and F1 of each.

    python benchmarks/punctuation_accuracy.py --data ../shared/data [--model DIR] [--lines] [--sources]

Text: the blocks of `text/` that training left out, and whole sources that it left out, without marks and
capitals. Each block is one running text, read in windows of 20 words as in use. "all" are the marks together;
places where neither the text nor the model has one do not count.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples" / "train_bundled"))

from punc_data import LABELS, LANGUAGES, NONE, Block, Line, read_blocks, running_texts  # noqa: E402

from funasr.auto.build import load  # noqa: E402
from funasr.auto.options import sort_options  # noqa: E402
from funasr.stages.punctuation import Punctuator  # noqa: E402

PARTS = {"test": "held-out blocks", "unseen": "held-out sources"}
MARKS = range(NONE + 1, len(LABELS))


class Counts:
    """How often each label was right, found and there."""

    def __init__(self) -> None:
        self.confusion: NDArray[np.int64] = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
        """Row: the label of the text; column: the model's."""

    def add(self, there: Sequence[int], found: Sequence[int]) -> None:
        np.add.at(self.confusion, (np.asarray(there), np.asarray(found)), 1)

    def share(self, label: int) -> float:
        return float(self.confusion[label].sum() / max(self.confusion.sum(), 1))

    def scores(self, labels: Iterable[int]) -> tuple[float, float, float]:
        """Precision, recall and F1 of some labels together."""
        picked = list(labels)
        hits = sum(int(self.confusion[label, label]) for label in picked)
        there = int(self.confusion[picked].sum())
        found = int(self.confusion[:, picked].sum())
        return hits / max(found, 1), hits / max(there, 1), 2 * hits / max(there + found, 1)


def measure(punctuator: Punctuator, texts: Sequence[tuple[Block, Line]]) -> dict[tuple[str, str], Counts]:
    """By (part, language), and by (part, source)."""
    labels = punctuator.label([[word.lower() for word in line.words] for _, line in texts])
    counts: dict[tuple[str, str], Counts] = {}
    for (block, line), found in zip(texts, labels, strict=True):
        for name in (block.language, block.source):
            counts.setdefault((block.part, name), Counts()).add(line.labels, found)
    return counts


def table(counts: dict[tuple[str, str], Counts]) -> str:
    """As the model card shows it."""
    lines = ["| text | mark | share of words | precision | recall | F1 |", "|---|---|---|---|---|---|"]
    for part, title in PARTS.items():
        for language in LANGUAGES:
            one = counts.get((part, language))
            if one is None:
                continue
            for label in MARKS:
                if one.confusion[label].any():
                    lines.append(
                        _row(f"{language}, {title}", LABELS[label], one.share(label), one.scores([label]))
                    )
            lines.append(_row(f"{language}, {title}", "all", 1 - one.share(NONE), one.scores(MARKS)))
    return "\n".join(lines)


def _row(text: str, mark: str, share: float, scores: tuple[float, float, float]) -> str:
    precision, recall, f1 = scores
    return f"| {text} | {mark} | {share:.2%} | {precision:.3f} | {recall:.3f} | {f1:.3f} |"


def load_punctuator(model: str) -> Punctuator:
    punctuator = load(sort_options({"model": model, "device": "cpu"})).punctuator
    assert punctuator is not None
    return punctuator


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder with text/")
    parser.add_argument("--model", default="bundled-punc")
    parser.add_argument("--lines", action="store_true", help="each line a text of its own")
    parser.add_argument("--sources", action="store_true", help="F1 of each source too")
    parser.add_argument("--every", type=int, default=1, help="one block in so many, for a quick look")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    blocks = [block for block in read_blocks(options.data / "text") if block.part in PARTS]
    blocks = blocks[:: options.every]
    if options.lines:
        texts = [(block, line) for block in blocks for line in block.lines]
    else:
        texts = list(running_texts(blocks))
    counts = measure(load_punctuator(options.model), texts)
    print(table(counts))
    if options.sources:
        for (part, source), one in sorted(counts.items()):
            if source not in LANGUAGES:
                print(
                    f"{part:6} {source:32} {int(one.confusion.sum()):7d} words, F1 {one.scores(MARKS)[2]:.3f}"
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
