"""WavFrontend: from official settings to features, one by one and in batches."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from funasr.arrays import Samples
from funasr.errors import ModelFilesError
from funasr.features.cmvn import write_cmvn
from funasr.features.frontend import FrontendConfig, WavFrontend
from funasr.features.lfr import stack_frames

SEACO = {
    "fs": 16000,
    "window": "hamming",
    "n_mels": 80,
    "frame_length": 25,
    "frame_shift": 10,
    "dither": 0.0,
    "lfr_m": 7,
    "lfr_n": 6,
}


def noise(count: int) -> Samples:
    return (np.random.default_rng(count).standard_normal(count) * 0.1).astype(np.float32)


@pytest.fixture
def frontend(tmp_path: Path) -> WavFrontend:
    rng = np.random.default_rng(0)
    write_cmvn(tmp_path / "am.mvn", rng.random(560, np.float32), rng.random(560, np.float32))
    return WavFrontend.from_official(SEACO, tmp_path / "am.mvn")


def test_ten_seconds_are_167_rows_of_560(frontend: WavFrontend) -> None:
    assert frontend(noise(160000)).shape == (167, 560)
    assert (frontend.output_size, frontend.fs) == (560, 16000)


def test_features_are_stacked_frames_shifted_then_scaled() -> None:
    shift, scale = np.full(560, -3, np.float32), np.full(560, 0.5, np.float32)
    config = FrontendConfig(dither=0.0, lfr_m=7, lfr_n=6)

    features = WavFrontend(config, (shift, scale))(noise(5000))

    frames = WavFrontend(FrontendConfig(dither=0.0))(noise(5000))
    np.testing.assert_allclose(features, (stack_frames(frames, 7, 6) - 3) * 0.5, atol=1e-5)


def test_a_batch_is_one_by_one_with_zeros_behind(frontend: WavFrontend) -> None:
    sounds = [noise(5000), noise(0), noise(100), noise(20000)]

    features, lengths = frontend.batch(sounds)

    assert features.dtype == np.float32
    assert lengths.dtype == np.int64
    assert lengths.tolist() == [5, 0, 1, 21]
    assert features.shape == (4, 21, 560)
    for row, length, samples in zip(features, lengths, sounds, strict=True):
        np.testing.assert_array_equal(row[:length], frontend(samples))
        assert not row[length:].any()


def test_a_batch_of_nothing_is_empty(frontend: WavFrontend) -> None:
    features, lengths = frontend.batch([])

    assert features.shape == (0, 0, 560)
    assert lengths.shape == (0,)


def test_no_sound_is_no_rows(frontend: WavFrontend) -> None:
    assert frontend(noise(0)).shape == (0, 560)


def test_features_may_be_written_to(frontend: WavFrontend) -> None:
    for one in (frontend, WavFrontend(FrontendConfig()), WavFrontend(FrontendConfig(lfr_m=5))):
        one(noise(4000))[0, 0] = 1


def test_missing_keys_have_upstreams_defaults() -> None:
    config = WavFrontend.from_official({}).config

    assert (config.dither, config.lfr_m, config.lfr_n, config.snip_edges) == (1.0, 1, 1, True)


def test_a_key_that_is_not_used_is_logged_with_the_nearest_one(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        WavFrontend.from_official({"n_mel": 80, "filter_length_min": -1})

    assert len(caplog.records) == 1
    assert "Did you mean 'n_mels'" in caplog.text


def test_more_statistics_than_features_are_cut_and_fewer_refused(tmp_path: Path) -> None:
    shift, scale = np.arange(560, dtype=np.float32), np.ones(560, np.float32)
    config = FrontendConfig(dither=0.0, lfr_m=5)

    cut = WavFrontend(config, (shift, scale))(noise(4000))

    np.testing.assert_array_equal(cut, WavFrontend(config, (shift[:400], scale[:400]))(noise(4000)))
    with pytest.raises(ModelFilesError, match="400 values and the front end makes 560"):
        WavFrontend(FrontendConfig(lfr_m=7), (shift[:400], scale[:400]))


def test_a_missing_cmvn_file_is_named() -> None:
    with pytest.raises(ModelFilesError, match=r"nowhere/am\.mvn"):
        WavFrontend.from_official({"cmvn_file": "nowhere/am.mvn"})
