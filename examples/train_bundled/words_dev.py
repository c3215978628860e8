"""Words of speakers who are in no training: how many come out wrong, and how sure the scores should be."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import words_data
from numpy.typing import NDArray
from torch import Tensor, nn
from words_data import UNKNOWN, Clip, Utterance

from funasr.features.frontend import WavFrontend
from funasr.models.paraformer.bicif import BiCifParaformer
from funasr.train.data import Example, collate


class FixedSource:
    """Development utterances by condition; their features are computed once."""

    def __init__(self, sets: Mapping[str, Sequence[Utterance]], frontend: WavFrontend) -> None:
        self.frontend = frontend
        self.conditions = [name for name, some in sets.items() for _ in some]
        self.examples = [
            Example(
                key=one.key,
                features=frontend(one.samples),
                target=np.array([words_data.IDS[word] for word in one.words], dtype=np.int64),
            )
            for some in sets.values()
            for one in some
        ]

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        return np.array([len(one.features) for one in self.examples], dtype=np.int64)

    def load(self, epoch: int, index: int) -> Example:
        return self.examples[index]

    def word_error_rates(self, model: BiCifParaformer) -> dict[str, float]:
        """Errors over words by condition, with `<unk>` dropped as the recognizer drops it."""
        model.eval()
        errors, words = Counter[str](), Counter[str]()
        order = np.argsort(self.lengths(0), kind="stable").tolist()
        for start in range(0, len(order), 64):
            batch = collate([self.examples[place] for place in order[start : start + 64]])
            rows = model.infer(batch.features.numpy(), batch.lengths.numpy())
            for place, row in zip(order[start : start + 64], rows, strict=True):
                heard = [token for token in row.ids.tolist() if 2 < token < UNKNOWN]
                truth = self.examples[place].target.tolist()
                errors[self.conditions[place]] += edit_distance(truth, heard)
                words[self.conditions[place]] += len(truth)
        return {name: errors[name] / words[name] for name in words}


def dev_sets(clips: Sequence[Clip]) -> dict[str, list[Utterance]]:
    """Development utterances by condition; their speakers are neither in training nor in the tests."""
    single = words_data.single_words(clips)
    joined = words_data.joined_words(clips, 60, seed=1)
    return {
        "words": single,
        "words, telephone": [_over_telephone(one) for one in single[::2]],
        "strings": joined,
        "strings, telephone": [_over_telephone(one) for one in joined[::2]],
    }


def _over_telephone(utterance: Utterance) -> Utterance:
    return dataclasses.replace(utterance, samples=words_data.telephone(utterance.samples))


def edit_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """Insertions, deletions and substitutions that turn a into b."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


@torch.no_grad()
def sharpen(
    output: nn.Linear, scores: Sequence[Tensor], truth: Sequence[Tensor], scales: Sequence[float]
) -> float:
    """Scale the output layer so that confidences fit: smoothed labels leave them too low. No word changes."""
    said, meant = torch.cat(list(scores)), torch.cat(list(truth))
    best = min(scales, key=lambda scale: float(nn.functional.cross_entropy(scale * said, meant)))
    output.weight.mul_(best)
    output.bias.mul_(best)
    return best
