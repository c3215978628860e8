"""Mean and variance of features: `am.mvn` (Kaldi nnet1 text) <-> shift (D,), scale (D,).

A feature x becomes (x + shift) * scale.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features
from funasr.errors import InputError, ModelFilesError

Vector = NDArray[np.float32]


def read_cmvn(path: str | Path) -> tuple[Vector, Vector]:
    """The file's (shift, scale), each (D,). The shift is the negative mean.

    Raises ModelFilesError when the file is missing or is not of this form.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFilesError(f"cannot read the CMVN file {path}: {error}") from error
    shift = _values(lines, "<AddShift>", path)
    scale = _values(lines, "<Rescale>", path)
    if len(shift) != len(scale):
        raise ModelFilesError(
            f"{path}: <AddShift> has {len(shift)} values and <Rescale> {len(scale)}: expected as many of each"
        )
    return shift, scale


def write_cmvn(path: str | Path, shift: Vector, scale: Vector) -> None:
    """Write (shift, scale), each (D,), in the official form. read_cmvn gives the same float32 values back."""
    size = len(shift)
    if len(scale) != size:
        raise InputError(f"shift has {size} values and scale {len(scale)}: expected as many of each")
    lines = ["<Nnet>", f"<Splice> {size} {size}", "[ 0 ]"]
    for name, values in (("<AddShift>", shift), ("<Rescale>", scale)):
        numbers = " ".join(str(value) for value in np.asarray(values, dtype=np.float32))
        lines += [f"{name} {size} {size}", f"<LearnRateCoef> 0 [ {numbers} ]"]
    lines.append("</Nnet>")
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def compute_cmvn(utterances: Iterable[Features]) -> tuple[Vector, Vector]:
    """Utterances (T, D), before any CMVN -> the (shift, scale) that give their rows mean 0 and variance 1.

    Raises InputError when there is not a single row.
    """
    count = 0
    mean: NDArray[np.float64] = np.zeros(0)
    squares: NDArray[np.float64] = np.zeros(0)  # sum of squared distances from the mean
    for features in utterances:
        if len(features) == 0:
            continue
        wide = np.asarray(features, dtype=np.float64)
        if count == 0:
            mean, squares = np.zeros(wide.shape[1]), np.zeros(wide.shape[1])
        # Chan's update: sums of squares would lose the variance of features with a large mean.
        own_mean = wide.mean(axis=0)
        total = count + len(wide)
        squares = squares + ((wide - own_mean) ** 2).sum(axis=0)
        squares += (own_mean - mean) ** 2 * count * len(wide) / total
        mean = mean + (own_mean - mean) * len(wide) / total
        count = total
    if count == 0:
        raise InputError("no features to take a mean of: every utterance is empty, or there is none")
    deviation = np.sqrt(np.maximum(squares / count, 1e-10))
    return (-mean).astype(np.float32), (1 / deviation).astype(np.float32)


def _values(lines: list[str], name: str, path: str | Path) -> Vector:
    for line, following in itertools.pairwise(lines):
        if line.split()[:1] != [name]:
            continue
        words = following.split()
        try:
            if words[:1] != ["<LearnRateCoef>"] or words[2] != "[" or words[-1] != "]":
                raise ValueError("it does not read '<LearnRateCoef> 0 [ ... ]'")
            return np.array(words[3:-1], dtype=np.float32)
        except (ValueError, IndexError) as error:
            raise ModelFilesError(f"{path}: the line after {name} cannot be read: {error}") from error
    raise ModelFilesError(
        f"{path} has no line that begins with {name}: expected Kaldi nnet1 text, as in am.mvn"
    )
