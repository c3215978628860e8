"""WavFrontend: samples (N,) in [-1, 1] -> features (T, D), by filter bank, LFR stacking and CMVN.

T rows, D = n_mels * lfr_m.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from funasr.arrays import Features, Samples
from funasr.config import merge, pick
from funasr.errors import ModelFilesError
from funasr.features.cmvn import Vector, read_cmvn
from funasr.features.config import FrontendConfig
from funasr.features.fbank import Fbank
from funasr.features.lfr import stack_frames
from funasr.features.online import OnlineFrontend, OnlineState

__all__ = ["FrontendConfig", "WavFrontend"]

# Of upstream's signature, with no effect there either: lengths are only checked in training data.
_IGNORED = frozenset({"filter_length_min", "filter_length_max"})


class WavFrontend:
    """The front end of a model. Immutable: one serves any number of threads; streams have `online()`."""

    def __init__(self, config: FrontendConfig, cmvn: tuple[Vector, Vector] | None = None) -> None:
        """`cmvn` is (shift, scale), at least D values each; without it config.cmvn_file is read, if set.

        Raises ModelFilesError when that file cannot be read or has too few values.
        """
        self.config = config
        self.fbank = Fbank(config)
        if cmvn is None and config.cmvn_file is not None:
            cmvn = read_cmvn(config.cmvn_file)
        self._cmvn = None if cmvn is None else (self._fitting(cmvn[0]), self._fitting(cmvn[1]))

    @classmethod
    def from_official(
        cls, frontend_conf: Mapping[str, Any], cmvn_file: str | Path | None = None
    ) -> WavFrontend:
        """From `frontend_conf` of a config.yaml; `cmvn_file` is the one found in the model's directory."""
        given = merge(frontend_conf, {} if cmvn_file is None else {"cmvn_file": cmvn_file})
        return cls(pick(FrontendConfig, given, "frontend_conf", ignored=_IGNORED))

    @property
    def output_size(self) -> int:
        """D."""
        return self.config.n_mels * self.config.lfr_m

    @property
    def fs(self) -> int:
        """Samples per second that this front end expects."""
        return self.config.fs

    def __call__(self, samples: Samples) -> Features:
        """(N,) -> (T, D); T = 0 only for no samples at all."""
        return self.normalize(stack_frames(self.fbank(samples), self.config.lfr_m, self.config.lfr_n))

    def normalize(self, rows: Features) -> Features:
        """CMVN of stacked rows (T, D), as a new array."""
        if self._cmvn is None:
            return rows.copy()
        shift, scale = self._cmvn
        out = np.add(rows, shift)
        out *= scale
        return out

    def batch(self, utterances: Sequence[Samples]) -> tuple[Features, NDArray[np.int64]]:
        """B utterances -> features (B, T, D), zero beyond the end of each, and their lengths (B,) in rows."""
        rows = [self(samples) for samples in utterances]
        lengths = np.array([len(one) for one in rows], dtype=np.int64)
        features = np.zeros((len(rows), max(map(len, rows), default=0), self.output_size), dtype=np.float32)
        for padded, one in zip(features, rows, strict=True):
            padded[: len(one)] = one
        return features, lengths

    def online(self, state: OnlineState | None = None) -> OnlineFrontend:
        """A new stream: the same features from chunks of sound; or one that goes on from `state`.

        Raises InputError for a state that a front end of other settings left.
        """
        return OnlineFrontend(self, state)

    def _fitting(self, values: Vector) -> Vector:
        values = np.asarray(values, dtype=np.float32)
        if len(values) < self.output_size:
            raise ModelFilesError(
                f"CMVN has {len(values)} values and the front end makes {self.output_size} "
                f"(n_mels {self.config.n_mels} * lfr_m {self.config.lfr_m}): they are of different models"
            )
        return values[: self.output_size]
