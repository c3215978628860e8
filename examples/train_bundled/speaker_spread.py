"""How far voices of one person and of several lie apart, and a last layer turned so that few numbers tell it.

Cosines stay what they are. N pieces, E numbers a voice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from speaker_data import RATE, READ_TEMPOS, Person, halves, take, without_mean
from torch import nn
from vad_data import Corpus, play

from funasr.features.fbank import Fbank
from funasr.models.campplus.layers import Projection
from funasr.models.campplus.network import Campplus
from funasr.speakers.cluster import normalized

Rows = NDArray[np.float64]
ROUNDS = 2
CLEAN = 0.5
"""Share of pieces that go through no channel."""
STRAY = 1.3
"""Windows of a conversation differ by more than pieces of one person: they hold pauses, and two at times."""


def gather(
    model: Campplus, readers: Sequence[Person], surroundings: Corpus, fbank: Fbank, *, seed: int
) -> tuple[Rows, NDArray[np.int64]]:
    """Voices (N, E), of length 1, of pieces of 1.5 s, four of each reader at each tempo, and whose (N,)."""
    network = model.fused()
    rng = np.random.default_rng(seed)
    rows, whose = [], []
    people = [(reader, tempo) for reader in readers for tempo in READ_TEMPOS]
    for number, (reader, tempo) in enumerate(people):
        pieces = [
            take(part, 3 * RATE // 2, tempo, rng) for _ in range(ROUNDS) for part in halves(reader, rng)
        ]
        heard = [piece if rng.random() < CLEAN else play(piece, surroundings, rng) for piece in pieces]
        rows.append(network.embed(np.stack([without_mean(fbank(sound)) for sound in heard])))
        whose += [number] * len(heard)
    return normalized(np.concatenate(rows)).astype(np.float64), np.array(whose)


def directions(rows: Rows, whose: NDArray[np.int64]) -> Rows:
    """rows (N, E) of people `whose` (N,) -> rotation (E, E).

    Rows times the rotation differ most between people in the first direction, and so on.
    """
    between, _ = _covariances(rows, whose)
    rotation: Rows = np.linalg.eigh(between)[1][:, ::-1]
    return rotation


def variances(rows: Rows, whose: NDArray[np.int64]) -> tuple[Rows, Rows]:
    """rows (N, E) of people `whose` (N,) -> variances between people (E,) and within (E,), all above 0."""
    between, within = map(np.diag, _covariances(rows, whose))
    return np.maximum(between, 0.01 * within), within


def variances_of_all(gathered: Iterable[tuple[Rows, NDArray[np.int64]]]) -> tuple[Rows, Rows]:
    """What `gather` gives of several kinds of people -> the means of what `variances` says of each kind.

    Of one kind a network knows much of what tells people apart, of another little, and it is not known which
    kind will be heard. People who say words differ in many directions, readers in a few.
    """
    between, within = zip(*(variances(rows, whose) for rows, whose in gathered), strict=True)
    return np.mean(between, axis=0), np.mean(within, axis=0)


def _covariances(rows: Rows, whose: NDArray[np.int64]) -> tuple[Rows, Rows]:
    counts = np.bincount(whose)
    means = np.zeros((len(counts), rows.shape[1]))
    np.add.at(means, whose, rows)
    means /= counts[:, None]
    apart = rows - means[whose]
    within = apart.T @ apart / (len(rows) - len(counts))
    # The mean of a few pieces strays from the person's by some of what lies within.
    return np.cov(means.T, bias=True) - within * np.mean(1 / counts), within


@torch.no_grad()
def rotate(model: Campplus, rotation: Rows) -> None:
    """Voices become voice @ rotation: the last layer does that too, under the same names."""
    dense = model.xvector.dense
    assert isinstance(dense, Projection)
    norm = dense.nonlinear.batchnorm
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    deviation = np.sqrt(norm.running_var.double().numpy() + norm.eps)
    weight = dense.linear.weight.double().numpy()[:, :, 0]
    mean = norm.running_mean.double().numpy() / deviation
    dense.linear.weight.copy_(torch.from_numpy((rotation.T / deviation) @ weight)[:, :, None])
    norm.running_mean.copy_(torch.from_numpy(mean @ rotation))
    norm.running_var.fill_(1 - norm.eps)
