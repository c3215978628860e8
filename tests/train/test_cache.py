"""Features on disk: equal to those made anew, made again when anything changes, whole or absent."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from funasr.errors import OptionError
from funasr.features.config import FrontendConfig
from funasr.features.frontend import WavFrontend
from funasr.train import speech
from funasr.train.augment import Augmentation
from funasr.train.cache import FeatureCache
from funasr.train.speech import Recordings
from funasr.train.utterance import Utterance

FRONTEND = WavFrontend(FrontendConfig(dither=0.0))


@pytest.fixture
def one(tmp_path: Path) -> Utterance:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 16_000)
    return Utterance(key="a", source=str(tmp_path / "a.wav"), text="a", frames=50, where="list, line 1")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_features_are_read_once_and_stay_the_same(
    one: Utterance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path / "kept", FRONTEND)
    first = Recordings([one], FRONTEND, cache=cache).features(0, 0)
    monkeypatch.setattr(speech, "read_sound", lambda *_: pytest.fail("the sound was read again"))

    again = Recordings([one], FRONTEND, Augmentation(), FeatureCache(tmp_path / "kept", FRONTEND)).features(
        1, 0
    )

    np.testing.assert_array_equal(again, first)


def test_another_sound_or_front_end_has_features_of_its_own(one: Utterance, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    cache = FeatureCache(folder, FRONTEND)
    Recordings([one], FRONTEND, cache=cache).features(0, 0)

    other = FeatureCache(folder, WavFrontend(FrontendConfig(dither=0.0, window="povey")))
    moved = (np.ones(80, np.float32), np.ones(80, np.float32))
    with_statistics = FeatureCache(folder, WavFrontend(FrontendConfig(dither=0.0), moved))

    assert other.get(one) is None
    assert with_statistics.get(one) is None
    assert cache.get(one) is not None
    os.utime(one.source, ns=(0, 0))
    assert cache.get(one) is None


def test_what_was_cut_short_is_made_again(one: Utterance, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "kept", FRONTEND)
    recordings = Recordings([one], FRONTEND, cache=cache)
    whole = recordings.features(0, 0)
    [path] = files(tmp_path / "kept")
    path.write_bytes(path.read_bytes()[:100])

    np.testing.assert_array_equal(recordings.features(0, 0), whole)
    np.testing.assert_array_equal(np.load(path), whole)


def test_several_may_write_at_once(one: Utterance, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "kept", FRONTEND)
    features = FRONTEND(np.full(8000, 0.1, np.float32))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: cache.put(one, features), range(40)))

    [path] = files(tmp_path / "kept")  # no drafts either
    np.testing.assert_array_equal(np.load(path), features)


def test_sound_that_differs_from_epoch_to_epoch_is_not_kept(one: Utterance, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "kept", FRONTEND)

    louder = Recordings([one], FRONTEND, Augmentation(gain_db=(3.0, 6.0)), cache).features(0, 0)

    assert files(tmp_path / "kept") == []
    assert (louder > Recordings([one], FRONTEND).features(0, 0)).mean() > 0.9


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OptionError, match="feature_cache: cannot make"):
        FeatureCache(tmp_path / "file" / "kept", FRONTEND)
