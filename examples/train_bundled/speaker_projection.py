"""The last layer of a speaker model in closed form: linear discriminant analysis of what lies before it.

Pieces of all people go through the network up to the statistics over time. Of these the projection keeps what
differs between people and not between the pieces of one. The means of the corpora are taken out before: that
one holds read prose and the other single words says nothing about voices. N pieces, D statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from speaker_data import RATE, READ_TEMPOS, TEMPOS, Person, halves, take, without_mean
from torch import nn
from vad_data import Corpus, play

from funasr.features.fbank import Fbank
from funasr.models.campplus.network import Campplus, Projection

Rows = NDArray[np.float64]
AT_ONCE = 64
CLEAN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of pieces of many people."""

    rows: Rows
    """(N, D)"""
    whose: NDArray[np.int64]
    """(N,) 0, 1, ..."""
    words: NDArray[np.bool_]
    """(N,) Single words, and not running speech."""


def gather(
    model: Campplus, people: Sequence[Person], surroundings: Corpus, fbank: Fbank, *, seed: int
) -> Statistics:
    """Of pieces of 1.5 s: two of each voice with words, four of each reader's."""
    network = model.fused()
    network.dense = nn.Identity()  # type: ignore[assignment]
    network.size = int(model.xvector.dense.linear.weight.shape[1])  # type: ignore[union-attr, arg-type, call-overload]
    rng = np.random.default_rng(seed)
    voices = [(one, tempo) for one in people for tempo in (TEMPOS if one.words else READ_TEMPOS)]
    features, rows, whose, words = [], [], [], []
    for number, (person, tempo) in enumerate(voices):
        for _ in range(1 if person.words else 2):
            for part in halves(person, rng):
                piece = take(part, 3 * RATE // 2, tempo, rng)
                if rng.random() >= CLEAN:
                    piece = play(piece, surroundings, rng)
                features.append(without_mean(fbank(piece)))
                whose.append(number)
                words.append(person.words)
        if len(features) >= AT_ONCE or number == len(voices) - 1:
            rows.append(network.embed(np.stack(features)))
            features = []
    return Statistics(
        rows=np.concatenate(rows).astype(np.float64), whose=np.array(whose), words=np.array(words)
    )


def discriminants(told: Statistics, size: int, shrink: float = 0.1) -> tuple[Rows, Rows]:
    """-> projection (D, size), the most telling direction first, and how much people differ in each (size,).

    Each direction has a deviation of 1 within people, and counts the more, the more it differs between them.
    """
    kinds = told.words.astype(int)
    means = np.stack([told.rows[kinds == kind].mean(axis=0) for kind in np.unique(kinds)])
    rows = told.rows - means[np.unique(kinds, return_inverse=True)[1]]
    counts = np.bincount(told.whose)
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, told.whose, rows)
    means /= counts[:, None]
    apart = rows - means[told.whose]
    within = apart.T @ apart / (len(rows) - len(counts))
    weighted = means * np.sqrt(counts)[:, None]
    between = (weighted.T @ weighted / len(counts) - within) / counts.mean()
    # Few pieces a speaker: what was measured within is mixed with its own diagonal.
    within += shrink * np.diag(np.diag(within)) + 1e-6 * np.trace(within) / len(within) * np.eye(len(within))
    values, vectors = eigh(between, within)
    values, vectors = values[::-1][:size].clip(min=1e-3), vectors[:, ::-1][:, :size]
    projection: Rows = vectors * np.sqrt(values / (values + 1))
    return projection, values


def centre(told: Statistics) -> Rows:
    """(D,) Where voices lie, words and running speech counting as much."""
    middle: Rows = np.mean([told.rows[told.words == kind].mean(axis=0) for kind in set(told.words)], axis=0)
    return middle


@torch.no_grad()
def project(model: Campplus, projection: Rows, middle: Rows) -> None:
    """Put it into the model's last layer: the same names, and no training."""
    dense = model.xvector.dense
    assert isinstance(dense, Projection)
    dense.linear.weight.copy_(torch.from_numpy(projection.T[:, :, None].astype(np.float32)))
    norm = dense.nonlinear.batchnorm
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(torch.from_numpy((middle @ projection).astype(np.float32)))
    norm.running_var.fill_(1.0)
