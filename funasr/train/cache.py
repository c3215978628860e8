"""Features on disk, so that sound is decoded once and not in every epoch.

A file an utterance, named by what the features depend on: path, size and time of the sound, its place in a
shard, and the front end with its statistics. Any number of processes may use one folder: files take their
name when they are whole, and one that cannot be read is made again. Nothing is deleted here.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

import numpy as np

from funasr.arrays import Features
from funasr.errors import OptionError
from funasr.features.frontend import WavFrontend
from funasr.train.utterance import Utterance


class FeatureCache:
    """Features (T, D) by utterance."""

    def __init__(self, folder: Path, frontend: WavFrontend) -> None:
        """Raises OptionError for a folder that cannot be made."""
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(
                f"dataset_conf.feature_cache: cannot make {folder}: {error.strerror}"
            ) from error
        # What the settings do to a sound: statistics may come from a file of the same name.
        probe = frontend(np.sin(np.arange(frontend.fs, dtype=np.float32) ** 1.5))
        self._settings = hashlib.sha256(repr(frontend.config).encode() + probe.tobytes()).digest()

    def get(self, utterance: Utterance) -> Features | None:
        path = self._path(utterance)
        if path is None:
            return None
        try:
            features: Features = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return features if features.ndim == 2 and features.dtype == np.float32 else None

    def put(self, utterance: Utterance, features: Features) -> None:
        """Keep them. Raises OptionError when the disk cannot hold them."""
        path = self._path(utterance)
        if path is None:
            return
        draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
        try:
            path.parent.mkdir(exist_ok=True)
            with open(draft, "wb") as file:
                np.save(file, features, allow_pickle=False)
            os.replace(draft, path)
        except OSError as error:
            raise OptionError(
                f"dataset_conf.feature_cache: cannot write {path}: {error.strerror}. Make room, or leave the "
                "setting out"
            ) from error
        finally:
            draft.unlink(missing_ok=True)

    def _path(self, utterance: Utterance) -> Path | None:
        """None for what cannot tell whether it has changed: URLs."""
        try:
            known = os.stat(utterance.source)
        except (OSError, ValueError):
            return None
        what = (os.path.abspath(utterance.source), known.st_size, known.st_mtime_ns, utterance.part)
        name = hashlib.sha256(repr(what).encode() + self._settings).hexdigest()
        return self._folder / name[:2] / f"{name[2:]}.npy"
