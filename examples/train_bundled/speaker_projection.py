"""The last layer of a speaker model in closed form: linear discriminant analysis of what lies before it.

Pieces of all people go through the network up to the statistics over time. Of these the projection keeps what
differs between people and not between the pieces of one. The means of the corpora are taken out before: that
one holds read prose and the other single words says nothing about voices. N pieces, D statistics.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from speaker_data import RATE, TEMPOS, Person, halves, take, without_mean
from torch import nn
from vad_data import Corpus, play

from funasr.features.fbank import Fbank
from funasr.models.campplus.network import Campplus, Projection

Rows = NDArray[np.float64]


def gather(
    model: Campplus, people: Sequence[Person], surroundings: Corpus, fbank: Fbank, *, seed: int, rounds: int
) -> tuple[Rows, NDArray[np.int64], NDArray[np.bool_]]:
    """Statistics (N, D) of pieces of 1.5 s, whose they are (N,), and whether they are words (N,)."""
    network = model.fused()
    network.dense = nn.Identity()  # type: ignore[assignment]
    network.size = int(model.xvector.dense.linear.weight.shape[1])  # type: ignore[union-attr, arg-type, call-overload]
    rng = np.random.default_rng(seed)
    voices = [(one, tempo) for one in people for tempo in ((1.0,) if one.words else TEMPOS)]
    features, whose, words = [], [], []
    rows = []
    for number, (person, tempo) in enumerate(voices):
        for _ in range(rounds if person.words else 2 * rounds):
            for part in halves(person, rng):
                piece = take(part, 3 * RATE // 2, tempo, rng)
                if rng.random() < 0.6:
                    piece = play(piece, surroundings, rng)
                features.append(without_mean(fbank(piece)))
                whose.append(number)
                words.append(person.words)
        if len(features) >= 64:
            rows.append(network.embed(np.stack(features)))
            features = []
    if features:
        rows.append(network.embed(np.stack(features)))
    return np.concatenate(rows).astype(np.float64), np.array(whose), np.array(words)


def discriminants(
    rows: Rows, whose: NDArray[np.int64], corpus: NDArray[np.bool_], size: int, shrink: float = 0.1
) -> Rows:
    """rows (N, D) of speakers `whose` (N,) -> projection (D, size), the most telling direction first.

    Each direction has a deviation of 1 within people, and counts the more, the more it differs between them.
    """
    rows = rows - np.stack([rows[corpus == kind].mean(axis=0) for kind in (False, True)])[corpus.astype(int)]
    counts = np.bincount(whose)
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, whose, rows)
    means /= counts[:, None]
    apart = rows - means[whose]
    within = apart.T @ apart / (len(rows) - len(counts))
    weighted = means * np.sqrt(counts)[:, None]
    between = (weighted.T @ weighted / len(counts) - within) / counts.mean()
    # Few pieces a speaker: what was measured within is mixed with its own diagonal.
    within += shrink * np.diag(np.diag(within)) + 1e-6 * np.trace(within) / len(within) * np.eye(len(within))
    values, vectors = eigh(between, within)
    values, vectors = values[::-1][:size].clip(min=0), vectors[:, ::-1][:, :size]
    projection: Rows = vectors * np.sqrt(values / (values + 1))
    return projection


@torch.no_grad()
def project(model: Campplus, projection: Rows, centre: Rows) -> None:
    """Put it into the model's last layer: the same names, and no training."""
    dense = model.xvector.dense
    assert isinstance(dense, Projection)
    dense.linear.weight.copy_(torch.from_numpy(projection.T[:, :, None].astype(np.float32)))
    norm = dense.nonlinear.batchnorm
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(torch.from_numpy((centre @ projection).astype(np.float32)))
    norm.running_var.fill_(1.0)
