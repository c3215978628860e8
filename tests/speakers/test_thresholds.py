"""How alike voices have to be is a matter of the network, so its settings may say it."""

from __future__ import annotations

import pytest

from funasr.errors import ModelFilesError
from funasr.speakers.cluster import ClusterOptions
from funasr.speakers.evidence import Spread
from funasr.speakers.thresholds import Thresholds
from funasr.stages.live_speaker import LiveSpeakerOptions
from funasr.stages.speaker import SpeakerOptions


def test_a_model_whose_settings_name_none_has_those_of_the_released_models() -> None:
    assert Thresholds.from_config({"model": "CAMPPlus"}) == Thresholds()
    assert Thresholds().merge_thr == ClusterOptions().merge_thr
    assert Thresholds().split_thr == ClusterOptions().split_thr
    assert Thresholds().same_thr == LiveSpeakerOptions().same_thr
    assert Thresholds().enrolled_thr == SpeakerOptions().enrolled_thr


def test_a_model_says_its_own() -> None:
    told = Thresholds.from_config({"spk_conf": {"merge_thr": 0.5, "enrolled_thr": 0.4}})

    assert told == Thresholds(merge_thr=0.5, enrolled_thr=0.4)


def test_what_voices_are_like_may_be_told_too() -> None:
    told = Thresholds.from_config({"spk_conf": {"between": [2.0, 1.0], "within": [1.0, 1.0], "weight": 0.3}})

    assert Thresholds().spread() is None
    assert told.spread() == Spread(between=(2.0, 1.0), within=(1.0, 1.0), weight=0.3)
    with pytest.raises(ModelFilesError, match="between"):
        Thresholds.from_config({"spk_conf": {"between": [2.0, 0.0]}})


def test_windows_overlap_or_touch() -> None:
    assert Thresholds.from_config({"spk_conf": {"window_ms": 2000, "shift_ms": 500}}).shift_ms == 500
    with pytest.raises(ModelFilesError, match="shift"):
        Thresholds.from_config({"spk_conf": {"shift_ms": 1600}})


@pytest.mark.parametrize("value", [1.5, "much", None])
def test_what_is_no_cosine_is_an_error_in_the_files(value: object) -> None:
    with pytest.raises(ModelFilesError, match="split_thr"):
        Thresholds.from_config({"spk_conf": {"split_thr": value}})
